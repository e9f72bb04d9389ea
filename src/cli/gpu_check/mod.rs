//! `ringrift gpu-check`: proves a card, measures it, and sets a prediction beside it; says so where there is none.
//!
//! Invariant: whatever is measured is held against what the card could do at most and what was predicted of it, in the same
//! report; nothing that the CPU did counts as the card's.

mod benchmarks;
mod correctness;
mod date;
mod outside;
mod predict;
mod report;
mod selfplay;

use anyhow::Context as _;
use clap::ValueEnum;
use kernels::proof::Card;
use report::{CardReport, Report};
use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Check a CUDA card against the CPU and measure it, or predict what one would do.
///
/// In order: every primitive against its golden vector, networks and training steps against the CPU, the rules and the search
/// over games; the same under compute-sanitizer, where it is installed; benchmarks with their share of what the card can do;
/// the same network in PyTorch, where `python3` has it. Without a usable card it says why and succeeds.
///
/// Exit status: 0 if all is well or there is no card, 1 if something is wrong or a card was required, 2 if a report cannot be written.
///
/// Example: ringrift gpu-check --out measured
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
    /// Write the report to this folder, as CARD-DATE.json.
    #[arg(long, value_name = "DIR", conflicts_with = "predict")]
    out: Option<PathBuf>,
    /// Less of everything: minutes instead of an hour.
    #[arg(long)]
    quick: bool,
    /// Only these parts.
    #[arg(long, value_enum, value_name = "PART", conflicts_with = "predict")]
    only: Vec<Part>,
    /// Write the card's own golden vectors to this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "predict")]
    write_golden: Option<PathBuf>,
    /// Print what one H200 is predicted to do, without a card.
    #[arg(long, conflicts_with_all = ["card", "require_gpu", "quick"])]
    predict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Against the CPU and golden vectors.
    Correctness,
    /// The same under compute-sanitizer.
    Sanitizer,
    /// How fast.
    Benchmarks,
    /// The same network in PyTorch.
    Torch,
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }
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
    if args.predict {
        let prediction = predict::prediction()?;
        write(args.json.as_deref(), &prediction, |out| predict::print(out, &prediction))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report::new(date::now());
    let opened = Card::open(args.card).and_then(|card| Ok((card, card.properties()?)));
    match opened {
        Err(error) => {
            progress(&format!("no usable card: {error}"));
            report.unavailable = Some(error.to_string());
            report.ok = !args.require_gpu;
        }
        Ok((card, properties)) => {
            progress(&format!("card {}: {}", args.card, properties.name));
            report.card = Some(CardReport::of(args.card, &properties));
            check(args, card, &properties.peaks(), &mut report)?;
        }
    }
    write(args.json.as_deref(), &report, |out| report.print(out))?;
    if let (Some(folder), Some(name)) = (&args.out, report.file_name()) {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(name);
        write_file(&path, &report)?;
        progress(&format!("written to {}", path.display()));
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(
    args: &Args,
    card: Card,
    peaks: &kernels::roofline::Peaks,
    report: &mut Report,
) -> anyhow::Result<()> {
    if let Some(folder) = &args.write_golden {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for vector in card.vectors()? {
            let path = folder.join(vector.file_name());
            std::fs::write(&path, vector.to_text())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    if args.wants(Part::Correctness) {
        correctness::run(card, args.quick, &mut report.correctness);
    }
    if args.wants(Part::Sanitizer) {
        report.sanitizer = outside::sanitize(args.card);
    }
    if args.wants(Part::Benchmarks) {
        benchmarks::run(card, peaks, args.quick, &mut report.benchmarks);
    }
    if args.wants(Part::Torch) {
        report.torch = Some(outside::torch(args.card, args.quick));
    }
    report.peaks = Some(peaks.clone());
    report.judge();
    Ok(())
}

/// Writes JSON to a file or to standard output, or prints a table.
fn write(
    json: Option<&Path>,
    document: &impl serde::Serialize,
    print: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match json {
        Some(path) if path == Path::new("-") => {
            serde_json::to_writer_pretty(&mut out, document)?;
            writeln!(out)?;
        }
        Some(path) => {
            write_file(path, document)?;
            print(&mut out)?;
        }
        None => print(&mut out)?,
    }
    Ok(out.flush()?)
}

fn write_file(path: &Path, document: &impl serde::Serialize) -> anyhow::Result<()> {
    let written = File::create(path).map_err(anyhow::Error::from).and_then(|mut file| {
        serde_json::to_writer_pretty(&mut file, document)?;
        Ok(writeln!(file)?)
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}
