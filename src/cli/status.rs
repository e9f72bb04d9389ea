//! `ringrift status` and `ringrift cluster leader`.
//!
//! Exit status of `status`: 0 healthy, 1 degraded, 2 no quorum, 3 no answer.

use crate::{
    client::Client,
    clock::now_ms,
    node::status::{ConfigView, Health, LeaseView, NodeView, Status},
};
use clap::Subcommand;
use std::{fmt::Write as _, path::PathBuf, process::ExitCode, thread, time::Duration};

/// Ask a running peer how the cluster stands.
///
/// Any peer answers from the leader's confirmed state; without a leader it answers from its own, marked stale.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 healthy, 1 degraded, 2 no quorum, 3 no answer.\n\n\
    Examples:\n  ringrift status --data-dir n2\n  ringrift status --data-dir n2 --json | jq .leader.node_id")]
pub(super) struct Args {
    /// Data folder of the peer to ask.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Ask again every second until interrupted.
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

/// Ask about the cluster as a whole.
///
/// Example: ringrift cluster leader --data-dir n3
#[derive(Debug, clap::Args)]
pub(super) struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Who leads. Exit status: 0 for a confirmed leader, 2 for none or a stale answer, 3 for no answer.
    ///
    /// Example: ringrift cluster leader --data-dir n3 --json
    Leader {
        /// Data folder of the peer to ask.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

const UNREACHABLE: u8 = 3;

/// Runs `ringrift status`.
///
/// # Errors
/// If the answer cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    loop {
        let status = match Client::of_folder(&args.data_dir).and_then(|client| client.status()) {
            Ok(status) => status,
            Err(error) => {
                eprintln!("error: {:#}", anyhow::Error::from(error));
                if !args.watch {
                    return Ok(ExitCode::from(UNREACHABLE));
                }
                thread::sleep(Duration::from_secs(1));
                continue;
            }
        };
        if args.json {
            println!("{}", serde_json::to_string_pretty(&status)?);
        } else {
            if args.watch {
                print!("\x1b[2J\x1b[H");
            }
            print!("{}", render(&status, now_ms()));
        }
        if !args.watch {
            return Ok(ExitCode::from(match status.health {
                Health::Healthy => 0,
                Health::Degraded => 1,
                Health::NoQuorum => 2,
            }));
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Runs `ringrift cluster`.
///
/// # Errors
/// If the answer cannot be written.
pub(super) fn cluster(args: ClusterArgs) -> anyhow::Result<ExitCode> {
    let ClusterCommand::Leader { data_dir, json } = args.command;
    let report = match Client::of_folder(&data_dir).and_then(|client| client.leader()) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {:#}", anyhow::Error::from(error));
            return Ok(ExitCode::from(UNREACHABLE));
        }
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        let stale = if report.stale { format!("  (stale, {} ms old)", report.age_ms) } else { String::new() };
        match &report.leader {
            Some(leader) => println!("{} {} term {}{stale}", leader.node_id, leader.host, leader.term),
            None => println!("no leader known{stale}"),
        }
    }
    let confirmed = report.leader.is_some() && !report.stale;
    Ok(if confirmed { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// The report as a table.
fn render(status: &Status, now_ms: u64) -> String {
    let mut out = String::new();
    let up = status.nodes.iter().filter(|node| node.online).count();
    let _ = writeln!(
        out,
        "cluster {}  {}  {up}/{} nodes up, {}/{} voters up (quorum {})   term {}   applied {}",
        status.cluster,
        status.health.as_str(),
        status.nodes.len(),
        status.voters_up,
        status.voters.len(),
        status.quorum,
        status.term,
        status.applied
    );
    let leader = match &status.leader {
        Some(leader) => {
            let since = if leader.since_ms == 0 { "?".to_owned() } else { ago(leader.since_ms, now_ms) };
            format!("{} {} for {since}", leader.node_id, leader.host)
        }
        None => "none".to_owned(),
    };
    let view = if status.stale {
        format!("STALE, {} old", seconds(status.age_ms))
    } else {
        "confirmed by a quorum".to_owned()
    };
    let _ = writeln!(out, "leader  {leader}   view of {}: {view}", status.answered_by);
    out.push_str("\nNODE     HOST             ROLE     STATE              CONNECTED  VERSION\n");
    for node in &status.nodes {
        let _ = writeln!(out, "{}", node_line(node, now_ms));
    }
    for config in &status.configs {
        out.push_str(&config_lines(config));
    }
    let work = &status.work;
    let _ = writeln!(
        out,
        "\n{}: {:.1} games/s, {} games, {} not acknowledged, {} segments in the cluster, delay {} ms",
        status.answered_by,
        work.selfplay.games_per_s,
        work.selfplay.games,
        work.selfplay.unacknowledged,
        status.segments,
        status.delay_ms
    );
    for failed in &status.failures {
        let _ = writeln!(out, "failed  {} ({} times): {}", failed.daemon, failed.failures, failed.last_error);
    }
    for reason in &status.blocked {
        let _ = writeln!(out, "blocked {reason}");
    }
    out
}

fn node_line(node: &NodeView, now_ms: u64) -> String {
    let state = if node.online {
        "up".to_owned()
    } else {
        format!("DOWN {} {}", ago(node.since_ms, now_ms), node.reason)
    };
    let connected = if node.connected { "yes" } else { "no" };
    format!(
        "{:<8} {:<16} {:<8} {:<18} {:<10} {}",
        node.node_id, node.host, node.role, state, connected, node.version
    )
}

fn config_lines(config: &ConfigView) -> String {
    let lease = |view: &LeaseView| view.node_id.clone().unwrap_or_else(|| "-".to_owned());
    let loss = config.val_loss.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.3}"));
    format!(
        "\n{}  champion {} (generation {}, Elo {:.0}) on {} nodes   games {} ({} of {} towards training)\n\
         {:<9} training {}   evaluation {}   candidates {}   val_loss {loss}   self-play {}\n",
        config.config_key,
        config.champion.short(),
        config.generation,
        config.elo,
        config.holders.len(),
        config.games_total,
        config.games_since_training,
        config.threshold,
        "",
        lease(&config.training),
        lease(&config.evaluation),
        config.candidates.len(),
        config.target
    )
}

fn ago(since_ms: u64, now_ms: u64) -> String {
    seconds(now_ms.saturating_sub(since_ms))
}

fn seconds(ms: u64) -> String {
    match ms / 1000 {
        s if s < 120 => format!("{}.{} s", s, ms % 1000 / 100),
        s if s < 7200 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_for_people() {
        let check = |ms, expected: &str| assert_eq!(seconds(ms), expected);
        check(0, "0.0 s");
        check(34_160, "34.1 s");
        check(150_000, "2 min");
        check(8_100_000, "2 h");
    }
}
