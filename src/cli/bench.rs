//! `ringrift bench`: measures how fast the parts are on this machine.

use std::io::{Write, stdout};
use std::process::ExitCode;

use ::rules::Config;
use ::rules::playout::random_games;
use anyhow::Context;
use clap::Subcommand;
use serde::Serialize;

/// Measure how fast parts of the program are on this machine.
///
/// Example: ringrift bench rules
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Measure random complete games and steps per second, per configuration, on one thread.
    ///
    /// Example: ringrift bench rules --seconds 5 --json
    Rules(RulesArgs),
    Learn(super::bench_learn::Args),
    Events(super::bench_events::Args),
}

#[derive(Debug, clap::Args)]
struct RulesArgs {
    /// Seconds for each configuration.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// Print a JSON list instead of a table.
    #[arg(long)]
    json: bool,
}

/// Longest measurement of one configuration.
const SECONDS_MAX: f64 = 3_600.0;

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if seconds > 0.0 && seconds <= SECONDS_MAX {
        Ok(seconds)
    } else {
        Err(format!("not above 0 and at most {SECONDS_MAX} seconds"))
    }
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        BenchCommand::Rules(args) => bench_rules(&args).context("cannot write the figures")?,
        BenchCommand::Learn(args) => super::bench_learn::run(&args)?,
        BenchCommand::Events(args) => return super::bench_events::run(&args),
    }
    Ok(ExitCode::SUCCESS)
}

/// The figures of one configuration.
#[derive(Debug, Serialize)]
struct RulesSpeed {
    config: String,
    games_per_s: f64,
    steps_per_s: f64,
}

fn bench_rules(args: &RulesArgs) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    if !args.json {
        writeln!(out, "{:<14}{:>12}{:>14}", "config", "games/s", "steps/s")?;
    }
    let mut figures = Vec::new();
    for config in Config::all() {
        let speed = random_games(config, args.seconds);
        let (config, games_per_s, steps_per_s) = (config.key(), speed.games_per_s, speed.steps_per_s);
        if args.json {
            figures.push(RulesSpeed { config, games_per_s, steps_per_s });
        } else {
            writeln!(out, "{config:<14}{games_per_s:>12.1}{steps_per_s:>14.0}")?;
            out.flush()?;
        }
    }
    if args.json {
        serde_json::to_writer(&mut out, &figures)?;
        writeln!(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for bad in ["0", "-1", "nan", "inf", "3601", "x"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
