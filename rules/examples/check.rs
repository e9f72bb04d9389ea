//! Replays trace files, plain or .gz: `cargo run --release -p rules --example check -- FILES`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::ExitCode;

use flate2::bufread::MultiGzDecoder;

fn main() -> ExitCode {
    let (mut games, mut steps, mut failed) = (0, 0, false);
    for path in std::env::args().skip(1) {
        let file = match File::open(&path) {
            Ok(file) => BufReader::new(file),
            Err(error) => {
                eprintln!("{path}: {error}");
                failed = true;
                continue;
            }
        };
        let input: Box<dyn BufRead> = if path.ends_with(".gz") {
            Box::new(BufReader::new(MultiGzDecoder::new(file)))
        } else {
            Box::new(file)
        };
        match rules::trace::check(input, |_| {}) {
            Ok(report) => {
                games += report.games;
                steps += report.steps;
                if let Some(mismatch) = report.mismatch {
                    println!("{path}: {mismatch}");
                    failed = true;
                }
            }
            Err(error) => {
                eprintln!(
                    "{path}: {error}: {:?}",
                    std::error::Error::source(&error).map(ToString::to_string)
                );
                failed = true;
            }
        }
    }
    println!("{games} games, {steps} steps");
    ExitCode::from(u8::from(failed))
}
