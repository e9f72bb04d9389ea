//! `ringrift demo`: three peers teach themselves to play, survive the loss of their leader, and prove it.

mod exam;
mod screen;
mod summary;

use super::device::DeviceArgs;
use crate::{
    api::{content::Audit, status::Status},
    config::Settings,
    local::{Acknowledged, Interrupt, Interrupted, Peer, Signals, disagreements, lost, silent, stop_all},
};
use anyhow::{Context as _, bail};
use cluster_state::ModelId;
use screen::Screen;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};
use summary::DemoSummary;

/// Pause between two looks at the peers.
const POLL: Duration = Duration::from_millis(250);
/// How long the killed peer stays away.
const AWAY: Duration = Duration::from_secs(10);
/// Longest time without a leader.
const LEADERLESS_MAX: Duration = Duration::from_secs(60);
/// How long the peers may take to agree at the end.
const SETTLE: Duration = Duration::from_secs(60);
/// The demo waits for a third promotion during this part of its time, given as the divisor.
const ENCORE: u32 = 2;

/// Watch a cluster of peers on this machine teach itself.
///
/// The command starts real peers as child processes on the loopback interface with data under a temporary
/// folder. After the first promotion it kills the leader with SIGKILL and later starts it again. After
/// another promotion it compares what the peers know, and the last champion plays 400 games against uniformly
/// random play.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 if every peer agrees on the champion and its history and nothing acknowledged was \
    lost; 1 if not; 2 if the demo could not run; 130 when interrupted.\n\n\
    Examples:\n  ringrift demo\n  ringrift demo --minutes 10 --json summary.json --keep\n  \
    ringrift demo --device cpu"
)]
pub(super) struct Args {
    /// Number of peers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=9))]
    peers: u8,
    /// Configuration that they learn.
    #[arg(long, default_value = "hex8_2p", value_parser = game)]
    config: rules::Config,
    /// Minutes after which the demo ends with what it has.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=1440))]
    minutes: u16,
    /// Seed of self-play, training and evaluation.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
    /// Keep the data and the logs.
    #[arg(long)]
    keep: bool,
    /// Write the summary to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn game(text: &str) -> Result<rules::Config, String> {
    text.parse().map_err(|error: rules::ConfigError| error.to_string())
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(path) = &args.json {
        // A file that cannot be written is better found now than after fifteen minutes.
        std::fs::write(path, "").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let signals = Signals::watch()?;
    let root = tempfile::Builder::new().prefix("ringrift-demo-").tempdir().context("cannot make a folder")?;
    let mut demo = Demo::new(&args, root.path(), signals.interrupt())?;
    let summary = demo.play(&args);
    stop_all(&mut demo.peers);
    let failed = match &summary {
        Ok(summary) => !summary.ok,
        Err(error) => !error.is::<Interrupted>(),
    };
    let keep = args.keep || failed;
    demo.screen.finish();
    if keep {
        println!("data and logs are kept in {}", root.keep().display());
    }
    let summary = match summary {
        Ok(summary) => summary,
        Err(error) if error.is::<Interrupted>() => {
            println!("interrupted; all peers have stopped");
            return Ok(ExitCode::from(130));
        }
        Err(error) => return Err(error),
    };
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&summary)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    screen::print_summary(&summary);
    Ok(if summary.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Demo {
    peers: Vec<Peer>,
    screen: Screen,
    interrupt: Interrupt,
    began: Instant,
    deadline: Instant,
    acknowledged: Acknowledged,
    first_promotion_s: Option<f64>,
    leaderless_s: Option<f64>,
}

impl Demo {
    fn new(args: &Args, root: &Path, interrupt: Interrupt) -> anyhow::Result<Self> {
        let settings = Settings {
            configs: vec![args.config.key()],
            device: args.device.device.unwrap_or_default(),
            seed: args.seed,
            ..Settings::default()
        };
        let settings = toml::to_string(&settings).context("the settings")?;
        let peers: Result<Vec<Peer>, _> = (1..=usize::from(args.peers))
            .map(|number| Peer::new(root, &format!("n{number}"), &settings))
            .collect();
        let began = Instant::now();
        Ok(Self {
            peers: peers?,
            screen: Screen::new(usize::from(args.peers)),
            interrupt,
            began,
            deadline: began + Duration::from_secs(u64::from(args.minutes) * 60),
            acknowledged: Acknowledged::default(),
            first_promotion_s: None,
            leaderless_s: None,
        })
    }

    /// Runs the whole demo. The summary contains the problems; an error means that the demo could not be run.
    fn play(&mut self, args: &Args) -> anyhow::Result<DemoSummary> {
        let mut problems = Vec::new();
        if let Some(problem) = self.story()? {
            problems.push(problem);
        }
        self.screen.phase("comparing what the peers know");
        let audits = self.settle()?;
        let lost = lost(&self.acknowledged, &audits);
        problems.extend(silent(self.peers.iter().map(|peer| peer.name.as_str()), &audits));
        problems.extend(disagreements(&audits));
        let newest = |audit: &Audit| audit.champions.iter().max_by_key(|c| c.generation).cloned();
        let champion: BTreeMap<String, ModelId> =
            audits.iter().filter_map(|(peer, audit)| Some((peer.clone(), newest(audit)?.model))).collect();
        let promotions = audits.iter().filter_map(|(_, audit)| newest(audit)).map(|c| c.generation).max();
        let games = audits.iter().map(|(_, audit)| audit.games).max().unwrap_or(0);
        stop_all(&mut self.peers);
        self.screen
            .phase(&format!("the last champion plays {} games against random play", exam::RANDOM_GAMES));
        let win_rate = match self.model_of(&champion) {
            Some(model) => Some(exam::against_random(args, &model, &self.interrupt)?),
            None => None,
        };
        Ok(DemoSummary {
            ok: problems.is_empty() && lost.is_empty(),
            seconds: self.began.elapsed().as_secs_f64(),
            games,
            promotions: promotions.unwrap_or(0),
            champion,
            win_rate_vs_random: win_rate,
            first_promotion_s: self.first_promotion_s,
            leaderless_s: self.leaderless_s,
            lost,
            problems,
        })
    }

    /// Runs the demo up to the second promotion. Returns what did not happen in time.
    fn story(&mut self) -> anyhow::Result<Option<String>> {
        self.start_all()?;
        self.screen.phase("self-play, training and evaluation until the first promotion");
        if !self.wait(|_, statuses| generation(statuses) >= 1)? {
            return Ok(Some("no promotion in time".to_owned()));
        }
        self.first_promotion_s = Some(self.began.elapsed().as_secs_f64());
        let Some(killed) = self.kill_leader()? else {
            return Ok(Some("no new leader in time".to_owned()));
        };
        let before = generation(&self.look()?);
        let back = Instant::now() + AWAY;
        self.screen.phase(&format!("{} stays away for {} s", self.peers[killed].name, AWAY.as_secs()));
        self.wait(move |_, _| Instant::now() >= back)?;
        self.peers[killed].start(None)?;
        self.screen.phase(&format!("{} is back; waiting for the next promotion", self.peers[killed].name));
        let promoted_and_caught_up = |after: u64| {
            move |peers: &[Peer], statuses: &[Option<Status>]| {
                let all = statuses.len() == peers.len() && statuses.iter().all(Option::is_some);
                let known = statuses.iter().flatten().map(newest_generation);
                all && known.clone().min() > Some(after) && known.clone().min() == known.max()
            }
        };
        if !self.wait(promoted_and_caught_up(before))? {
            return Ok(Some("no second promotion that every peer knows in time".to_owned()));
        }
        self.screen.phase("every peer has the second promotion; one more if it comes soon");
        let soon = self.began + (self.deadline - self.began) / ENCORE;
        self.wait_until(soon, promoted_and_caught_up(before + 1))?;
        Ok(None)
    }

    fn start_all(&mut self) -> anyhow::Result<()> {
        self.screen.phase("starting the peers");
        let mut first = None;
        for index in 0..self.peers.len() {
            self.interrupt.check()?;
            self.peers[index].start(first.as_deref())?;
            if first.is_none() {
                first = Some(self.peers[index].ticket()?);
            }
        }
        let count = self.peers.len();
        self.screen.phase("waiting until all peers know each other and three of them vote");
        let formed = move |_: &[Peer], statuses: &[Option<Status>]| {
            let complete =
                |s: &Status| s.nodes.iter().filter(|n| n.online).count() == count && s.voters.len() == 3;
            statuses.iter().flatten().filter(|status| complete(status)).count() == count
        };
        if !self.wait(formed)? {
            bail!("the peers did not form a cluster in time");
        }
        Ok(())
    }

    /// Kills the leader and waits for the next one. Returns the index of the killed peer, if there is a new
    /// leader.
    fn kill_leader(&mut self) -> anyhow::Result<Option<usize>> {
        // An election may be going on at this moment.
        let leader = RefCell::new(None);
        self.wait(|_, statuses| {
            leader.replace(leader_of(statuses));
            leader.borrow().is_some()
        })?;
        let Some(leader) = leader.into_inner() else { return Ok(None) };
        let index = self.peers.iter().position(|peer| peer.name == leader).context("an unknown leader")?;
        // What is acknowledged now must never be lost. The leader is the first to know of it.
        let audit = self.peers[index].audit().context("the audit before the kill")?;
        self.acknowledged.add(&audit);
        self.screen.phase(&format!("kill -9 of the leader {leader}"));
        self.peers[index].kill()?;
        let killed = Instant::now();
        loop {
            for (other, peer) in self.peers.iter().enumerate().filter(|(other, _)| *other != index) {
                let report = peer.status().ok().filter(|status| !status.stale);
                if let Some(new) = report.and_then(|status| status.leader).filter(|l| l.host != leader) {
                    let seconds = killed.elapsed().as_secs_f64();
                    self.leaderless_s = Some(seconds);
                    let asked = &self.peers[other].name;
                    self.screen.phase(&format!("{} leads after {seconds:.2} s (asked {asked})", new.host));
                    return Ok(Some(index));
                }
            }
            self.interrupt.check()?;
            if killed.elapsed() > LEADERLESS_MAX {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Looks at the peers until `done` or the deadline, and returns whether `done` came first. It fails when
    /// a peer ends by itself.
    fn wait(&mut self, done: impl Fn(&[Peer], &[Option<Status>]) -> bool) -> anyhow::Result<bool> {
        self.wait_until(self.deadline, done)
    }

    /// Does the work of [`Self::wait`] with another deadline.
    fn wait_until(
        &mut self,
        deadline: Instant,
        done: impl Fn(&[Peer], &[Option<Status>]) -> bool,
    ) -> anyhow::Result<bool> {
        loop {
            let statuses = self.look()?;
            if done(&self.peers, &statuses) {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            thread::sleep(POLL);
        }
    }

    /// Returns the status of every peer that answers, and shows it.
    fn look(&mut self) -> anyhow::Result<Vec<Option<Status>>> {
        self.interrupt.check()?;
        for peer in &mut self.peers {
            peer.check()?;
        }
        let statuses: Vec<_> =
            self.peers.iter().map(|p| if p.is_running() { p.status().ok() } else { None }).collect();
        self.screen.show(self.began.elapsed(), &self.peers, &statuses);
        Ok(statuses)
    }

    /// Returns the audits of all peers, once they agree or the time is up.
    fn settle(&mut self) -> anyhow::Result<Vec<(String, Audit)>> {
        let deadline = Instant::now() + SETTLE;
        loop {
            self.look()?;
            let mut audits = Vec::new();
            for peer in self.peers.iter().filter(|peer| peer.is_running()) {
                if let Ok(audit) = peer.audit() {
                    audits.push((peer.name.clone(), audit));
                }
            }
            let complete = audits.len() == self.peers.len() && disagreements(&audits).is_empty();
            if complete || Instant::now() >= deadline {
                return Ok(audits);
            }
            thread::sleep(POLL);
        }
    }

    /// The file of the champion that a peer reports, in that peer's folder. It is found by content, because
    /// the file that is named after its role may still hold the previous champion.
    fn model_of(&self, champion: &BTreeMap<String, ModelId>) -> Option<PathBuf> {
        let file = |peer: &Peer| Some(peer.folder.join("blobs").join(champion.get(&peer.name)?.to_string()));
        self.peers.iter().filter_map(file).find(|path| path.is_file())
    }
}

/// The leader's name, as a quorum confirmed it to one of the peers.
fn leader_of(statuses: &[Option<Status>]) -> Option<String> {
    statuses.iter().flatten().filter(|s| !s.stale).find_map(|s| s.leader.as_ref()).map(|l| l.host.clone())
}

fn newest_generation(status: &Status) -> u64 {
    status.configs.iter().map(|config| config.generation).max().unwrap_or(0)
}

/// The generation of the newest champion that any peer knows.
fn generation(statuses: &[Option<Status>]) -> u64 {
    statuses.iter().flatten().map(newest_generation).max().unwrap_or(0)
}
