//! The same networks in PyTorch, measured by a script that `python3` runs; only where it has PyTorch.
//!
//! Invariant: what the script has measured is kept, however it ends. It prints a line of JSON for every
//! network, the most important first, for compiling them all would take longer than anybody waits.

use super::{
    figure::{Figure, short},
    live::LiveReport,
    program::{ProgramEnd, run, tail},
    scope::CheckScope,
};
use crate::prediction::batches;
use crate::rates::sizes;
use kernels::proof::{mean_moves, neighbours};
use rules::{Board, Cell, Config, Topology, with_board};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Write},
    process::Command,
    time::Duration,
};

/// For all that is asked for.
const TIME_MAX: Duration = Duration::from_secs(2400);
/// Where it is measured: one board of each kind of neighbourhood, and the largest.
const BOARDS: [Board; 3] = [Board::Hex8, Board::Square8, Board::Hexagonal];
/// The network that is measured first and compiled on every board, in blocks and channels.
const HEADLINE: (u32, u32) = (6, 96);

/// Reads what to measure from standard input.
const SCRIPT: &str = include_str!("../../../../scripts/gpu-check-torch.py");

/// What is asked of PyTorch.
#[derive(Serialize)]
struct TorchRequest {
    card: usize,
    repeats: usize,
    seconds: f64,
    boards: Vec<TorchBoard>,
    cases: Vec<TorchCase>,
}

#[derive(Serialize)]
struct TorchBoard {
    config: String,
    taps: usize,
    /// `[cells, taps]`, 511 off the board.
    sources: Vec<u16>,
    /// The coordinates of each cell.
    coordinates: Vec<(i32, i32)>,
    /// Legal moves of a position.
    moves: usize,
}

/// What is measured, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct TorchCase {
    config: String,
    blocks: u32,
    channels: u32,
    batch: usize,
    what: &'static str,
    layout: &'static str,
    mode: &'static str,
}

/// What the script says of itself, first.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    torch: String,
    cuda: Option<String>,
    device: String,
}

/// A network in PyTorch.
#[derive(Debug, Serialize, Deserialize)]
struct TorchFigure {
    what: String,
    config: String,
    network: String,
    batch: usize,
    /// `eager` or `compile`.
    mode: String,
    /// `gather` or `conv2d`: how the neighbourhood is computed.
    layout: String,
    median: Option<f64>,
    least: Option<f64>,
    most: Option<f64>,
    error: Option<String>,
}

impl TorchFigure {
    /// The measurement in words, for a line of progress.
    fn describe(&self) -> String {
        let Self { what, config, network, batch, mode, layout, .. } = self;
        format!("PyTorch: {what}, {network} on {config}, {batch} at once, {layout}, {mode}")
    }
}

/// A line of the script.
#[derive(Deserialize)]
#[serde(untagged)]
enum TorchLine {
    Figure(TorchFigure),
    About(About),
}

/// The same networks in PyTorch, or why not.
#[derive(Debug, Default, Serialize)]
pub struct TorchReport {
    /// Why it did not come to its end; with no results, why nothing was measured.
    pub stopped: Option<String>,
    /// How many results were asked for.
    asked: usize,
    about: Option<About>,
    results: Vec<TorchFigure>,
    /// The last line that is neither of these.
    #[serde(skip)]
    said: Option<String>,
}

fn cases(boards: &[Board], quick: bool) -> Vec<TorchCase> {
    let mut cases = Vec::new();
    for (i, &board) in boards.iter().enumerate() {
        let batches = batches(board);
        for size in sizes(board).map(|size| (size.blocks, size.channels)) {
            for &batch in if quick { &batches[1..2] } else { batches } {
                // Every one that is compiled takes up to a minute.
                let compiled = batch == batches[1] && (size == HEADLINE || i == 0 && !quick);
                let first = i == 0 && size == HEADLINE && batch == batches[1];
                for what in ["forward", "training"] {
                    for layout in ["gather", "conv2d"] {
                        for mode in
                            ["eager", "compile"].into_iter().filter(|&mode| mode == "eager" || compiled)
                        {
                            let (config, (blocks, channels)) = (Config { board, seats: 2 }.key(), size);
                            let case = TorchCase { config, blocks, channels, batch, what, layout, mode };
                            cases.push(((!first, mode == "compile" && !first, i), case));
                        }
                    }
                }
            }
        }
    }
    cases.sort_by_key(|(rank, _)| *rank);
    cases.into_iter().map(|(_, case)| case).collect()
}

fn request(card: usize, scope: &CheckScope) -> TorchRequest {
    let quick = scope.quick;
    let boards = if quick { &BOARDS[..1] } else { &BOARDS[..] };
    let boards: Vec<Board> = boards.iter().copied().filter(|board| scope.boards.contains(board)).collect();
    let board = |&board: &Board| {
        let (taps, sources) = neighbours(board);
        let coordinates = with_board!(board, T => {
            (0..T::CELLS as Cell)
                .map(|cell| {
                    let (x, y) = T::coordinates(cell);
                    (i32::from(x), i32::from(y))
                })
                .collect()
        });
        let config = Config { board, seats: 2 }.key();
        TorchBoard { config, taps, sources: sources.to_vec(), coordinates, moves: mean_moves(board) }
    };
    TorchRequest {
        card,
        repeats: if quick { 3 } else { 7 },
        seconds: if quick { 0.1 } else { 0.3 },
        boards: boards.iter().map(board).collect(),
        cases: cases(&boards, quick),
    }
}

/// Measures the same networks in PyTorch, and keeps what it says line by line.
pub fn measure_torch(card: usize, scope: &CheckScope, live: &mut LiveReport) {
    live.tell("the same networks in PyTorch");
    let request = request(card, scope);
    let asked = request.cases.len();
    live.change(|report| report.torch.get_or_insert_default().asked = asked);
    let outcome = match serde_json::to_string(&request) {
        Err(error) => ProgramEnd::Failed(error.into()),
        Ok(_) if asked == 0 => ProgramEnd::Ended { code: Some(0), output: String::new() },
        Ok(input) => {
            let mut python = Command::new("python3");
            python.args(["-c", SCRIPT]);
            run(python, &input, TIME_MAX, &mut |line| {
                let mut news = None;
                live.change(|report| news = report.torch.get_or_insert_default().hear(line));
                if let Some(news) = news {
                    live.tell(&news);
                }
            })
        }
    };
    let mut news = None;
    live.change(|report| news = report.torch.get_or_insert_default().end(&outcome));
    if let Some(news) = news {
        live.tell(&news);
    }
}

impl TorchReport {
    /// Takes a line of the script; says what it has measured.
    fn hear(&mut self, line: &str) -> Option<String> {
        match serde_json::from_str(line) {
            Ok(TorchLine::Figure(figure)) if self.results.len() < self.asked => {
                let news = figure.describe();
                self.results.push(figure);
                return Some(news);
            }
            Ok(TorchLine::About(about)) => self.about = Some(about),
            Err(_) if line.trim().is_empty() => {}
            Ok(TorchLine::Figure(_)) | Err(_) => self.said = Some(tail(line)),
        }
        None
    }

    /// Takes down how the script ended; says why it did not come to its end.
    fn end(&mut self, outcome: &ProgramEnd) -> Option<String> {
        let (got, asked) = (self.results.len(), self.asked);
        let after = |reason: &str| match got {
            0 => reason.to_owned(),
            _ => format!("{reason} ({got} of {asked} were measured)"),
        };
        self.stopped = match outcome {
            ProgramEnd::Absent => Some("there is no python3".to_owned()),
            ProgramEnd::TimedOut { .. } => Some(after("not done in time")),
            ProgramEnd::Failed(error) => Some(after(&error.to_string())),
            ProgramEnd::Ended { code: Some(0), .. } if asked == 0 => {
                Some(format!("measured on {} only", BOARDS.map(Board::as_str).join(", ")))
            }
            ProgramEnd::Ended { code: Some(0), .. } if got == asked => None,
            ProgramEnd::Ended { .. } => Some(after(self.said.as_deref().unwrap_or("the script has failed"))),
        };
        self.stopped.as_ref().map(|reason| format!("PyTorch: {reason}"))
    }

    /// Prints what PyTorch came to beside what we did.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn print(&self, out: &mut dyn Write, ours: &[Figure]) -> io::Result<()> {
        if let Some(About { torch, device, .. }) = &self.about {
            writeln!(out, "PyTorch {torch} on {device}")?;
        }
        for theirs in &self.results {
            let same = |figure: &&Figure| {
                figure.what == theirs.what
                    && figure.config == theirs.config
                    && figure.network.as_deref() == Some(theirs.network.as_str())
                    && figure.batch == theirs.batch
            };
            let median = ours.iter().find(same).and_then(|figure| Some(figure.measured.as_ref()?.median));
            let times = median.zip(theirs.median).map(|(ours, theirs)| format!("{:.2}", ours / theirs));
            writeln!(
                out,
                "{:<15}{:<13}{:<9}{:>7}  {:<8}{:<7}{:>13}  ours is {} times as fast{}",
                theirs.what,
                theirs.config,
                theirs.network,
                theirs.batch,
                theirs.mode,
                theirs.layout,
                theirs.median.map_or_else(|| "-".to_owned(), short),
                times.as_deref().unwrap_or("-"),
                theirs.error.as_ref().map(|error| format!("  FAILED: {error}")).unwrap_or_default()
            )?;
        }
        match &self.stopped {
            Some(reason) => writeln!(out, "PyTorch: {reason}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::program::tests::shell;
    use std::collections::HashSet;

    #[test]
    fn a_request_describes_boards_whole() {
        let request = request(0, &CheckScope::of(&[], &[], false));
        assert_eq!(request.boards.len(), 3);
        for board in &request.boards {
            assert_eq!(board.sources.len(), board.coordinates.len() * board.taps);
            assert!(board.moves > 5, "{}: {}", board.config, board.moves);
            assert!(request.cases.iter().any(|case| case.config == board.config));
        }
        assert_eq!(self::request(0, &CheckScope::of(&[], &[Board::Square19], false)).cases, []);
        assert_eq!(self::request(0, &CheckScope::of(&[], &[Board::Square8], false)).boards.len(), 1);
    }

    #[test]
    fn what_matters_most_is_measured_first_and_little_is_compiled() {
        for (quick, all, compiled) in [(false, 152, 24), (true, 20, 4)] {
            let boards = if quick { &BOARDS[..1] } else { &BOARDS[..] };
            let cases = cases(boards, quick);
            let of_mode = |mode: &str| cases.iter().filter(|case| case.mode == mode).count();
            assert_eq!((cases.len(), of_mode("compile")), (all, compiled));
            let key = |case: &TorchCase| format!("{case:?}");
            assert_eq!(cases.iter().map(key).collect::<HashSet<_>>().len(), all);
            let headline = |case: &TorchCase| {
                (case.config.as_str(), case.blocks, case.channels, case.batch) == ("hex8_2p", 6, 96, 4096)
            };
            assert!(cases[..8].iter().all(headline), "{:?}", &cases[..8]);
            // Behind them everything that takes seconds comes before everything that takes minutes.
            assert!(cases[8..].is_sorted_by_key(|case| case.mode == "compile"));
        }
    }

    const ABOUT: &str = r#"{"torch":"2.9","cuda":"13.0","device":"a card"}"#;

    fn figure(batch: usize) -> String {
        format!(
            r#"{{"what":"forward","config":"hex8_2p","network":"b6c96","batch":{batch},"mode":"eager","layout":"gather","median":2.0,"least":1.0,"most":3.0,"error":null}}"#
        )
    }

    /// What a script that prints so comes to.
    fn of(script: &str, limit: Duration) -> TorchReport {
        let mut report = TorchReport { asked: 2, ..TorchReport::default() };
        let (lines, outcome) = shell(script, "", limit);
        lines.iter().for_each(|line| drop(report.hear(line)));
        report.end(&outcome);
        report
    }

    #[test]
    fn what_was_measured_is_kept_however_the_script_ends() {
        let (one, two) = (figure(1), figure(2));
        let (short, long) = (Duration::from_millis(500), Duration::from_secs(60));
        for (script, limit, results, stopped) in [
            (format!("echo '{ABOUT}'; echo '{one}'; echo '{two}'"), long, 2, None),
            (
                format!("echo '{ABOUT}'; echo '{one}'; sleep 600"),
                short,
                1,
                Some("not done in time (1 of 2 were measured)"),
            ),
            (
                format!("echo '{ABOUT}'; echo '{one}'; echo it burns; exit 1"),
                long,
                1,
                Some("it burns (1 of 2 were measured)"),
            ),
            (
                format!("echo '{ABOUT}'; echo '{one}'"),
                long,
                1,
                Some("the script has failed (1 of 2 were measured)"),
            ),
            ("echo no PyTorch: none; exit 1".into(), long, 0, Some("no PyTorch: none")),
            ("exit 1".into(), long, 0, Some("the script has failed")),
            // More than was asked for is nobody's result.
            (format!("echo '{one}'; echo '{one}'; echo '{one}'; exit 1"), long, 2, Some("{")),
        ] {
            let report = of(&script, limit);
            assert_eq!(report.results.len(), results, "{script}");
            match (report.stopped.as_deref(), stopped) {
                (None, None) => {}
                (Some(found), Some(expected)) => assert!(found.starts_with(expected), "{script}: {found}"),
                (found, expected) => panic!("{script}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn results_are_printed_with_what_is_missing() {
        let report = of(
            &format!("echo '{ABOUT}'; echo '{}'; echo it burns; exit 1", figure(256)),
            Duration::from_secs(60),
        );
        let mut out = Vec::new();
        report.print(&mut out, &[]).unwrap();
        let text = String::from_utf8(out).unwrap();
        for part in ["PyTorch 2.9 on a card\n", "forward        hex8_2p", "PyTorch: it burns (1 of 2"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["asked"], &json["results"][0]["batch"]), (&2.into(), &256.into()));
    }

    /// The script itself, with a PyTorch that can do nothing but say
    /// its name: every case is answered, in order.
    #[test]
    fn the_script_answers_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let stub = "import sys, types\n\
                    class Module: pass\n\
                    def module(name, **names):\n    \
                        made = types.ModuleType(name)\n    \
                        made.__dict__.update(names)\n    \
                        sys.modules[name] = made\n    \
                        return made\n\
                    nn = module('torch.nn', Module=Module)\n\
                    nn.functional = module('torch.nn.functional')\n\
                    __version__ = '0'\n\
                    version = types.SimpleNamespace(cuda=None)\n\
                    def device(*name): return types.SimpleNamespace(type=name[0])\n";
        std::fs::write(folder.path().join("torch.py"), stub).unwrap();
        let request = request(0, &CheckScope::of(&[], &[Board::Hex8], true));
        let input = serde_json::to_string(&request).unwrap();
        let run = |stub: bool| {
            let mut python = Command::new("python3");
            // Nothing of what is installed: whether that has PyTorch is not known.
            python.args(["-S", "-c", SCRIPT, "--cpu"]).env_remove("PYTHONPATH");
            if stub {
                python.env("PYTHONPATH", folder.path());
            }
            let mut report = TorchReport { asked: request.cases.len(), ..TorchReport::default() };
            let outcome = run(python, &input, Duration::from_secs(120), &mut |line| drop(report.hear(line)));
            report.end(&outcome);
            (report, matches!(outcome, ProgramEnd::Absent))
        };
        let (without, absent) = run(false);
        if absent {
            println!("skipped: there is no python3");
            return;
        }
        assert!(without.stopped.is_some_and(|reason| reason.starts_with("no PyTorch: ")));
        let (report, _) = run(true);
        assert_eq!(report.stopped, None);
        assert_eq!(report.about.map(|about| about.torch).as_deref(), Some("0"));
        assert_eq!(report.results.len(), request.cases.len());
        for (found, asked) in report.results.iter().zip(&request.cases) {
            let (found_case, asked_case) = (
                (found.what.as_str(), found.batch, found.layout.as_str(), found.mode.as_str()),
                (asked.what, asked.batch, asked.layout, asked.mode),
            );
            assert_eq!(found_case, asked_case);
            assert_eq!(found.network, format!("b{}c{}", asked.blocks, asked.channels));
            assert!(found.error.is_some() && found.median.is_none(), "{found:?}");
        }
    }
}
