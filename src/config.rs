//! Settings of a node, validated once at start.
//!
//! `Config::default()` < `ringrift.toml` in the data folder < command line.

use crate::{
    daemons::{autoscaler::AutoscalerConfig, idle_shutdown::IdleShutdownConfig},
    devices::Wanted,
};
use rules::Config as GameConfig;
use serde::{Deserialize, Serialize};
use std::{io::ErrorKind, path::Path, time::Duration};

/// Everything a node can be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Configurations to learn, as in `hex8_2p`.
    pub configs: Vec<String>,
    /// What to compute on: `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: Wanted,
    /// Compute threads for self-play; 0 means one fewer than there are cores, at least one, and with a card two for each
    /// core.
    pub selfplay_threads: usize,
    /// Seed of everything random in self-play; mixed with the node id and the time unless `reproducible`.
    pub seed: u64,
    /// Copies of every game segment that the cluster keeps (bounded by the number of nodes).
    pub segment_copies: usize,
    /// Self-play.
    pub selfplay: SelfplayConfig,
    /// Training.
    pub training: TrainingConfig,
    /// Evaluation and promotion.
    pub evaluation: EvaluationConfig,
    /// Events.
    pub events: EventsConfig,
    /// How models and segments get here.
    pub distribution: DistributionConfig,
    /// How many peers there should be.
    pub autoscaler: AutoscalerConfig,
    /// Whether this host may stop by itself.
    pub idle_shutdown: IdleShutdownConfig,
}

/// How models and segments get here: the ways are tried in this order, and what arrives is checked the same on each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistributionConfig {
    /// From all peers that hold them.
    pub swarm: bool,
    /// Over HTTP from one holder, where the swarm does not deliver: `GET /v1/blobs/HASH`, with ranges.
    pub http: bool,
    /// Where that does not deliver either: program and arguments of a command, run without a shell. None unless it is
    /// given. `{host}` is the holder's host name, `{path}` where the content lies in its data folder, `{hash}` its hash,
    /// `{target}` the file to write: `rsync = ["rsync", "-a", "{host}:/srv/ringrift/{path}", "{target}"]`.
    pub rsync: Vec<String>,
}

impl Default for DistributionConfig {
    fn default() -> Self {
        Self { swarm: true, http: true, rsync: Vec::new() }
    }
}

/// How events travel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Gossip them. Without it they arrive all the same, within a second or two: for tests.
    pub gossip: bool,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self { gossip: true }
    }
}

/// Self-play settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfplayConfig {
    /// Simulations of a fully searched decision.
    pub simulations: u32,
    /// Games played side by side in one thread, where the host searches: the batch of the network. 0 means 32, and with a
    /// card 128.
    pub parallel_games: usize,
    /// Whether a card searches as well; what it cannot search, the host does. Without it cards only evaluate.
    pub card_search: bool,
    /// Games played side by side on each card that searches; fewer if its memory is short. 0 means 4096, and 1024 on boards
    /// of more than 64 cells.
    pub card_games: usize,
    /// A segment is closed at this many games.
    pub segment_games: usize,
    /// A segment is closed after this many seconds.
    pub segment_seconds: u64,
    /// Play at all. A node that does not still trains, evaluates and keeps copies.
    pub enabled: bool,
}

/// Training settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// New games that start a training run.
    pub threshold_games: u64,
    /// Peak learning rate.
    pub learning_rate: f32,
    /// Positions of one step.
    pub batch: usize,
    /// How often each new position is used.
    pub reuse: f32,
    /// Seconds after which a run ends with what it has.
    pub seconds_max: u64,
    /// Positions of the replay window.
    pub window_positions: usize,
}

/// Evaluation and promotion settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Simulations of a decision.
    pub simulations: u32,
    /// Games against the champion at most.
    pub games_max: u32,
    /// Games against random, and against the heuristic.
    pub baseline_games: u32,
    /// Elo difference of the alternative hypothesis.
    pub elo1: f64,
    /// Elo difference that a promotion needs.
    pub elo_delta_min: f64,
    /// Share of points against random that a promotion needs.
    pub win_rate_vs_random_min: f64,
    /// Candidates of all configurations that wait for their evaluation, at which training pauses.
    pub backpressure_on: u64,
    /// Training goes on once fewer wait, and have for 15 seconds.
    pub backpressure_off: u64,
    /// Seconds between rounds in which a champion plays the one before it, while nothing waits for evaluation.
    pub watch_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            configs: vec!["hex8_2p".to_owned()],
            device: Wanted::Auto,
            selfplay_threads: 0,
            seed: 0,
            segment_copies: 3,
            selfplay: SelfplayConfig::default(),
            training: TrainingConfig::default(),
            evaluation: EvaluationConfig::default(),
            events: EventsConfig::default(),
            distribution: DistributionConfig::default(),
            autoscaler: AutoscalerConfig::default(),
            idle_shutdown: IdleShutdownConfig::default(),
        }
    }
}

impl SelfplayConfig {
    /// How long a segment may stay open.
    #[must_use]
    pub fn segment_age_max(&self) -> Duration {
        Duration::from_secs(self.segment_seconds)
    }
}

impl Default for SelfplayConfig {
    fn default() -> Self {
        Self {
            simulations: 16,
            parallel_games: 0,
            card_search: true,
            card_games: 0,
            segment_games: 256,
            segment_seconds: 10,
            enabled: true,
        }
    }
}

impl Default for TrainingConfig {
    fn default() -> Self {
        // Short generations: what the first ones play teaches little, and more of it or more passes over it do not help.
        // `ringrift bench learn` on hex8_2p, window of 40 000 positions with 300 games, generations 1, 2, 3:
        //   600 games at 4, 8, 12 simulations: 28, 56, 86 CPU s; heuristic 45, 55, 53 %; the third 96.0 % against random
        //   300 games at 8, 8, 12 simulations: 16, 29, 46 CPU s; heuristic 30, 51, 64 %; the second 88.8 %
        //   1800 games at 4, each position used once: 41 CPU s; heuristic 28 %
        // (heuristic of 100 games, random of 400). With 300 games, batches of 128 in place of 256, or a policy for 60 % of
        // the decisions in place of 25 %, made no difference beyond chance. 400 is for a second champion that beats random
        // play clearly.
        Self {
            threshold_games: 400,
            learning_rate: 2e-3,
            batch: 256,
            reuse: 3.0,
            seconds_max: 40,
            window_positions: 250_000,
        }
    }
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            simulations: 16,
            games_max: 400,
            baseline_games: 40,
            elo1: 50.0,
            elo_delta_min: 25.0,
            win_rate_vs_random_min: 0.55,
            // One candidate of a configuration waits at most, so this is about clusters that learn many. An evaluation takes
            // about as long as a training run: with four in the queue the last has waited for longer than it took to make.
            backpressure_on: 4,
            backpressure_off: 2,
            watch_seconds: 600,
        }
    }
}

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no valid TOML for these settings.
    #[error("{path}: {message}")]
    Parse {
        /// Which file.
        path: std::path::PathBuf,
        /// Where and what.
        message: String,
    },
    /// A value outside its bounds.
    #[error("{name} = {value} is out of bounds: {allowed}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is allowed.
        allowed: &'static str,
    },
}

impl Config {
    /// The file's settings over the defaults; the defaults when there is no file.
    ///
    /// # Errors
    /// [`ConfigError`] when the file exists and is unusable.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        match std::fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|e| ConfigError::Parse { path: path.to_owned(), message: e.to_string() }),
            // A folder that is none is for whoever opens it to refuse.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Ok(Self::default())
            }
            Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
        }
    }

    /// Checks every bound once; afterwards nobody checks again.
    ///
    /// # Errors
    /// The first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |ok: bool, name, value: String, allowed| {
            if ok { Ok(()) } else { Err(ConfigError::Value { name, value, allowed }) }
        };
        check(
            !self.configs.is_empty() && self.configs.len() <= 12,
            "configs",
            format!("{:?}", self.configs),
            "1 to 12 configurations",
        )?;
        for key in &self.configs {
            check(
                key.parse::<GameConfig>().is_ok(),
                "configs",
                key.clone(),
                "BOARD_Np: square8, square19, hex8 or hexagonal with 2 to 4 players, as in hex8_2p",
            )?;
        }
        let (s, t, e) = (&self.selfplay, &self.training, &self.evaluation);
        check(
            self.selfplay_threads <= 1024,
            "selfplay_threads",
            self.selfplay_threads.to_string(),
            "0 to 1024",
        )?;
        check(
            (1..=16).contains(&self.segment_copies),
            "segment_copies",
            self.segment_copies.to_string(),
            "1 to 16",
        )?;
        check(
            (2..=4096).contains(&s.simulations),
            "selfplay.simulations",
            s.simulations.to_string(),
            "2 to 4096",
        )?;
        check(
            s.parallel_games <= 1024,
            "selfplay.parallel_games",
            s.parallel_games.to_string(),
            "0 to 1024",
        )?;
        check(s.card_games <= 16_384, "selfplay.card_games", s.card_games.to_string(), "0 to 16384")?;
        check(
            (1..=256).contains(&s.segment_games),
            "selfplay.segment_games",
            s.segment_games.to_string(),
            "1 to 256",
        )?;
        check(
            (1..=3600).contains(&s.segment_seconds),
            "selfplay.segment_seconds",
            s.segment_seconds.to_string(),
            "1 to 3600",
        )?;
        check(
            (1..=1_000_000).contains(&t.threshold_games),
            "training.threshold_games",
            t.threshold_games.to_string(),
            "1 to 1000000",
        )?;
        check(
            t.learning_rate > 0.0 && t.learning_rate < 1.0,
            "training.learning_rate",
            t.learning_rate.to_string(),
            "above 0, below 1",
        )?;
        check((1..=65_536).contains(&t.batch), "training.batch", t.batch.to_string(), "1 to 65536")?;
        check(
            t.reuse > 0.0 && t.reuse <= 100.0,
            "training.reuse",
            t.reuse.to_string(),
            "above 0, at most 100",
        )?;
        check(
            (1..=86_400).contains(&t.seconds_max),
            "training.seconds_max",
            t.seconds_max.to_string(),
            "1 to 86400",
        )?;
        check(
            (1_000..=50_000_000).contains(&t.window_positions),
            "training.window_positions",
            t.window_positions.to_string(),
            "1000 to 50000000",
        )?;
        check(
            (2..=4096).contains(&e.simulations),
            "evaluation.simulations",
            e.simulations.to_string(),
            "2 to 4096",
        )?;
        check(
            (2..=10_000).contains(&e.games_max),
            "evaluation.games_max",
            e.games_max.to_string(),
            "2 to 10000",
        )?;
        check(
            (2..=10_000).contains(&e.baseline_games),
            "evaluation.baseline_games",
            e.baseline_games.to_string(),
            "2 to 10000",
        )?;
        check(
            e.elo1 > 0.0 && e.elo1 <= 1000.0,
            "evaluation.elo1",
            e.elo1.to_string(),
            "above 0, at most 1000",
        )?;
        check(
            (0.0..=1000.0).contains(&e.elo_delta_min),
            "evaluation.elo_delta_min",
            e.elo_delta_min.to_string(),
            "0 to 1000",
        )?;
        check(
            (0.0..=1.0).contains(&e.win_rate_vs_random_min),
            "evaluation.win_rate_vs_random_min",
            e.win_rate_vs_random_min.to_string(),
            "0 to 1",
        )?;
        let d = &self.distribution;
        check(
            d.swarm || d.http || !d.rsync.is_empty(),
            "distribution",
            "no way".to_owned(),
            "swarm, http, or a command",
        )?;
        let words = d.rsync.iter().all(|word| (1..=1024).contains(&word.len()) && !word.contains('\0'));
        let program = d.rsync.first().is_none_or(|program| !program.contains('{'));
        let target = d.rsync.is_empty() || d.rsync.iter().any(|word| word.contains("{target}"));
        check(
            words && program && target && d.rsync.len() <= 64,
            "distribution.rsync",
            format!("{:?}", d.rsync),
            "a program and its arguments, one of them with {target}",
        )?;
        let (a, i) = (&self.autoscaler, &self.idle_shutdown);
        check(
            1 <= a.nodes_min && a.nodes_min <= a.nodes_max && a.nodes_max <= 1000,
            "autoscaler.nodes_min, nodes_max",
            format!("{}, {}", a.nodes_min, a.nodes_max),
            "1 to 1000, in this order",
        )?;
        check(
            a.command.len() <= 64 && a.command.first().is_none_or(|program| !program.is_empty()),
            "autoscaler.command",
            format!("{:?}", a.command),
            "a program and up to 63 arguments, or nothing",
        )?;
        check(
            (60..=30 * 86_400).contains(&i.seconds),
            "idle_shutdown.seconds",
            i.seconds.to_string(),
            "60 to 2592000",
        )?;
        check(
            (1..=1000).contains(&i.nodes_min),
            "idle_shutdown.nodes_min",
            i.nodes_min.to_string(),
            "1 to 1000",
        )?;
        check(
            (1..=1_000).contains(&e.backpressure_on),
            "evaluation.backpressure_on",
            e.backpressure_on.to_string(),
            "1 to 1000",
        )?;
        check(
            (1..=e.backpressure_on).contains(&e.backpressure_off),
            "evaluation.backpressure_off",
            e.backpressure_off.to_string(),
            "1 to evaluation.backpressure_on",
        )?;
        check(
            (1..=604_800).contains(&e.watch_seconds),
            "evaluation.watch_seconds",
            e.watch_seconds.to_string(),
            "1 to 604800",
        )
    }

    /// The configurations, parsed. Valid settings have only known ones.
    #[must_use]
    pub fn games(&self) -> Vec<GameConfig> {
        self.configs.iter().filter_map(|key| key.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_survive_toml() {
        let config = Config::default();
        config.validate().unwrap();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn refusals_name_the_setting() {
        let check = |text: &str, expected: &str| {
            let error = match toml::from_str::<Config>(text) {
                Ok(config) => config.validate().unwrap_err().to_string(),
                Err(error) => error.to_string(),
            };
            assert!(error.contains(expected), "{error}");
        };
        check("configs = ['hex9_2p']", "hex9_2p");
        check("configs = []", "1 to 12");
        check("[selfplay]\nsimulations = 1", "selfplay.simulations = 1");
        check("[training]\nbacth = 3", "bacth");
        check("device = 'gpu'", "\"gpu\" is no device");
        check("device = 'cuda:x'", "cuda:N");
        check("[selfplay]\nparallel_games = 2000", "selfplay.parallel_games = 2000");
        check("[selfplay]\ncard_games = 20000", "selfplay.card_games = 20000");
        check("[evaluation]\nelo1 = nan", "evaluation.elo1");
        check("[distribution]\nswarm = false\nhttp = false", "distribution = no way");
        check("[distribution]\nrsync = ['rsync', '{host}']", "{target}");
        check("[distribution]\nrsync = ['{host}', '{target}']", "distribution.rsync");
        check("[autoscaler]\nnodes_min = 30", "autoscaler.nodes_min, nodes_max = 30, 20");
        check("[autoscaler]\ncommand = ['']", "autoscaler.command");
        check("[idle_shutdown]\nseconds = 1", "idle_shutdown.seconds");
        check("[evaluation]\nbackpressure_off = 5", "evaluation.backpressure_off = 5");
        check("[evaluation]\nwatch_seconds = 0", "evaluation.watch_seconds = 0");
    }
}
