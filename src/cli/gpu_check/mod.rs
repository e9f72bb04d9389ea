//! `ringrift gpu-check`: proves a card, measures it, and sets a prediction beside it; says so where there is none.
//!
//! Invariant: whatever is measured is held against what the card could do at most and what was predicted of it, in the same
//! report; nothing that the CPU did counts as the card's.

mod benchmarks;
mod correctness;
mod date;
mod driver;
mod figure;
mod kept;
mod outside;
mod predict;
mod report;
mod sanitizer;
mod scope;
mod selfplay;
mod torch;

use anyhow::Context as _;
use gauge::Peaks;
use kept::{Kept, write_file};
use kernels::proof::Card;
use report::{CardReport, Report};
use rules::Board;
use scope::{Part, Scope};
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Where the recorded games are that the repository keeps, for who stands there and wants all of the check.
const TRACES: &str = "rules/tests/traces";

/// Check a CUDA card against the CPU and measure it, or predict what one would do.
///
/// In order: every primitive against its golden vector; networks and training steps against the CPU and against themselves; the
/// rules over random and recorded games, and games with the search on the card; the same, less of it, under compute-sanitizer,
/// where it is installed; benchmarks with their share of what the card can do; the same network in PyTorch, where `python3` has
/// it. Among the benchmarks, `self-play card` is how a node with a card plays: the card searches whole games. `self-play host`
/// is what it falls back to: the host searches, and the card evaluates. Without a usable card it says why and succeeds.
///
/// It is not known how long that takes on a card. compute-sanitizer may take half an hour for each of its three tools, PyTorch
/// forty minutes in all. Reports are written as they grow, so what was found out is kept whatever ends this; `complete` in them
/// says whether they came to their end. Where a command may only take some minutes, ask for a part and a board at a time: each
/// has a report of its own.
///
/// Exit status: 0 if all is well or there is no card, 1 if something is wrong or a card was required, 2 if a report cannot be written.
///
/// Example: ringrift gpu-check --out measured
/// Example: ringrift gpu-check --out measured --only benchmarks --board hex8
/// Example: ringrift gpu-check --predict --json
#[derive(Debug, clap::Args)]
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
    /// Write the report to this folder, as CARD-DATE.json; with the parts, boards and `quick` that it is of, if it is not of
    /// everything, and with a number if there is one of that name.
    #[arg(long, value_name = "DIR", conflicts_with = "predict")]
    out: Option<PathBuf>,
    /// Less of everything: fewer games, batches, repeats and networks.
    #[arg(long)]
    quick: bool,
    /// Only these parts.
    #[arg(long, value_enum, value_name = "PART", conflicts_with = "predict")]
    only: Vec<Part>,
    /// Only these boards: hex8, square8, square19, hexagonal.
    #[arg(long = "board", value_name = "BOARD", conflicts_with = "predict")]
    boards: Vec<Board>,
    /// Recorded games to replay; without it and without --quick those in `rules/tests/traces`, if there is such a folder.
    #[arg(long, value_name = "DIR", conflicts_with = "predict")]
    traces: Option<PathBuf>,
    /// Write the card's own golden vectors to this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "predict")]
    write_golden: Option<PathBuf>,
    /// Print what one H200 is predicted to do, without a card.
    #[arg(long, conflicts_with_all = ["card", "require_gpu", "quick"])]
    predict: bool,
}

/// Says on standard error what is going on.
fn progress(what: &str) {
    // Nobody may be reading.
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
        let prediction = predict::prediction()?;
        file.map_or(Ok(()), |file| write_file(file, &prediction))?;
        show(in_place_of_table, &prediction, |out| predict::print(out, &prediction))?;
        return Ok(ExitCode::SUCCESS);
    }
    let scope = Scope::of(&args.only, &args.boards, args.quick);
    let mut report = Report::new(date::now(), &scope);
    let opened = Card::open(args.card).and_then(|card| Ok((card, card.properties()?)));
    let (report, saved) = match opened {
        Err(error) => {
            progress(&format!("no usable card: {error}"));
            report.unavailable = Some(error.to_string());
            (report.ok, report.complete) = (!args.require_gpu, true);
            let saved = file.map_or(Ok(()), |file| write_file(file, &report));
            (report, saved)
        }
        Ok((card, properties)) => {
            progress(&format!("card {}: {}", args.card, properties.name));
            let peaks = Peaks::of(&properties);
            report.card = Some(CardReport::of(args.card, &properties, driver::version()));
            report.peaks = Some(peaks.clone());
            let mut kept = Kept::new(report, file, args.out.as_deref())?;
            check(args, &scope, card, &peaks, &mut kept)?;
            kept.finish()
        }
    };
    show(in_place_of_table, &report, |out| report.print(out))?;
    saved?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(args: &Args, scope: &Scope, card: Card, peaks: &Peaks, kept: &mut Kept) -> anyhow::Result<()> {
    if let Some(folder) = &args.write_golden {
        write_golden(card, folder, kept)?;
    }
    if scope.has(Part::Correctness) {
        let kept_here = Path::new(TRACES);
        let traces = args.traces.as_deref();
        let traces = traces.or_else(|| (!scope.quick && kept_here.is_dir()).then_some(kept_here));
        correctness::run(card, scope, traces, kept);
    }
    if scope.has(Part::Sanitizer) {
        for tool in sanitizer::TOOLS {
            let run = sanitizer::sanitize(tool, args.card, &args.boards);
            kept.change(|report| report.sanitizer.push(run));
        }
    }
    if scope.has(Part::Benchmarks) {
        benchmarks::run(card, peaks, scope, kept);
    }
    if scope.has(Part::Torch) {
        torch::measure(args.card, scope, kept);
    }
    Ok(())
}

/// Writes what the card makes of the inputs of every golden vector; a card that makes nothing is a fault of it.
fn write_golden(card: Card, folder: &Path, kept: &mut Kept) -> anyhow::Result<()> {
    let vectors = match card.vectors() {
        Ok(vectors) => vectors,
        Err(error) => {
            correctness::add(kept, "the card's own golden vectors", Err(error));
            return Ok(());
        }
    };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for vector in vectors {
        let path = folder.join(vector.file_name());
        std::fs::write(&path, vector.to_text())
            .with_context(|| format!("cannot write {}", path.display()))?;
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
