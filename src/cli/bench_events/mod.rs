//! `ringrift bench events`: measures how fast events reach every peer, on real peers of this machine.

mod cluster;
mod figures;
mod load;

use crate::{
    clock::now_us,
    events::{Subscriptions, drill, log::EventLog},
    local::{Interrupted, Signals},
};
use anyhow::Context as _;
use cluster::{Cluster, Emitted};
use figures::{FanOut, Spread, fan_out, spread};
use indicatif::{ProgressBar, ProgressStyle};
use load::{Load, Meter};
use p2p::Signer;
use serde::Serialize;
use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

/// How long the last event may take to arrive.
const ARRIVE: Duration = Duration::from_secs(60);
/// How long a backlog may take until all other peers have written it, and until the peer that was away has
/// caught up.
const BACKLOG: Duration = Duration::from_secs(600);
/// Version of the layout of the JSON object.
const SCHEMA: u32 = 1;

/// Measure how fast events get from one peer into the logs of all.
///
/// The command starts peers on this machine, as processes with data on disk and without self-play, and
/// measures three things: `gossip`, events that are emitted in turn at every peer, from emit until each peer
/// has them stored, in causal order and synced; `repair`, the same with gossip switched off; and `backlog`,
/// how fast a peer that was away catches up. Peers emit by themselves, as their daemons do. The clock starts
/// when an event is handed over to be emitted, or should have been while the one before held it up; it stops
/// with the commit, which each peer remembers. The load is the number of cores that were busy meanwhile.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With --json one object: schema, peers, rate, event_bytes, gossip and repair ({events, every_peer, any_peer, \
    acknowledged (each {p50_ms, p99_ms, max_ms}), missing, load ({machine, peers, cores})}), backlog ({events, seconds, \
    events_per_s, first_after_s, missing, load}), targets ([{name, wanted, found, met}]), ok. What was not asked for is null.\n\n\
    Exit status: 0 if every event arrived everywhere; 1 if one is missing; 2 if it could not run; 130 when interrupted.\n\n\
    Examples:\n  ringrift bench events\n  ringrift bench events --only gossip --rate 1000 --seconds 10 --json"
)]
pub(super) struct Args {
    /// Number of peers.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..=16))]
    peers: u8,
    /// Events per second, over all peers.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Seconds of each run of events.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Number of events that the peer that was away has to catch up with.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=150_000))]
    backlog: u64,
    /// Measure only this part.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Keep the data and the logs.
    #[arg(long)]
    keep: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Gossip,
    Repair,
    Backlog,
}

#[derive(Debug, Serialize)]
struct BenchReport {
    schema: u32,
    peers: u8,
    rate: u32,
    /// Size of an event's message.
    event_bytes: usize,
    gossip: Option<FanOutRun>,
    repair: Option<FanOutRun>,
    backlog: Option<Backlog>,
    targets: Vec<BenchTarget>,
    ok: bool,
}

#[derive(Debug, Serialize)]
struct FanOutRun {
    #[serde(flatten)]
    fan_out: FanOut,
    /// Time from the emit until the emitter reports that the event is synced.
    acknowledged: Spread,
    load: Load,
}

#[derive(Debug, Serialize)]
struct Backlog {
    events: u64,
    /// Time from the moment at which the peer listens until its log has all events.
    seconds: f64,
    events_per_s: f64,
    /// The part of these seconds until the first event was stored: the peer finds its cluster.
    first_after_s: f64,
    missing: usize,
    load: Load,
}

#[derive(Debug, PartialEq, Serialize)]
struct BenchTarget {
    name: &'static str,
    wanted: f64,
    found: f64,
    met: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signals = Signals::watch()?;
    let root =
        tempfile::Builder::new().prefix("ringrift-bench-").tempdir().context("cannot make a folder")?;
    let mut cluster = Cluster::new(root.path(), usize::from(args.peers), signals.interrupt())?;
    let bar = ProgressBar::new(1);
    bar.set_style(ProgressStyle::with_template("{msg:44} {bar:30} {pos}/{len} {elapsed}")?);
    bar.enable_steady_tick(Duration::from_millis(500));
    let measured = measure(args, &mut cluster, &bar);
    bar.finish_and_clear();
    cluster.stop();
    if args.keep || measured.as_ref().is_ok_and(|report| !report.ok) {
        eprintln!("data and logs are kept in {}", root.keep().display());
    }
    let report = match measured {
        Ok(report) => report,
        Err(error) if error.is::<Interrupted>() => return Ok(ExitCode::from(130)),
        Err(error) => return Err(error),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(args: &Args, cluster: &mut Cluster, bar: &ProgressBar) -> anyhow::Result<BenchReport> {
    let wanted = |part| args.only.is_none_or(|only| only == part);
    let all = usize::from(args.peers);
    let mut fan_out = |part, gossip| -> anyhow::Result<Option<FanOutRun>> {
        if !wanted(part) {
            return Ok(None);
        }
        bar.set_message(format!("{all} peers start"));
        cluster.start(all, gossip)?;
        let run = measure_run(args, cluster, bar)?;
        cluster.stop();
        Ok(Some(run))
    };
    let gossip = fan_out(Part::Gossip, true)?;
    let repair = fan_out(Part::Repair, false)?;
    let backlog = if wanted(Part::Backlog) { Some(measure_backlog(args, cluster, bar)?) } else { None };
    let missing = [&gossip, &repair].into_iter().flatten().map(|run| run.fan_out.missing).sum::<usize>()
        + backlog.as_ref().map_or(0, |backlog| backlog.missing);
    let targets = targets(gossip.as_ref(), repair.as_ref(), backlog.as_ref());
    Ok(BenchReport {
        schema: SCHEMA,
        peers: args.peers,
        rate: args.rate,
        event_bytes: event_bytes(cluster.root())?,
        gossip,
        repair,
        backlog,
        targets,
        ok: missing == 0,
    })
}

/// The size of an event's message.
fn event_bytes(folder: &Path) -> anyhow::Result<usize> {
    let signer = Signer::load(&folder.join("probe.key"))?;
    let log = EventLog::open(&folder.join("probe.db"), signer, Subscriptions::default())?;
    Ok(log.emit(drill::event(1_000, "node-1".to_owned(), now_us()))?.len())
}

fn measure_run(args: &Args, cluster: &Cluster, bar: &ProgressBar) -> anyhow::Result<FanOutRun> {
    // Before the measurement, every peer has found every other, and every file has its size.
    bar.set_message("warms up");
    let since = cluster.ends()?;
    let emitted = cluster.emit(args.rate, 2, bar)?;
    cluster.collect(&emitted, &since, ARRIVE, bar)?;
    let since = cluster.ends()?;
    bar.set_message(format!("{} events/s", args.rate));
    let pids = cluster.pids();
    let meter = Meter::start(&pids);
    let emitted = cluster.emit(args.rate, args.seconds, bar)?;
    let load = meter.stop(&pids);
    bar.set_message("asks what was stored when");
    let stored = cluster.collect(&emitted, &since, ARRIVE, bar)?;
    let Emitted { at, acknowledged_us } = emitted;
    let fan_out = fan_out(&at, &stored).context("no event arrived everywhere")?;
    let acknowledged = spread(acknowledged_us).unwrap_or_default();
    Ok(FanOutRun { fan_out, acknowledged, load })
}

fn measure_backlog(args: &Args, cluster: &mut Cluster, bar: &ProgressBar) -> anyhow::Result<Backlog> {
    let away = usize::from(args.peers) - 1;
    bar.set_message("the peers start");
    cluster.start(away + 1, true)?;
    let end = cluster.ends()?;
    let since = end[away];
    cluster.stop_one(away);
    bar.set_message(format!("one is away, {} events", args.backlog));
    let emitted = cluster.emit_bulk(args.backlog, bar)?;
    bar.set_message("the others have them");
    for (index, since) in end.iter().enumerate().take(away) {
        anyhow::ensure!(
            cluster.await_growth(index, (*since, args.backlog), BACKLOG)?,
            "the backlog is not everywhere after {BACKLOG:?}; logs are in {}",
            cluster.root().display()
        );
    }
    bar.set_message("it is back");
    cluster.start_one(away)?;
    let listens_us = now_us();
    let pids = cluster.pids();
    let meter = Meter::start(&pids);
    cluster.await_growth(away, (since, args.backlog), BACKLOG)?;
    let load = meter.stop(&pids);
    bar.set_message("asks what was stored when");
    let stored = cluster.collect_from(away, &emitted, since, Instant::now() + ARRIVE, bar)?;
    let seconds = |at_us: i64| (at_us - listens_us) as f64 / 1e6;
    let last = stored.values().max().copied().map_or(f64::INFINITY, seconds);
    let first = stored.values().min().copied().map_or(f64::INFINITY, seconds);
    Ok(Backlog {
        events: args.backlog,
        seconds: last,
        events_per_s: stored.len() as f64 / last,
        first_after_s: first,
        missing: emitted.at.len() - stored.len(),
        load,
    })
}

fn targets(
    gossip: Option<&FanOutRun>,
    repair: Option<&FanOutRun>,
    backlog: Option<&Backlog>,
) -> Vec<BenchTarget> {
    let at_most = |name, wanted, found| BenchTarget { name, wanted, found, met: found <= wanted };
    let mut all = Vec::new();
    if let Some(run) = gossip {
        all.push(at_most("gossip p50 ms", 5.0, run.fan_out.every_peer.p50_ms));
        all.push(at_most("gossip p99 ms", 25.0, run.fan_out.every_peer.p99_ms));
    }
    if let Some(run) = repair {
        all.push(at_most("repair p99 ms", 2500.0, run.fan_out.every_peer.p99_ms));
    }
    if let Some(backlog) = backlog {
        let (wanted, found) = (5000.0, backlog.events_per_s);
        all.push(BenchTarget { name: "backlog events/s", wanted, found, met: found >= wanted });
    }
    all
}

fn print(report: &BenchReport) {
    let line = |name: &str, s: Spread| {
        println!("  {name:<24}{:>10.2}{:>10.2}{:>10.2}", s.p50_ms, s.p99_ms, s.max_ms)
    };
    let load = |load: Load| {
        format!("{:.2} of {} cores busy, {:.2} with the peers", load.machine, load.cores, load.peers)
    };
    for (name, run) in [("gossip", &report.gossip), ("repair alone", &report.repair)] {
        let Some(run) = run else { continue };
        println!(
            "{name}: {} events at {}/s over {} peers; {}",
            run.fan_out.events,
            report.rate,
            report.peers,
            load(run.load)
        );
        println!("  {:<24}{:>10}{:>10}{:>10}", "ms from emit to", "p50", "p99", "max");
        line("acknowledged", run.acknowledged);
        line("stored on a peer", run.fan_out.any_peer);
        line("stored on every peer", run.fan_out.every_peer);
        println!("  missing {}", run.fan_out.missing);
    }
    if let Some(backlog) = &report.backlog {
        println!(
            "backlog: {} events caught up in {:.2} s, {:.0} events/s, the first after {:.2} s; missing {}; {}",
            backlog.events,
            backlog.seconds,
            backlog.events_per_s,
            backlog.first_after_s,
            backlog.missing,
            load(backlog.load)
        );
    }
    for target in &report.targets {
        let met = if target.met { "met" } else { "NOT MET" };
        println!("{:<18} wanted {:>7.0}, found {:>9.2}: {met}", target.name, target.wanted, target.found);
    }
}
