//! Commands that hold a configuration back or drive it on.

use crate::{
    id::TriggerId,
    steering::{Feedback, SelfplayTarget},
};
use serde::{Deserialize, Serialize};

/// Enough games since the last training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdReached {
    /// Configuration.
    pub config_key: String,
    /// Number of this crossing: one more than the last.
    pub crossing: u64,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// What self-play shall do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetTarget {
    /// Configuration.
    pub config_key: String,
    /// The target.
    pub target: SelfplayTarget,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// More candidates wait than evaluation can take, or no longer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetBackpressure {
    /// Configuration.
    pub config_key: String,
    /// Whether it holds from now on.
    pub active: bool,
    /// Candidates that wait.
    pub depth: u64,
    /// Where the pressure begins.
    pub threshold: u64,
    /// Where it ends.
    pub release_threshold: u64,
    /// The event that said so, if one did: it counts once.
    pub trigger: Option<TriggerId>,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// What feedback asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetFeedback {
    /// Configuration.
    pub config_key: String,
    /// What.
    pub feedback: Feedback,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// The learning rate of the next training runs. Training alone proposes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetLearningRate {
    /// Configuration.
    pub config_key: String,
    /// As a factor of the setting.
    pub scale: f64,
    /// Why.
    pub reason: String,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// The share of self-play that a configuration deserves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetCurriculum {
    /// Configuration.
    pub config_key: String,
    /// Relative to the other configurations.
    pub weight: f64,
    /// Why.
    pub reason: String,
    /// At once, because of a critical regression: everybody is told.
    pub emergency: bool,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}
