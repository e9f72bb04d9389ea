//! What the operator sets of self-play, training and evaluation.
//!
//! Invariant: a value that passes `validate` is in its bounds, and nobody below checks it again.

use crate::bounds::{OutOfBounds, bounds, check};
use cluster_state::Terms;
use serde::{Deserialize, Serialize};
use std::{ops::Bound, time::Duration};

/// Self-play settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfplayConfig {
    /// Simulations of a fully searched decision.
    pub simulations: u32,
    /// Games played side by side in one thread, where the host searches: the batch of the
    /// network. 0 means 32, and with a card 128.
    pub parallel_games: usize,
    /// Whether a card searches as well; what it cannot search, the host does. Without it cards only evaluate.
    pub card_search: bool,
    /// Games played side by side on each card that searches; fewer if its memory is short. 0 means 4096,
    /// and 1024 on boards of more than 64 cells.
    pub card_games: usize,
    /// A segment is closed at this many games.
    pub segment_games: usize,
    /// A segment is closed after this many seconds.
    pub segment_seconds: u64,
    /// Play at all. A node that does not still trains, evaluates and keeps copies.
    pub enabled: bool,
}

impl SelfplayConfig {
    /// How long a segment may stay open.
    #[must_use]
    pub fn segment_age_max(&self) -> Duration {
        Duration::from_secs(self.segment_seconds)
    }

    /// # Errors
    /// The first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), OutOfBounds> {
        bounds("selfplay.simulations", self.simulations, 2..=4096)?;
        bounds("selfplay.parallel_games", self.parallel_games, 0..=1024)?;
        bounds("selfplay.card_games", self.card_games, 0..=16_384)?;
        bounds("selfplay.segment_games", self.segment_games, 1..=256)?;
        bounds("selfplay.segment_seconds", self.segment_seconds, 1..=3600)
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

impl TrainingConfig {
    /// # Errors
    /// The first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), OutOfBounds> {
        bounds("training.threshold_games", self.threshold_games, 1..=1_000_000)?;
        bounds("training.learning_rate", self.learning_rate, (Bound::Excluded(0.0), Bound::Excluded(1.0)))?;
        bounds("training.batch", self.batch, 1..=65_536)?;
        bounds("training.reuse", self.reuse, (Bound::Excluded(0.0), Bound::Included(100.0)))?;
        bounds("training.seconds_max", self.seconds_max, 1..=86_400)?;
        bounds("training.window_positions", self.window_positions, 1_000..=50_000_000)
    }
}

impl Default for TrainingConfig {
    fn default() -> Self {
        // Short generations: what the first ones play teaches little, and more of it or more
        // passes over it do not help. `ringrift bench learn` on hex8_2p, window of 40 000
        // positions with 300 games, generations 1, 2, 3:
        //   600 games at 4, 8, 12 simulations: 28, 56, 86 CPU s; heuristic 45, 55, 53 %;
        //     the third 96.0 % against random
        //   300 games at 8, 8, 12 simulations: 16, 29, 46 CPU s; heuristic 30, 51, 64 %; the second 88.8 %
        //   1800 games at 4, each position used once: 41 CPU s; heuristic 28 %
        // (heuristic of 100 games, random of 400). With 300 games, batches of 128 in place of 256, or a
        // policy for 60 % of the decisions in place of 25 %, made no difference beyond chance. 400 is for a
        // second champion that beats random play clearly.
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

/// Audit settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Share of the games of every other node that the cluster looks at; its nodes divide the work. 0
    /// switches audits off here.
    pub share: f64,
}

impl AuditConfig {
    /// # Errors
    /// The first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), OutOfBounds> {
        bounds("audit.share", self.share, 0.0..=1.0)
    }
}

impl Default for AuditConfig {
    /// Of 1000 games of which 50 are forged, 13 % miss all 50 with a chance of 0.1 %, and with a chance of
    /// 0.9 % if only 7 in 10 of the forged games that are looked at are seen to be forged.
    fn default() -> Self {
        Self { share: 0.13 }
    }
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
    /// Seconds between rounds in which a champion plays the one before
    /// it, while nothing waits for evaluation.
    pub watch_seconds: u64,
}

impl EvaluationConfig {
    /// What the verdict of an evaluation depends on, as the cluster computes it: the Elo difference to a
    /// thousandth, the share to a millionth.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            elo1_milli: (self.elo1 * 1e3).round().max(1.0) as u32,
            games_max: self.games_max,
            baseline_games: self.baseline_games,
            random_min_ppm: (self.win_rate_vs_random_min * 1e6).round() as u32,
        }
    }

    /// # Errors
    /// The first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), OutOfBounds> {
        bounds("evaluation.simulations", self.simulations, 2..=4096)?;
        bounds("evaluation.games_max", self.games_max, 2..=10_000)?;
        bounds("evaluation.baseline_games", self.baseline_games, 2..=10_000)?;
        bounds("evaluation.elo1", self.elo1, (Bound::Excluded(0.0), Bound::Included(1000.0)))?;
        bounds("evaluation.elo_delta_min", self.elo_delta_min, 0.0..=1000.0)?;
        bounds("evaluation.win_rate_vs_random_min", self.win_rate_vs_random_min, 0.0..=1.0)?;
        bounds("evaluation.backpressure_on", self.backpressure_on, 1..=1_000)?;
        check(
            (1..=self.backpressure_on).contains(&self.backpressure_off),
            "evaluation.backpressure_off",
            self.backpressure_off.to_string(),
            "1 to evaluation.backpressure_on",
        )?;
        bounds("evaluation.watch_seconds", self.watch_seconds, 1..=604_800)
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
            // One candidate of a configuration waits at most, so this is about clusters that learn
            // many. An evaluation takes about as long as a training run: with four in the queue the
            // last has waited for longer than it took to make.
            backpressure_on: 4,
            backpressure_off: 2,
            watch_seconds: 600,
        }
    }
}
