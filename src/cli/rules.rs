//! `ringrift rules`: checks recorded games against the rules.
//!
//! The exit status is 0 if every file agrees, 1 if one disagrees, and 2 if one cannot be read.

use std::fs::File;
use std::io::{BufRead, BufReader, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::rules::trace::{Mismatch, ReplayReport, TraceError, check};
use anyhow::Context;
use clap::Subcommand;
use flate2::bufread::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Check the rules of the game against recorded games.
///
/// Example: ringrift rules check games.jsonl.gz
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: RulesCommand,
}

#[derive(Debug, Subcommand)]
enum RulesCommand {
    /// Replay recorded games and report the first mismatch of each file.
    ///
    /// Exit status: 0 if every file agrees, 1 if one disagrees, 2 if one cannot be read.
    ///
    /// Example: ringrift rules check traces/*.gz
    Check(CheckArgs),
}

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// Trace files: JSON lines, plain or compressed with gzip.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        RulesCommand::Check(args) => run_check(&args),
    }
}

/// The result for one file.
#[derive(Debug, Serialize)]
struct FileReport {
    file: PathBuf,
    games: u64,
    steps: u64,
    mismatch: Option<MismatchReport>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct MismatchReport {
    line: u64,
    step: usize,
    what: &'static str,
    expected: String,
    found: String,
    position: String,
    #[serde(rename = "move")]
    played: Option<String>,
}

impl From<Mismatch> for MismatchReport {
    fn from(mismatch: Mismatch) -> Self {
        let Mismatch { line, step, what, expected, found, position, played } = mismatch;
        Self { line, step, what: what.as_str(), expected, found, position, played }
    }
}

#[derive(Debug, Serialize)]
struct ReplaySummary {
    ok: bool,
    games: u64,
    steps: u64,
    mismatches: usize,
    unreadable: usize,
    files: Vec<FileReport>,
}

fn run_check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let bytes =
        args.files.iter().filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum();
    let bar = progress_bar(bytes);
    let mut out = stdout().lock();
    let mut files = Vec::with_capacity(args.files.len());
    for path in &args.files {
        let report = check_file(path, &bar);
        if !args.json {
            bar.suspend(|| print_file(&mut out, &report)).context("cannot write the report")?;
        }
        files.push(report);
    }
    bar.finish_and_clear();
    let summary = ReplaySummary::of(files);
    if args.json {
        serde_json::to_writer(&mut out, &summary).context("cannot write the report")?;
        writeln!(out).context("cannot write the report")?;
    } else {
        let (games, steps) = (summary.games, summary.steps);
        write!(out, "{games} games, {steps} steps, {} mismatches", summary.mismatches)?;
        match summary.unreadable {
            0 => writeln!(out)?,
            unreadable => writeln!(out, ", {unreadable} unreadable files")?,
        }
    }
    Ok(summary.exit_code())
}

impl ReplaySummary {
    fn of(files: Vec<FileReport>) -> Self {
        let mismatches = files.iter().filter(|file| file.mismatch.is_some()).count();
        let unreadable = files.iter().filter(|file| file.error.is_some()).count();
        Self {
            ok: mismatches + unreadable == 0,
            games: files.iter().map(|file| file.games).sum(),
            steps: files.iter().map(|file| file.steps).sum(),
            mismatches,
            unreadable,
            files,
        }
    }

    fn exit_code(&self) -> ExitCode {
        if self.unreadable > 0 { ExitCode::from(2) } else { ExitCode::from(u8::from(self.mismatches > 0)) }
    }
}

/// A bar that is hidden unless standard error is a terminal.
fn progress_bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} % {msg}")
        .expect("the template is well formed")
        .progress_chars("=> ");
    ProgressBar::new(bytes).with_style(style)
}

fn check_file(path: &Path, bar: &ProgressBar) -> FileReport {
    bar.set_message(path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned());
    let (report, error) = match replay(path, bar) {
        Ok(report) => (report, None),
        Err(error) => (ReplayReport::default(), Some(format!("{error:#}"))),
    };
    let mismatch = report.mismatch.map(MismatchReport::from);
    FileReport { file: path.to_owned(), games: report.games, steps: report.steps, mismatch, error }
}

fn replay(path: &Path, bar: &ProgressBar) -> anyhow::Result<ReplayReport> {
    let file = File::open(path).context("cannot open")?;
    let mut input = BufReader::new(bar.wrap_read(file));
    let compressed = input.fill_buf().context("cannot read")?.starts_with(&[0x1f, 0x8b]);
    let report: Result<ReplayReport, TraceError> = if compressed {
        check(BufReader::new(MultiGzDecoder::new(input)), |_| {})
    } else {
        check(input, |_| {})
    };
    Ok(report?)
}

fn print_file(out: &mut impl Write, report: &FileReport) -> std::io::Result<()> {
    let file = report.file.display();
    if let Some(error) = &report.error {
        return writeln!(out, "{file}: {error}");
    }
    writeln!(out, "{file}: {} games, {} steps", report.games, report.steps)?;
    if let Some(mismatch) = &report.mismatch {
        writeln!(out, "  line {}, step {}: {} differs", mismatch.line, mismatch.step, mismatch.what)?;
        writeln!(out, "    expected {}", mismatch.expected)?;
        writeln!(out, "    found    {}", mismatch.found)?;
        writeln!(out, "    position {}", mismatch.position)?;
        if let Some(played) = &mismatch.played {
            writeln!(out, "    move     {played}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[u8], compress: bool) -> FileReport {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace");
        let bytes = if compress {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(lines).unwrap();
            encoder.finish().unwrap()
        } else {
            lines.to_vec()
        };
        std::fs::write(&path, bytes).unwrap();
        check_file(&path, &ProgressBar::hidden())
    }

    const GAME: &str = concat!(
        r#"{"v":1,"board":"square8","players":2,"swap":false,"victory":"every_move","#,
        r#""init":"place p=1|h0e0t0|h0e0t0|S 0,0:1 7,7:2|M |C |L f=0 m= x=0 n=0","#,
        r#""steps":[],"end":{"status":"truncated","steps":0}}"#
    );

    #[test]
    fn plain_and_compressed_files_are_read() {
        for compress in [false, true] {
            let report = report(GAME.as_bytes(), compress);
            assert_eq!((report.games, report.error.as_deref()), (1, None));
            assert!(ReplaySummary::of(vec![report]).ok);
        }
    }

    #[test]
    fn exit_status_tells_mismatches_from_unreadable_files() {
        let wrong = report(GAME.replace("truncated", "over").as_bytes(), false);
        assert_eq!(wrong.mismatch.as_ref().map(|mismatch| mismatch.what), Some("outcome"));
        let summary = ReplaySummary::of(vec![wrong]);
        assert_eq!((summary.ok, summary.mismatches), (false, 1));
        assert_eq!(summary.exit_code(), ExitCode::from(1));
        for bytes in [&b""[..], b"{", b"\x1f\x8bnot gzip"] {
            let summary = ReplaySummary::of(vec![report(bytes, false)]);
            assert_eq!((summary.unreadable, summary.exit_code()), (1, ExitCode::from(2)));
        }
        let missing = check_file(Path::new("no such file"), &ProgressBar::hidden());
        assert!(missing.error.unwrap().starts_with("cannot open: "));
    }
}
