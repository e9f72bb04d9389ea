//! `ringrift gpu-check`: checks a card, measures it, and sets a prediction beside the figures; without a card
//! it says so.
//!
//! The check itself is in [`gauge::check`]. This module has its command line, and the one measurement that
//! needs a node: how a card plays.

mod date;
mod selfplay;

use clap::{ValueEnum, builder::PossibleValue};
use gauge::{
    Peaks, Prediction,
    check::{self, CardDescription, CheckPart, CheckReport, CheckScope, LiveReport},
    h200, print_prediction,
};
use kernels::proof::Card;
use rules::Board;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The folder of recorded games in the repository, for a user who runs the whole check from there.
const TRACES: &str = "rules/tests/traces";

/// Check a CUDA card against the CPU and measure it, or predict what one would do.
///
/// The check runs, in this order: every primitive against its golden vector; networks and training steps
/// against the CPU and against themselves; the rules over random and recorded games, and games with the
/// search on the card; the same, less of it, under compute-sanitizer, where it is installed; benchmarks with
/// their share of what the card can do; the same network in PyTorch, where `python3` has it. Among the
/// benchmarks, `self-play card` is how a node with a card plays: the card searches whole games. `self-play
/// host` is what it falls back to: the host searches, and the card evaluates. Without a usable card the
/// command says why and succeeds.
///
/// It is not known how long the check takes on a card. compute-sanitizer may take half an hour for each of
/// its three tools, PyTorch forty minutes in all. Reports are written as they grow, so what was found out is
/// kept whatever ends the command; `complete` in them says whether they came to their end. Where a command
/// may only take some minutes, ask for a part and a board at a time: each has a report of its own.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 if all is well or there is no card; 1 if something is wrong or a card was required; 2 if \
    a report cannot be written.\n\n\
    Examples:\n  ringrift gpu-check --out measured\n  \
    ringrift gpu-check --out measured --only benchmarks --board hex8\n  ringrift gpu-check --predict --json"
)]
pub(super) struct Args {
    /// Number of the card.
    #[arg(long, default_value_t = 0)]
    card: usize,
    /// Fail where there is no usable card.
    #[arg(long)]
    require_gpu: bool,
    /// Write the report to a file, or to standard output in place of the table.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Write the report to this folder, as CARD-DATE.json. The name also has the parts, the boards and
    /// `quick` if the report is not of everything, and a number if the name is taken.
    #[arg(long, value_name = "DIR", conflicts_with = "predict")]
    out: Option<PathBuf>,
    /// Do less of everything: fewer games, batches, repeats and networks.
    #[arg(long)]
    quick: bool,
    /// Do only these parts.
    #[arg(long, value_enum, value_name = "PART", conflicts_with = "predict")]
    only: Vec<PartArg>,
    /// Use only these boards: hex8, square8, square19, hexagonal.
    #[arg(long = "board", value_name = "BOARD", conflicts_with = "predict")]
    boards: Vec<Board>,
    /// Folder of recorded games to replay. Without this option and without --quick: `rules/tests/traces`,
    /// if that folder exists.
    #[arg(long, value_name = "DIR", conflicts_with = "predict")]
    traces: Option<PathBuf>,
    /// Write the card's own golden vectors to this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "predict")]
    write_golden: Option<PathBuf>,
    /// Print what one H200 is predicted to do, without a card.
    #[arg(long, conflicts_with_all = ["card", "require_gpu", "quick"])]
    predict: bool,
}

/// A part of the check, as it is named on the command line.
#[derive(Clone, Copy, Debug)]
struct PartArg(CheckPart);

impl ValueEnum for PartArg {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [PartArg; 4] = {
            let [correctness, sanitizer, benchmarks, torch] = CheckPart::ALL;
            [PartArg(correctness), PartArg(sanitizer), PartArg(benchmarks), PartArg(torch)]
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.as_str()).help(self.0.describe()))
    }
}

/// Reports progress on standard error.
fn progress(what: &str) {
    // Standard error may be closed.
    let _ = writeln!(io::stderr(), "{what}");
}

/// Runs the command.
///
/// # Errors
/// If a report cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let file = args.json.as_deref().filter(|path| *path != Path::new("-"));
    let in_place_of_table = args.json.is_some() && file.is_none();
    if args.predict {
        let prediction = Prediction::of(&h200())?;
        file.map_or(Ok(()), |file| check::write_document(file, &prediction))?;
        show(in_place_of_table, &prediction, |out| print_prediction(out, &prediction))?;
        return Ok(ExitCode::SUCCESS);
    }
    let parts: Vec<CheckPart> = args.only.iter().map(|part| part.0).collect();
    let scope = CheckScope::of(&parts, &args.boards, args.quick);
    let mut report = CheckReport::new(date::now(), &scope);
    let opened = Card::open(args.card).and_then(|card| Ok((card, card.properties()?)));
    let (report, saved) = match opened {
        Err(error) => {
            progress(&format!("no usable card: {error}"));
            report.unavailable = Some(error.to_string());
            (report.ok, report.complete) = (!args.require_gpu, true);
            let saved = file.map_or(Ok(()), |file| check::write_document(file, &report));
            (report, saved)
        }
        Ok((card, properties)) => {
            progress(&format!("card {}: {}", args.card, properties.name));
            let peaks = Peaks::of(&properties);
            report.card = Some(CardDescription::of(args.card, &properties, check::driver_version()));
            report.peaks = Some(peaks.clone());
            let mut live = LiveReport::new(report, progress, file, args.out.as_deref())?;
            check_card(args, &scope, card, &peaks, &mut live)?;
            live.finish()
        }
    };
    show(in_place_of_table, &report, |out| report.print(out))?;
    saved?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check_card(
    args: &Args,
    scope: &CheckScope,
    card: Card,
    peaks: &Peaks,
    live: &mut LiveReport,
) -> anyhow::Result<()> {
    if let Some(folder) = &args.write_golden {
        check::write_golden(card, folder, live)?;
    }
    if scope.has(CheckPart::Correctness) {
        let kept_here = Path::new(TRACES);
        let traces = args.traces.as_deref();
        let traces = traces.or_else(|| (!scope.quick && kept_here.is_dir()).then_some(kept_here));
        check::check_correctness(card, scope, traces, live);
    }
    if scope.has(CheckPart::Sanitizer) {
        check::sanitize(args.card, &args.boards, live);
    }
    if scope.has(CheckPart::Benchmarks) {
        check::measure_speed(card, peaks, scope, live);
        selfplay::measure(card, peaks, scope, live);
    }
    if scope.has(CheckPart::Torch) {
        check::measure_torch(args.card, scope, live);
    }
    Ok(())
}

/// Prints JSON or a table.
fn show(
    json: bool,
    document: &impl serde::Serialize,
    print: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, document)?;
        writeln!(out)?;
    } else {
        print(&mut out)?;
    }
    Ok(out.flush()?)
}
