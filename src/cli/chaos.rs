//! `ringrift chaos`: kills peers at random and checks what that breaks.

use crate::{
    api::status::Status,
    config::Settings,
    learner::settings::{SelfplayConfig, TrainingConfig},
    local::{Acknowledged, Interrupt, Interrupted, Peer, Signals, disagreements, is_whole, lost, stop_all},
};
use anyhow::{Context as _, bail};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::Serialize;
use std::{
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// Pause between two looks at the peers.
const POLL: Duration = Duration::from_millis(100);
/// Longest accepted time without a committed command.
const GAP_MAX: Duration = Duration::from_secs(10);
/// How long the cluster may take until it is complete again.
const WHOLE: Duration = Duration::from_secs(90);

/// Kill peers of a cluster on this machine at random moments, and check that nothing is lost.
///
/// The command starts a cluster that plays and trains, and kills a random peer with SIGKILL again and again;
/// each comes back after a random while. Nothing that was acknowledged may be lost, and commands must go on
/// being committed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 if nothing was lost and no gap between committed commands was longer than 10 s; 1 if \
    not; 2 if it could not run; 130 when interrupted.\n\nExample: ringrift chaos --kills 20 --seed 7 --json"
)]
pub(super) struct Args {
    /// Number of peers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=9))]
    peers: u8,
    /// Number of kills.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    kills: u16,
    /// Seed of the choice of peers and moments; the same seed makes the same choices.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Keep the data and the logs.
    #[arg(long)]
    keep: bool,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
}

/// The result of a run.
#[derive(Debug, Serialize)]
struct ChaosSummary {
    ok: bool,
    seconds: f64,
    kills: u16,
    leaders_killed: u16,
    gap_s_max: f64,
    leaderless_s_max: f64,
    games: u64,
    promotions: u64,
    segments: usize,
    lost: Vec<String>,
    problems: Vec<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let signals = Signals::watch()?;
    let root =
        tempfile::Builder::new().prefix("ringrift-chaos-").tempdir().context("cannot make a folder")?;
    let mut drill = ChaosDrill::new(args, root.path(), signals.interrupt())?;
    let summary = drill.run(args);
    stop_all(&mut drill.peers);
    let keep =
        args.keep || summary.as_ref().is_ok_and(|s| !s.ok) || summary.is_err() && !drill.interrupt.is_set();
    if keep {
        eprintln!("data and logs are kept in {}", root.keep().display());
    }
    let summary = match summary {
        Ok(summary) => summary,
        Err(error) if error.is::<Interrupted>() => return Ok(ExitCode::from(130)),
        Err(error) => return Err(error),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        println!(
            "{}: {} kills ({} of the leader), longest gap between commands {:.2} s, longest without a leader {:.2} s, \
             {} games in {} segments, {} promotions, {} lost",
            if summary.ok { "OK" } else { "NOT OK" },
            summary.kills,
            summary.leaders_killed,
            summary.gap_s_max,
            summary.leaderless_s_max,
            summary.games,
            summary.segments,
            summary.promotions,
            summary.lost.len()
        );
        summary.lost.iter().for_each(|thing| println!("LOST {thing}"));
        summary.problems.iter().for_each(|problem| println!("PROBLEM {problem}"));
    }
    Ok(if summary.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct ChaosDrill {
    peers: Vec<Peer>,
    interrupt: Interrupt,
    random: Pcg64,
    acknowledged: Acknowledged,
    /// The last entry that any peer was seen to have applied, and when. Time also runs while no peer is
    /// asked, as during an audit or a start: a gap is measured too long rather than too short.
    applied: (u64, Instant),
    gap_max: Duration,
    leader_seen: Instant,
    leaderless_max: Duration,
    games_seen: u64,
}

impl ChaosDrill {
    fn new(args: &Args, root: &Path, interrupt: Interrupt) -> anyhow::Result<Self> {
        // Small sizes and short intervals give more moments at which a kill may do damage.
        let settings = Settings {
            seed: args.seed,
            selfplay: SelfplayConfig { simulations: 4, segment_seconds: 1, ..SelfplayConfig::default() },
            training: TrainingConfig { threshold_games: 200, seconds_max: 10, ..TrainingConfig::default() },
            ..Settings::default()
        };
        let settings = toml::to_string(&settings).context("the settings")?;
        let peers: Result<Vec<_>, _> = (1..=usize::from(args.peers))
            .map(|number| Peer::new(root, &format!("n{number}"), &settings))
            .collect();
        Ok(Self {
            peers: peers?,
            interrupt,
            random: Pcg64::seed_from_u64(args.seed),
            acknowledged: Acknowledged::default(),
            applied: (0, Instant::now()),
            gap_max: Duration::ZERO,
            leader_seen: Instant::now(),
            leaderless_max: Duration::ZERO,
            games_seen: 0,
        })
    }

    fn run(&mut self, args: &Args) -> anyhow::Result<ChaosSummary> {
        let began = Instant::now();
        let mut first = None;
        for index in 0..self.peers.len() {
            self.peers[index].start(first.as_deref())?;
            if first.is_none() {
                first = Some(self.peers[index].ticket()?);
            }
        }
        self.whole()?;
        // The clock runs from the moment at which the cluster is complete.
        (self.gap_max, self.leaderless_max) = (Duration::ZERO, Duration::ZERO);
        let mut leaders_killed = 0;
        for kill in 1..=args.kills {
            let pause = Duration::from_millis(self.random.random_range(0..6_000));
            self.watch(pause)?;
            let index = self.random.random_range(0..self.peers.len());
            let witness = (index + 1) % self.peers.len();
            let audit = self.peers[witness].audit().context("the audit before a kill")?;
            self.acknowledged.add(&audit);
            let led = self.leads(index);
            leaders_killed += u16::from(led);
            self.peers[index].kill()?;
            let away = Duration::from_millis(self.random.random_range(0..8_000));
            self.watch(away)?;
            self.peers[index].start(None)?;
            let whole = self.whole()?;
            eprintln!(
                "kill {kill:>3} of {}: {}{}, away {:.1} s, whole again after {:.1} s, longest gap so far {:.2} s",
                args.kills,
                self.peers[index].name,
                if led { " (leader)" } else { "" },
                away.as_secs_f64(),
                whole.as_secs_f64(),
                self.gap_max.as_secs_f64()
            );
        }
        self.summary(args, began, leaders_killed)
    }

    fn leads(&self, index: usize) -> bool {
        let name = &self.peers[index].name;
        let leader = |peer: &Peer| peer.status().ok().filter(|s| !s.stale).and_then(|s| s.leader);
        self.peers.iter().find_map(leader).is_some_and(|leader| leader.host == *name)
    }

    /// Looks at all peers once.
    fn look(&mut self) -> anyhow::Result<Vec<Option<Status>>> {
        self.interrupt.check()?;
        for peer in &mut self.peers {
            peer.check()?;
        }
        let ask = |peer: &Peer| if peer.is_running() { peer.status().ok() } else { None };
        let statuses: Vec<Option<Status>> = thread::scope(|scope| {
            let asked: Vec<_> = self.peers.iter().map(|peer| scope.spawn(move || ask(peer))).collect();
            asked.into_iter().map(|answer| answer.join().ok().flatten()).collect()
        });
        let now = Instant::now();
        let applied = statuses.iter().flatten().map(|status| status.applied).max().unwrap_or(0);
        if applied > self.applied.0 {
            self.gap_max = self.gap_max.max(now - self.applied.1);
            self.applied = (applied, now);
        }
        if statuses.iter().flatten().any(|status| !status.stale && status.leader.is_some()) {
            self.leaderless_max = self.leaderless_max.max(now - self.leader_seen);
            self.leader_seen = now;
        }
        let games = statuses.iter().flatten().flat_map(|s| &s.configs).map(|config| config.games_total);
        self.games_seen = self.games_seen.max(games.max().unwrap_or(0));
        Ok(statuses)
    }

    fn watch(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.look()?;
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Waits until every peer reports that every peer is online and three of them vote.
    fn whole(&mut self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let count = self.peers.len();
        loop {
            let statuses = self.look()?;
            if statuses.iter().flatten().filter(|status| is_whole(status, count)).count() == count {
                return Ok(began.elapsed());
            }
            if began.elapsed() > WHOLE {
                bail!("the cluster is not whole again after {WHOLE:?}");
            }
            thread::sleep(POLL);
        }
    }

    fn summary(&mut self, args: &Args, began: Instant, leaders_killed: u16) -> anyhow::Result<ChaosSummary> {
        let mut audits = Vec::new();
        let deadline = Instant::now() + WHOLE;
        let mut problems = loop {
            self.look()?;
            audits.clear();
            for peer in &self.peers {
                audits.push((peer.name.clone(), peer.audit().context("the audit at the end")?));
            }
            let problems = disagreements(&audits);
            if problems.is_empty() || Instant::now() >= deadline {
                break problems;
            }
            thread::sleep(POLL);
        };
        // The last look closes a gap that is still open, or shows how long it has lasted.
        let seen = self.games_seen;
        let statuses = self.look()?;
        self.gap_max = self.gap_max.max(self.applied.1.elapsed());
        self.leaderless_max = self.leaderless_max.max(self.leader_seen.elapsed());
        let known = |status: &Status| status.configs.iter().map(|config| config.games_total).max();
        let left = statuses.iter().flatten().filter_map(known).max().unwrap_or(0);
        if left < seen {
            problems.push(format!("{seen} games were acknowledged, {left} are known"));
        }
        let games = audits.iter().map(|(_, audit)| audit.games).max().unwrap_or(0);
        if self.gap_max > GAP_MAX {
            problems.push(format!("{:.2} s without a committed command", self.gap_max.as_secs_f64()));
        }
        let lost = lost(&self.acknowledged, &audits);
        let champions = audits.iter().flat_map(|(_, audit)| &audit.champions);
        Ok(ChaosSummary {
            ok: problems.is_empty() && lost.is_empty(),
            seconds: began.elapsed().as_secs_f64(),
            kills: args.kills,
            leaders_killed,
            gap_s_max: self.gap_max.as_secs_f64(),
            leaderless_s_max: self.leaderless_max.as_secs_f64(),
            games,
            promotions: champions.map(|champion| champion.generation).max().unwrap_or(0),
            segments: audits.iter().map(|(_, audit)| audit.segments.len()).max().unwrap_or(0),
            lost,
            problems,
        })
    }
}
