//! What holds a configuration back or speeds it up.

use crate::{id::ModelId, model::Evidence, review::Review};
use serde::{Deserialize, Serialize};

/// What the leader asks of self-play for one configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfplayTarget {
    /// Share of the nodes' time, relative to the other configurations.
    pub weight: f64,
    /// Search simulations per move.
    pub simulations: u32,
    /// Whether self-play plays no games of it for now.
    pub paused: bool,
    /// The cause, in words for people.
    pub reason: String,
}

impl Default for SelfplayTarget {
    fn default() -> Self {
        Self { weight: 1.0, simulations: 16, paused: false, reason: String::new() }
    }
}

/// What feedback asks of training and self-play, as factors of the settings: a factor of 1 changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// Factor of the learning rate; training decides whether to use it.
    pub learning_rate: f64,
    /// Factor of the noise and the temperature of self-play.
    pub exploration: f64,
    /// Factor of the number of simulations of a decision.
    pub simulations: f64,
    /// The cause, in words for people.
    pub reason: String,
}

impl Default for Feedback {
    fn default() -> Self {
        Self { learning_rate: 1.0, exploration: 1.0, simulations: 1.0, reason: String::new() }
    }
}

/// How badly a champion regressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// The champion plays somewhat worse than before.
    Minor,
    /// The champion plays much worse: training stops, and the champion before it comes back.
    Critical,
}

impl Severity {
    /// The severity as the names of events spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minor => "minor",
            Self::Critical => "critical",
        }
    }
}

/// A champion that plays worse than before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// The champion that regressed.
    pub champion: ModelId,
    /// How badly the champion regressed.
    pub severity: Severity,
    /// How many Elo points weaker the champion plays.
    pub elo_drop: f64,
    /// The cause, in words for people.
    pub reason: String,
    /// Whether the champion before it has come back.
    pub rolled_back: bool,
    /// When the regression was reported or the rollback was applied, in milliseconds since the epoch.
    pub since_ms: u64,
}

/// More candidates wait than evaluation can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backpressure {
    /// Number of candidates that waited when the pressure began.
    pub depth: u64,
    /// Number of waiting candidates at which the pressure ends.
    pub release_threshold: u64,
    /// When the pressure began, in milliseconds since the epoch.
    pub since_ms: u64,
}

/// The champion's games against the champion before it, since its promotion. Others have counted them again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// The champion before it.
    pub opponent: ModelId,
    /// Number of games.
    pub games: u64,
    /// Number of these games that the champion won.
    pub wins: u64,
    /// Number of these games that the champion lost.
    pub losses: u64,
    /// Number of evaluations that played the games.
    pub rounds: u32,
    /// Epoch of the last of these evaluations.
    pub epoch: u64,
    /// When the last of these evaluations ended, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// The latest round of a watch. Its games count once others have counted the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchRound {
    /// What was played.
    pub evidence: Evidence,
    /// What others found who counted the games again.
    pub review: Review,
    /// When the round ended, in milliseconds since the epoch.
    pub at_ms: u64,
}

impl WatchRound {
    /// The games of the rounds before it, with its own.
    #[must_use]
    pub fn added_to(&self, before: Option<Watch>) -> Watch {
        let Self { evidence, review, at_ms } = self;
        let sum = |count: fn(&Watch) -> u64, more: u32| {
            before.as_ref().map_or(0, count).saturating_add(u64::from(more))
        };
        Watch {
            opponent: evidence.champion,
            games: sum(|watch| watch.games, evidence.games),
            wins: sum(|watch| watch.wins, evidence.wins),
            losses: sum(|watch| watch.losses, evidence.losses),
            rounds: before.map_or(0, |watch| watch.rounds).saturating_add(1),
            epoch: review.epoch,
            at_ms: *at_ms,
        }
    }
}

/// What holds a configuration back or speeds it up; the leader's daemons write it, each its own part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steering {
    /// Written by curriculum: the share of self-play that the configuration gets.
    pub weight: f64,
    /// The cause of that weight, in words for people.
    pub weight_reason: String,
    /// Whether the weight is that of an emergency.
    pub emergency: bool,
    /// Written by feedback: the factors that it asks for.
    pub feedback: Feedback,
    /// Written by training: the learning rate as a factor of the setting.
    pub learning_rate: f64,
    /// The cause of that learning rate, in words for people.
    pub learning_rate_reason: String,
    /// Written by regression: how the champion regressed, if it did.
    pub regression: Option<Regression>,
    /// The champion's games since its promotion, without those of the latest round.
    pub watch: Option<Watch>,
    /// The latest round of these games.
    pub round: Option<WatchRound>,
    /// Written by evaluation: the pressure, while evaluation cannot keep up.
    pub backpressure: Option<Backpressure>,
}

impl Default for Steering {
    fn default() -> Self {
        Self {
            weight: 1.0,
            weight_reason: String::new(),
            emergency: false,
            feedback: Feedback::default(),
            learning_rate: 1.0,
            learning_rate_reason: String::new(),
            regression: None,
            watch: None,
            round: None,
            backpressure: None,
        }
    }
}
