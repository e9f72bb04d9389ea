//! `ringrift bench learn`: measures how fast the learner learns, on one machine and without a cluster.
//!
//! Invariant: games, samples and seeds are fixed and clocks decide nothing, so that two runs with the same
//! settings, the same device and the same number of threads give the same networks however busy the machine
//! is. Time is measured as CPU time, which does not contain what a card does in the meantime.

use super::device::DeviceArgs;
use super::win_rate::WinRate;
use crate::{
    config::Settings,
    devices::Devices,
    leader::scheduler,
    learner::{
        ReplayWindow,
        arena::{Arena, ArenaSettings, Contestant, ModelPlayer},
        seeded,
        selfplay::Selfplay,
        train::{self, TrainingJob},
    },
    store::{GameKind, GameRecord},
};
use ::rules::Config;
use anyhow::Context as _;
use cluster_state::{LeaseKind, ModelId, NodeId, Tally};
use kernels::{AnyBackend, Checkpoint};
use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;
use std::{
    io::{Write, stdout},
    path::{Path, PathBuf},
    sync::Arc,
};
use wire::Hash;

/// Measure the learner's progress, generation by generation.
///
/// Every generation plays the games that start a training run (`training.threshold_games`), trains
/// on them as the settings say, without their time limit, and is then measured. The CPU seconds
/// contain neither the matches nor what a card computes.
///
/// Example: ringrift bench learn --generations 4 --device cpu
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Board and number of seats.
    #[arg(long, default_value = "hex8_2p")]
    config: Config,
    /// Number of generations after the untrained network.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    generations: u32,
    /// Number of threads of self-play; training has one.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Number of games of each match, rounded up to whole sets.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    games: u32,
    /// Seed of games, training and matches.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    device: DeviceArgs,
    /// File with settings, in the format of `ringrift.toml`.
    #[arg(long)]
    settings: Option<PathBuf>,
    /// Keep the networks in this folder, as `generation-N.model`.
    #[arg(long)]
    save: Option<PathBuf>,
    /// Print one JSON object per line instead of a table.
    #[arg(long)]
    json: bool,
}

/// The figures of one generation.
#[derive(Debug, Serialize)]
struct Generation {
    generation: u32,
    /// The devices that computed.
    devices: Vec<String>,
    simulations: u32,
    games: usize,
    /// Decisions per game.
    decisions: f64,
    /// Positions trained on; each counts as often as it was used.
    samples: u64,
    /// Loss over the last tenth of the run.
    policy_loss: f64,
    value_loss: f64,
    /// Loss of the averaged weights on games that were set aside.
    validation_policy_loss: Option<f64>,
    validation_value_loss: Option<f64>,
    cpu_seconds_selfplay: f64,
    cpu_seconds_training: f64,
    /// CPU seconds of all generations so far.
    cpu_seconds: f64,
    random: WinRate,
    heuristic: WinRate,
    previous: WinRate,
}

/// CPU time of this process.
fn cpu_seconds() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("cannot read the CPU time")?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn model(bytes: &[u8], config: Config, backend: &AnyBackend) -> anyhow::Result<ModelPlayer> {
    let network = Arc::new(Checkpoint::for_config(bytes, config)?.network);
    Ok(ModelPlayer { hash: ModelId(Hash::of(bytes)), evaluator: backend.any_evaluator(network) })
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let settings = args.settings.as_deref().map_or_else(|| Ok(Settings::default()), Settings::load)?;
    settings.validate()?;
    if let Some(folder) = &args.save {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let devices = Devices::find_now(args.device.device.unwrap_or(settings.device));
    let mut out = stdout().lock();
    if !args.json {
        writeln!(out, "on {}", devices.summary())?;
        writeln!(
            out,
            "{:>4} {:>5} {:>6} {:>5} {:>8}  {:>11}  {:>11}  {:>7} {:>7} {:>7}  {:>18} {:>18} {:>18}",
            "gen",
            "sims",
            "games",
            "plies",
            "samples",
            "loss p/v",
            "valid. p/v",
            "play s",
            "train s",
            "all s",
            "% random",
            "% heuristic",
            "% previous"
        )?;
        out.flush()?;
    }
    let mut learner = Learner::new(args, settings, devices);
    for generation in 1..=args.generations {
        let figures = learner.generation(generation)?;
        if let Some(folder) = &args.save {
            save(folder, generation, &learner.newest)?;
        }
        if args.json {
            serde_json::to_writer(&mut out, &figures)?;
            writeln!(out)?;
        } else {
            print(&mut out, &figures)?;
        }
        out.flush()?;
    }
    Ok(())
}

fn save(folder: &Path, generation: u32, bytes: &[u8]) -> anyhow::Result<()> {
    let path = folder.join(format!("generation-{generation}.model"));
    std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn print(out: &mut impl Write, figures: &Generation) -> std::io::Result<()> {
    let f = figures;
    let rate = |rate: &WinRate| {
        format!("{:.1} ({:.1}-{:.1})", rate.mean * 100.0, rate.low * 100.0, rate.high * 100.0)
    };
    let loss = |policy: Option<f64>, value: Option<f64>| match (policy, value) {
        (Some(policy), Some(value)) => format!("{policy:.3} {value:.3}"),
        (Some(_) | None, _) => "-".to_owned(),
    };
    writeln!(
        out,
        "{:>4} {:>5} {:>6} {:>5.1} {:>8}  {:>11}  {:>11}  {:>7.1} {:>7.1} {:>7.1}  {:>18} {:>18} {:>18}",
        f.generation,
        f.simulations,
        f.games,
        f.decisions,
        f.samples,
        loss(Some(f.policy_loss), Some(f.value_loss)),
        loss(f.validation_policy_loss, f.validation_value_loss),
        f.cpu_seconds_selfplay,
        f.cpu_seconds_training,
        f.cpu_seconds,
        rate(&f.random),
        rate(&f.heuristic),
        rate(&f.previous)
    )
}

struct Learner<'a> {
    args: &'a Args,
    settings: Settings,
    devices: Devices,
    tables: Vec<Selfplay>,
    window: ReplayWindow,
    newest: Vec<u8>,
    cpu_seconds: f64,
}

impl<'a> Learner<'a> {
    fn new(args: &'a Args, mut settings: Settings, devices: Devices) -> Self {
        settings.training.seconds_max = u64::from(u32::MAX);
        settings.selfplay.parallel_games = devices.parallel_games(settings.selfplay.parallel_games);
        let parallel = settings.selfplay.parallel_games;
        let table = |i| Selfplay::new(args.config, parallel, args.seed ^ u64::from(i) << 32, NodeId(0));
        Self {
            args,
            tables: (0..args.threads).map(table).collect(),
            window: ReplayWindow::new(args.config, settings.training.window_positions),
            newest: seeded(args.config),
            cpu_seconds: 0.0,
            settings,
            devices,
        }
    }

    fn generation(&mut self, generation: u32) -> anyhow::Result<Generation> {
        let config = self.args.config;
        let full = self.settings.selfplay.simulations;
        let simulations = scheduler::target_of(u64::from(generation - 1), full).simulations;
        let began = cpu_seconds()?;
        let played = self.play(simulations)?;
        let (games, decisions) =
            (played.len(), played.iter().map(|game| game.decisions.len()).sum::<usize>());
        let between = cpu_seconds()?;
        let before = self.window.training_added();
        for game in &played {
            self.window.add(game)?;
        }
        let new_positions = (self.window.training_added() - before) as usize;
        let job = TrainingJob {
            parent: &self.newest,
            settings: &self.settings.training,
            new_positions,
            data_index: u64::from(generation),
            seed: self.args.seed ^ u64::from(generation) << 16,
        };
        let backend = self.devices.of(LeaseKind::Training);
        let trained = train::run(&backend, &mut self.window, job, &|| false, &mut |_| ())?;
        let end = cpu_seconds()?;
        self.cpu_seconds += end - began;
        let previous = std::mem::replace(&mut self.newest, trained.bytes);
        let judge = self.devices.of(LeaseKind::Evaluation);
        let newest = || model(&self.newest, config, &judge).map(Contestant::Model);
        let figures = Generation {
            generation,
            devices: self.devices.names(),
            simulations,
            games,
            decisions: decisions as f64 / games.max(1) as f64,
            samples: trained.samples,
            policy_loss: trained.final_loss.policy,
            value_loss: trained.final_loss.value,
            validation_policy_loss: trained.validation.map(|loss| loss.policy),
            validation_value_loss: trained.validation.map(|loss| loss.value),
            cpu_seconds_selfplay: between - began,
            cpu_seconds_training: end - between,
            cpu_seconds: self.cpu_seconds,
            random: self.compare(newest()?, Contestant::Random)?,
            heuristic: self.compare(newest()?, Contestant::Heuristic)?,
            previous: self.compare(newest()?, Contestant::Model(model(&previous, config, &judge)?))?,
        };
        for number in 0..self.devices.count() {
            let failures = self.devices.get(number).failures();
            anyhow::ensure!(
                failures.count == 0,
                "a card has failed, and the CPU went on: {:?}",
                failures.last
            );
        }
        Ok(figures)
    }

    /// Plays games of the newest network against itself, in an order that follows from the seed.
    fn play(&mut self, simulations: u32) -> anyhow::Result<Vec<GameRecord>> {
        let quota = (self.settings.training.threshold_games as usize).div_ceil(self.tables.len());
        for (number, table) in self.tables.iter_mut().enumerate() {
            let ModelPlayer { hash, evaluator } =
                model(&self.newest, self.args.config, &self.devices.get(number))?;
            table.set_model(hash, evaluator, simulations);
        }
        let play = |table: &mut Selfplay| {
            let mut games = Vec::with_capacity(quota);
            while games.len() < quota && table.aborted() == 0 {
                games.extend(table.step());
            }
            games
        };
        let games = std::thread::scope(|scope| {
            let threads = self.tables.iter_mut().map(|table| scope.spawn(move || play(table)));
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Result<Vec<_>, _>>()
        });
        let games = games.map_err(|_| anyhow::anyhow!("a thread of self-play has failed"))?;
        anyhow::ensure!(self.tables.iter().all(|table| table.aborted() == 0), "a game ended in an error");
        // Which games are set aside depends on everything in a record, so a record must not contain the time
        // at which it was played.
        Ok(games.into_iter().flatten().map(|game| GameRecord { created_ms: 0, ..game }).collect())
    }

    fn compare(&self, mut a: Contestant, mut b: Contestant) -> anyhow::Result<WinRate> {
        let settings = ArenaSettings {
            games: self.args.games,
            parallel: self.settings.selfplay.parallel_games,
            simulations: self.settings.evaluation.simulations,
            seed: self.args.seed,
            kind: GameKind::Match,
            node: NodeId(0),
            backend: String::new(),
        };
        let mut arena = Arena::new(self.args.config, settings);
        let mut sets = Tally::new(self.args.config.seats);
        while !arena.finished() {
            arena.step(&mut a, &mut b).iter().for_each(|set| sets.add(set.wins));
        }
        anyhow::ensure!(arena.aborted() == 0, "{} sets of games ended in an error", arena.aborted());
        Ok(WinRate::of(sets.wins(), sets.games()))
    }
}
