//! `ringrift status`: asks a running peer for the state of the cluster.
//!
//! The exit status is 0 for healthy, 1 for degraded, 2 without a quorum, and 3 without an answer.

use super::peer_args::{self, PeerArgs};
use crate::{
    api::{
        autoscaler::Advice,
        cluster::NodeView,
        devices::{DeviceChoice, DevicesView},
        health::{HostState, Standing},
        status::{ConfigView, HealthWord, RefusedView, Status},
        work::LeaseView,
    },
    clock::now_ms,
};
use std::{collections::BTreeMap, fmt::Write as _, process::ExitCode, thread, time::Duration};

/// Show the state of the cluster, as a running peer reports it.
///
/// Any peer answers from the leader's confirmed state. Without a
/// leader it answers from its own state, marked stale.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 healthy, 1 degraded, 2 no quorum, 3 no answer.\n\n\
    Examples:\n  ringrift status --data-dir n2\n  ringrift status --data-dir n2 --json | jq .leader.node_id")]
pub(super) struct Args {
    #[command(flatten)]
    peer: PeerArgs,
    /// Ask again every second until interrupted.
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

/// The header above the lines of [`node_line`].
pub(super) const NODE_HEADER: &str =
    "NODE     HOST             ROLE     STATE              CONNECTED  VERSION";

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    loop {
        let status = match args.peer.client().and_then(|client| client.status()) {
            Ok(status) => status,
            Err(error) => {
                eprintln!("error: {:#}", anyhow::Error::from(error));
                if !args.watch {
                    return Ok(ExitCode::from(peer_args::UNREACHABLE));
                }
                thread::sleep(Duration::from_secs(1));
                continue;
            }
        };
        if args.watch {
            print!("\x1b[2J\x1b[H");
        }
        args.peer.print(&status, |status| render(status, now_ms()))?;
        if !args.watch {
            return Ok(ExitCode::from(match status.health {
                HealthWord::Healthy => 0,
                HealthWord::Degraded => 1,
                HealthWord::NoQuorum => 2,
            }));
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// Formats the report as a table.
fn render(status: &Status, now_ms: u64) -> String {
    let mut out = cluster_lines(status, now_ms);
    out.push_str(&health_lines(status, now_ms));
    let _ = writeln!(out, "\n{NODE_HEADER}");
    for node in &status.nodes {
        let _ = writeln!(out, "{}", node_line(node, now_ms));
    }
    for config in &status.configs {
        out.push_str(&config_lines(config));
        for pause in &config.training_paused {
            let (key, since) = (&config.config_key, ago(pause.since_ms, now_ms));
            let _ = writeln!(out, "paused  training of {key} for {since}: {}", pause.reason);
        }
    }
    out.push_str(&work_lines(status));
    out.push_str(&trouble_lines(status));
    out
}

/// How many nodes and voters are up, who leads, and who says so.
fn cluster_lines(status: &Status, now_ms: u64) -> String {
    let up = status.nodes.iter().filter(|node| node.online).count();
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
    format!(
        "cluster {}  {}  {up}/{} nodes up, {}/{} voters up (quorum {})   term {}   applied {}\n\
         leader  {leader}   view of {}: {view}\n",
        status.cluster,
        status.health.as_str(),
        status.nodes.len(),
        status.voters_up,
        status.voters.len(),
        status.quorum,
        status.term,
        status.applied,
        status.answered_by
    )
}

/// What the answering node does, and on which devices.
fn work_lines(status: &Status) -> String {
    let selfplay = &status.work.selfplay;
    let mut out = format!(
        "\n{}: {:.1} games/s, {} games, {} not acknowledged, {} segments in the cluster, delay {} ms\n",
        status.answered_by,
        selfplay.games_per_s,
        selfplay.games,
        selfplay.unacknowledged,
        status.segments,
        status.delay_ms
    );
    let audit = &status.work.audit;
    let _ = writeln!(
        out,
        "audits  {} games of others, {} decisions made again, {} forged, {} segments wait, {} skipped, \
         {} of another version",
        audit.games, audit.decisions, audit.forged, audit.waiting, audit.skipped, audit.unjudged
    );
    out.push_str(&device_lines(&status.devices));
    if !selfplay.on_cards.is_empty() {
        let _ = writeln!(out, "search  of {}: on the cards", selfplay.on_cards.join(", "));
    }
    out
}

/// Daemons of the answering node that failed or were restarted, and work that does not go on.
fn trouble_lines(status: &Status) -> String {
    let mut out = String::new();
    for failed in &status.failures {
        let (daemon, times, error) = (&failed.daemon, failed.failures, &failed.last_error);
        let _ = match times {
            0 => writeln!(out, "restarted {daemon} ({} times)", failed.restarts),
            _ => writeln!(out, "failed  {daemon} ({times} times, {} in a row): {error}", failed.in_row),
        };
    }
    out.push_str(&refused_lines(&status.refused, &status.events.refused));
    for it in &status.events.shunned {
        let _ = writeln!(out, "shunned: {} (two events under number {})", it.node_id, it.sequence);
    }
    for node in &status.nodes {
        let name = &node.node_id;
        if let Some(forgery) = &node.distrusted {
            let (segment, by) = (forgery.segment.short(), forgery.confirmed_by.join(", "));
            let _ = writeln!(
                out,
                "distrusted {name}: it forged game {} of segment {segment}, step {} (found by {by})",
                forgery.game, forgery.ply
            );
        }
        if node.reports_unconfirmed > 0 {
            let count = node.reports_unconfirmed;
            let _ = writeln!(out, "reports of {name}: {count} of forged games that nobody confirmed");
        }
    }
    for reason in &status.blocked {
        let _ = writeln!(out, "blocked {reason}");
    }
    out
}

/// What the answering node did not take of others: connections, and the rest by reason.
fn refused_lines(refused: &RefusedView, events: &BTreeMap<String, u64>) -> String {
    let mut out = String::new();
    if refused.http > 0 || refused.p2p > 0 {
        let _ = writeln!(out, "refused {} connections of peers, {} over HTTP", refused.p2p, refused.http);
    }
    for (what, counts) in [("requests", &refused.requests), ("gossip", &refused.gossip), ("events", events)] {
        if !counts.is_empty() {
            let reasons: Vec<String> =
                counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            let _ = writeln!(out, "refused {what}: {}", reasons.join(", "));
        }
    }
    out
}

/// The devices on which the answering node computes, and what has failed there.
fn device_lines(devices: &DevicesView) -> String {
    let mut out = String::new();
    let why = devices.message.as_deref();
    for device in &devices.in_use {
        let more = match (&device.driver, why, devices.wanted) {
            (Some(cuda), _, _) => format!(", driver for {cuda}"),
            (None, Some(why), DeviceChoice::Auto | DeviceChoice::Cpu) => format!(": {why}"),
            (None, Some(why), wanted @ (DeviceChoice::Cuda | DeviceChoice::Card(_))) => {
                format!(" in place of {wanted}: {why}")
            }
            (None, None, _) => String::new(),
        };
        let _ = writeln!(out, "device  {}{more}", device.name);
        if let Some(error) = &device.last_failure {
            let times = device.failures;
            let _ = writeln!(out, "failed  {} ({times} times, the CPU went on): {error}", device.name);
        }
    }
    if let Some(why) = why.filter(|_| devices.in_use.iter().any(|device| device.driver.is_some())) {
        let _ = writeln!(out, "device  not used: {why}");
    }
    out
}

/// The cluster as the answering node sees it, and the alerts that a person should look at.
fn health_lines(status: &Status, now_ms: u64) -> String {
    let view = &status.view;
    let count = |host| view.hosts.values().filter(|it| **it == host).count();
    let score = view.score.map_or_else(|| "?".to_owned(), |score| format!("{score:.0}"));
    let standing = match view.standing {
        Standing::Unknown => "unknown yet",
        Standing::Healthy => "healthy",
        Standing::Unhealthy => "UNHEALTHY",
    };
    let unknown = match count(HostState::Unknown) {
        0 => String::new(),
        unknown => format!(", {unknown} unknown"),
    };
    let mut out = format!(
        "health  {standing}, score {score}, {} hosts online, {} offline{unknown}, as {} sees it\n",
        count(HostState::Online),
        count(HostState::Offline),
        status.answered_by
    );
    if let Some(recommendation) = status.recommendation.as_ref().filter(|it| it.advice != Advice::Hold) {
        let what = match recommendation.advice {
            Advice::Up(more) => format!("{more} more peers"),
            Advice::Down(id) => format!("without node-{id}"),
            Advice::Hold => String::new(),
        };
        let _ = writeln!(out, "scale   {what}: {}", recommendation.reason);
    }
    for alert in &view.alerts {
        let _ =
            writeln!(out, "ALERT   {} for {}: {}", alert.name, ago(alert.since_ms, now_ms), alert.message);
    }
    out
}

pub(super) fn node_line(node: &NodeView, now_ms: u64) -> String {
    let state = if let Some(left) = node.handover.filter(|_| node.online) {
        match (left.leases, left.segments, left.models) {
            (0, 0, 0) => "drained".to_owned(),
            (leases, segments, models) => format!("drains {leases}/{segments}/{models}"),
        }
    } else if node.online {
        "up".to_owned()
    } else if node.draining.is_some() {
        format!("left {} ago", ago(node.since_ms, now_ms))
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

pub(super) fn ago(since_ms: u64, now_ms: u64) -> String {
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
    use crate::api::devices::DeviceView;

    #[test]
    fn devices_for_people() {
        let check = |devices: &DevicesView, expected: &str| assert_eq!(device_lines(devices), expected);
        let cpu = DeviceView { name: "CPU".into(), ..DeviceView::default() };
        let mut devices = DevicesView { in_use: vec![cpu], ..DevicesView::default() };
        check(&devices, "device  CPU\n");
        devices.message = Some("no CUDA device: no driver".into());
        check(&devices, "device  CPU: no CUDA device: no driver\n");
        devices.wanted = DeviceChoice::Card(1);
        check(&devices, "device  CPU in place of cuda:1: no CUDA device: no driver\n");
        let card = DeviceView {
            name: "cuda:0 NVIDIA H200 (sm_90a)".into(),
            driver: Some("CUDA 13.0".into()),
            failures: 2,
            last_failure: Some("no 512 bytes of device memory".into()),
        };
        devices = DevicesView { in_use: vec![card], ..DevicesView::default() };
        check(
            &devices,
            "device  cuda:0 NVIDIA H200 (sm_90a), driver for CUDA 13.0\n\
             failed  cuda:0 NVIDIA H200 (sm_90a) (2 times, the CPU went on): no 512 bytes of device memory\n",
        );
        devices.message = Some("cuda:1: no 512 bytes of device memory".into());
        let lines = device_lines(&devices);
        assert!(lines.ends_with("\ndevice  not used: cuda:1: no 512 bytes of device memory\n"), "{lines}");
    }

    #[test]
    fn refusals_for_people() {
        let counts = |all: &[(&str, u64)]| all.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        let check = |refused: &RefusedView, events: &[(&str, u64)], expected: &str| {
            assert_eq!(refused_lines(refused, &counts(events)), expected);
        };
        check(&RefusedView::default(), &[], "");
        let connections = RefusedView { http: 1, ..RefusedView::default() };
        check(&connections, &[], "refused 0 connections of peers, 1 over HTTP\n");
        let requests = counts(&[("busy", 2), ("stranger", 1)]);
        let refused = RefusedView { requests, gossip: counts(&[("rate", 5)]), ..RefusedView::default() };
        let expected =
            "refused requests: 2 busy, 1 stranger\nrefused gossip: 5 rate\nrefused events: 7 clock\n";
        check(&refused, &[("clock", 7)], expected);
    }

    #[test]
    fn durations_for_people() {
        let check = |ms, expected: &str| assert_eq!(seconds(ms), expected);
        check(0, "0.0 s");
        check(34_160, "34.1 s");
        check(150_000, "2 min");
        check(8_100_000, "2 h");
    }
}
