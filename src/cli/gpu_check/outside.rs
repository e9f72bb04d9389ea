//! Other programs: compute-sanitizer over this one, and PyTorch beside it. Both only where they are installed.

use super::{
    progress,
    report::{Figure, short},
};
use crate::process::listen;
use kernels::{
    proof::{mean_moves, neighbours},
    roofline::{batches, sizes},
};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rules::{Board, Cell, Config, Topology, with_board};
use serde::{Deserialize, Serialize};
use std::{
    io::{self, Write},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};
use tokio::{io::AsyncWriteExt as _, runtime::Builder};

const TOOLS: [&str; 3] = ["memcheck", "racecheck", "synccheck"];
/// The exit status that compute-sanitizer is asked for when it has found something.
const FOUND: i32 = 86;
const SANITIZER_MAX: Duration = Duration::from_secs(1800);
const TORCH_MAX: Duration = Duration::from_secs(2400);
/// What another program may print.
const OUTPUT_MAX: usize = 16 << 20;
/// What is kept of it.
const TAIL: usize = 2000;

/// The same network in PyTorch; reads what to measure from standard input.
const TORCH: &str = include_str!("../../../scripts/gpu-check-torch.py");

/// What a program came to.
#[derive(Debug)]
enum Outcome {
    Ended {
        code: Option<i32>,
        output: String,
    },
    TimedOut,
    Absent,
    /// It is there, but it cannot be run or waited for.
    Failed(io::Error),
}

/// Runs a program to its end, or until it has taken too long.
fn run(command: Command, input: &str, limit: Duration) -> Outcome {
    let runtime = Builder::new_current_thread().enable_all().build();
    let ended = runtime.and_then(|runtime| runtime.block_on(end(command, input, limit)));
    match ended {
        Ok(Some((status, output))) => {
            Outcome::Ended { code: status.code(), output: String::from_utf8_lossy(&output).into_owned() }
        }
        Ok(None) => Outcome::TimedOut,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Absent,
        Err(error) => Outcome::Failed(error),
    }
}

/// How it ended and the beginning of what it said; none if it was not done in time.
async fn end(command: Command, input: &str, limit: Duration) -> io::Result<Option<(ExitStatus, Vec<u8>)>> {
    let mut command = tokio::process::Command::from(command);
    // A group of its own, so that what it starts ends with it.
    command.process_group(0).kill_on_drop(true);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
    let (stdin, stdout, group) = (child.stdin.take(), child.stdout.take(), child.id());
    let tell = async {
        if let Some(mut stdin) = stdin {
            // A program that does not read has its reasons.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ended = async { tokio::join!(tell, listen(stdout, OUTPUT_MAX), child.wait()) };
    if let Ok(((), output, status)) = tokio::time::timeout(limit, Box::pin(ended)).await {
        return Ok(Some((status?, output)));
    }
    if let Some(group) = group {
        // It may have ended just now.
        let _ = killpg(Pid::from_raw(group as i32), Signal::SIGKILL);
    }
    child.wait().await?;
    Ok(None)
}

/// A run of compute-sanitizer over the correctness part.
#[derive(Debug, Serialize)]
pub(super) struct SanitizerRun {
    pub(super) tool: &'static str,
    pub(super) verdict: Verdict,
    /// The last it said, where something is wrong.
    pub(super) said: Option<String>,
}

/// What a run of compute-sanitizer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// Nothing found.
    Clean,
    /// Something found.
    Found,
    /// The check itself failed under it.
    Failed,
    /// Not done in time.
    TimedOut,
    /// Not installed.
    Skipped,
}

impl SanitizerRun {
    /// Whether something is wrong.
    pub(super) fn is_fault(&self) -> bool {
        match self.verdict {
            Verdict::Clean | Verdict::Skipped => false,
            Verdict::Found | Verdict::Failed | Verdict::TimedOut => true,
        }
    }

    /// For a person.
    pub(super) fn describe(&self) -> &'static str {
        match self.verdict {
            Verdict::Clean => "nothing found",
            Verdict::Found => "FOUND something, see the report",
            Verdict::Failed => "FAILED, see the report",
            Verdict::TimedOut => "not done in half an hour",
            Verdict::Skipped => "skipped: not installed",
        }
    }
}

fn tail(output: &str) -> String {
    let start = output.char_indices().rev().nth(TAIL - 1).map_or(0, |(at, _)| at);
    output[start..].to_owned()
}

fn verdict(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Ended { code: Some(0), .. } => Verdict::Clean,
        Outcome::Ended { code: Some(FOUND), .. } => Verdict::Found,
        Outcome::Ended { .. } | Outcome::Failed(_) => Verdict::Failed,
        Outcome::TimedOut => Verdict::TimedOut,
        Outcome::Absent => Verdict::Skipped,
    }
}

/// Runs this program's quick correctness part under every tool.
pub(super) fn sanitize(card: usize) -> Vec<SanitizerRun> {
    let program = std::env::current_exe();
    TOOLS
        .into_iter()
        .map(|tool| {
            progress(&format!("compute-sanitizer {tool}"));
            let outcome = match &program {
                Err(error) => Outcome::Failed(io::Error::new(error.kind(), error.to_string())),
                Ok(program) => {
                    let mut command = Command::new("compute-sanitizer");
                    command.args(["--tool", tool, "--error-exitcode", &FOUND.to_string()]).arg(program);
                    command.args(["gpu-check", "--only", "correctness", "--quick", "--require-gpu"]);
                    command.args(["--card", &card.to_string()]);
                    run(command, "", SANITIZER_MAX)
                }
            };
            let verdict = verdict(&outcome);
            let said = match &outcome {
                Outcome::Ended { output, .. } if verdict != Verdict::Clean => Some(tail(output)),
                Outcome::Failed(error) => Some(error.to_string()),
                Outcome::Ended { .. } | Outcome::TimedOut | Outcome::Absent => None,
            };
            let run = SanitizerRun { tool, verdict, said };
            progress(&format!("compute-sanitizer {tool}: {}", run.describe()));
            run
        })
        .collect()
}

/// What is asked of PyTorch.
#[derive(Serialize)]
struct Request {
    card: usize,
    repeats: usize,
    seconds: f64,
    boards: Vec<BoardRequest>,
    sizes: Vec<(u32, u32)>,
}

#[derive(Serialize)]
struct BoardRequest {
    config: String,
    taps: usize,
    /// `[cells, taps]`, 511 off the board.
    sources: Vec<u16>,
    /// Of each cell.
    coordinates: Vec<(i32, i32)>,
    /// Legal moves of a position.
    moves: usize,
    batches: Vec<usize>,
}

/// The same network in PyTorch, or why not.
#[derive(Debug, Default, Serialize)]
pub(super) struct TorchReport {
    /// Why it was not measured.
    pub(super) skipped: Option<String>,
    pub(super) answer: Option<TorchAnswer>,
}

/// What the script says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TorchAnswer {
    torch: String,
    cuda: Option<String>,
    device: String,
    results: Vec<TorchFigure>,
}

/// A network in PyTorch.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TorchFigure {
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

fn request(card: usize, quick: bool) -> Request {
    let boards: &[Board] =
        if quick { &[Board::Hex8] } else { &[Board::Hex8, Board::Square8, Board::Hexagonal] };
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
        let batches = batches(board);
        BoardRequest {
            config: Config { board, seats: 2 }.key(),
            taps,
            sources: sources.to_vec(),
            coordinates,
            moves: mean_moves(board),
            batches: if quick { vec![batches[1]] } else { batches.to_vec() },
        }
    };
    Request {
        card,
        repeats: if quick { 3 } else { 7 },
        seconds: if quick { 0.1 } else { 0.3 },
        boards: boards.iter().map(board).collect(),
        sizes: sizes(Board::Hex8).map(|size| (size.blocks, size.channels)).to_vec(),
    }
}

/// Measures the same networks in PyTorch.
pub(super) fn torch(card: usize, quick: bool) -> TorchReport {
    progress("the same networks in PyTorch");
    let report = torch_answer(card, quick);
    if let Some(reason) = &report.skipped {
        progress(&format!("PyTorch skipped: {reason}"));
    }
    report
}

fn torch_answer(card: usize, quick: bool) -> TorchReport {
    let skipped = |reason: String| TorchReport { skipped: Some(reason), answer: None };
    let input = match serde_json::to_string(&request(card, quick)) {
        Ok(input) => input,
        Err(error) => return skipped(error.to_string()),
    };
    let mut python = Command::new("python3");
    python.args(["-c", TORCH]);
    match run(python, &input, TORCH_MAX) {
        Outcome::Absent => skipped("there is no python3".into()),
        Outcome::TimedOut => skipped("not done in time".into()),
        Outcome::Failed(error) => skipped(error.to_string()),
        Outcome::Ended { code: Some(0), output } => match serde_json::from_str(&output) {
            Ok(answer) => TorchReport { skipped: None, answer: Some(answer) },
            Err(error) => skipped(format!("its answer was not understood: {error}")),
        },
        Outcome::Ended { output, .. } => {
            let said = tail(&output);
            let reason = if said.trim().is_empty() { "the script has failed" } else { said.trim() };
            skipped(reason.to_owned())
        }
    }
}

impl TorchReport {
    /// Prints what PyTorch came to beside what we did.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn print(&self, out: &mut dyn Write, ours: &[Figure]) -> io::Result<()> {
        let Some(answer) = &self.answer else {
            return writeln!(out, "PyTorch: skipped: {}", self.skipped.as_deref().unwrap_or("not asked for"));
        };
        writeln!(out, "PyTorch {} on {}", answer.torch, answer.device)?;
        for theirs in &answer.results {
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
                "{:<13}{:<13}{:<9}{:>7}  {:<8}{:<7}{:>13}  ours is {} times as fast{}",
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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, input: &str, limit: Duration) -> Outcome {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, input, limit)
    }

    #[test]
    fn programs_are_heard_and_ended() {
        let long = Duration::from_secs(60);
        match shell("cat; exit 3", "hello", long) {
            Outcome::Ended { code, output } => assert_eq!((code, output.as_str()), (Some(3), "hello")),
            other => panic!("{other:?}"),
        }
        assert!(matches!(shell("sleep 600 & sleep 600", "", Duration::from_millis(50)), Outcome::TimedOut));
        // It says more than is kept, and what it started outlives it no longer than its group.
        let many = format!("head -c {} /dev/zero; exec >&-; sleep 600", OUTPUT_MAX + 1_000_000);
        assert!(matches!(shell(&many, "", Duration::from_secs(3)), Outcome::TimedOut));
        match shell(&format!("head -c {} /dev/zero", OUTPUT_MAX + 1_000_000), "", long) {
            Outcome::Ended { code, output } => assert_eq!((code, output.len()), (Some(0), OUTPUT_MAX)),
            other => panic!("{other:?}"),
        }
        assert!(matches!(run(Command::new("no-such-program-here"), "", long), Outcome::Absent));
        assert!(matches!(run(Command::new("/"), "", long), Outcome::Failed(_)));
    }

    #[test]
    fn verdicts_follow_the_exit_status() {
        let ended = |code: Option<i32>| Outcome::Ended { code, output: String::new() };
        for (outcome, expected, fault) in [
            (ended(Some(0)), Verdict::Clean, false),
            (ended(Some(FOUND)), Verdict::Found, true),
            (ended(Some(1)), Verdict::Failed, true),
            (ended(None), Verdict::Failed, true),
            (Outcome::TimedOut, Verdict::TimedOut, true),
            (Outcome::Absent, Verdict::Skipped, false),
            (Outcome::Failed(io::Error::other("no")), Verdict::Failed, true),
        ] {
            let run = SanitizerRun { tool: "memcheck", verdict: verdict(&outcome), said: None };
            assert_eq!((run.verdict, run.is_fault()), (expected, fault), "{outcome:?}");
        }
        assert_eq!(tail(&"ä".repeat(5000)).chars().count(), TAIL);
    }

    #[test]
    fn a_request_describes_boards_whole() {
        let request = request(0, false);
        assert_eq!(request.boards.len(), 3);
        for board in &request.boards {
            assert_eq!(board.sources.len(), board.coordinates.len() * board.taps);
            assert!(board.moves > 5 && !board.batches.is_empty(), "{}: {}", board.config, board.moves);
        }
    }
}
