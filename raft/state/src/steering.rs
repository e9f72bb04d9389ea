//! What holds a configuration back or drives it on.

use crate::id::ModelId;
use serde::{Deserialize, Serialize};

/// What the leader asks of self-play for one configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfplayTarget {
    /// Share of the nodes' time, relative to the other configurations.
    pub weight: f64,
    /// Search simulations per move.
    pub simulations: u32,
    /// No games at all for now.
    pub paused: bool,
    /// Why, for people.
    pub reason: String,
}

impl Default for SelfplayTarget {
    fn default() -> Self {
        Self { weight: 1.0, simulations: 16, paused: false, reason: String::new() }
    }
}

/// What feedback asks of training and self-play, as factors of the settings: 1 changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// Of the learning rate; training decides whether to follow.
    pub learning_rate: f64,
    /// Of the noise and the temperature of self-play.
    pub exploration: f64,
    /// Of the simulations of a decision.
    pub simulations: f64,
    /// Why, for people.
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
    /// It plays somewhat worse than it did.
    Minor,
    /// It plays much worse: training stops, and the champion before it comes back.
    Critical,
}

impl Severity {
    /// As in the names of events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minor => "minor",
            Self::Critical => "critical",
        }
    }
}

/// A champion that plays worse than it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// Which champion.
    pub champion: ModelId,
    /// How badly.
    pub severity: Severity,
    /// Elo points lost.
    pub elo_drop: f64,
    /// Why.
    pub reason: String,
    /// The champion before it is back.
    pub rolled_back: bool,
    /// When it was reported, or rolled back.
    pub since_ms: u64,
}

/// More candidates wait than evaluation can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backpressure {
    /// How many waited when it began.
    pub depth: u64,
    /// Where it ends.
    pub release_threshold: u64,
    /// When it began.
    pub since_ms: u64,
}

/// The champion's games against the one before it since its promotion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// The one before.
    pub opponent: ModelId,
    /// Games.
    pub games: u64,
    /// Of these, won by the champion.
    pub wins: u64,
    /// Of these, lost.
    pub losses: u64,
    /// Evaluations that played them.
    pub rounds: u32,
    /// The last one's epoch.
    pub epoch: u64,
    /// When the last one ended.
    pub at_ms: u64,
}

/// What holds a configuration back or drives it on: written by the leader's daemons, each its own part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steering {
    /// Curriculum: the share of self-play it deserves.
    pub weight: f64,
    /// Why.
    pub weight_reason: String,
    /// The weight is that of an emergency.
    pub emergency: bool,
    /// Feedback: what it asks for.
    pub feedback: Feedback,
    /// Training: the learning rate as a factor of the setting.
    pub learning_rate: f64,
    /// Why.
    pub learning_rate_reason: String,
    /// Regression: how the champion fares.
    pub regression: Option<Regression>,
    /// Its games since its promotion.
    pub watch: Option<Watch>,
    /// Evaluation: it cannot keep up.
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
            backpressure: None,
        }
    }
}
