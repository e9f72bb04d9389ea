//! Commands that hold a configuration back or speed it up.

use crate::{
    id::TriggerId,
    key::ConfigKey,
    steering::{Feedback, SelfplayTarget},
};
use serde::{Deserialize, Serialize};

/// Records that there are enough games since the last training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdReached {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Number of this crossing, which is one more than the last.
    pub crossing: u64,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Sets what self-play should do for a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetTarget {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// The new target.
    pub target: SelfplayTarget,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Records that more candidates wait than evaluation can take, or that this has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetBackpressure {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Whether the pressure holds from now on.
    pub active: bool,
    /// Number of candidates that wait.
    pub depth: u64,
    /// Number of waiting candidates at which the pressure begins.
    pub threshold: u64,
    /// Number of waiting candidates at which the pressure ends.
    pub release_threshold: u64,
    /// The event that reported it, if one did: each event counts once.
    pub trigger: Option<TriggerId>,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Sets what feedback asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetFeedback {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// The factors that feedback asks for.
    pub feedback: Feedback,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Sets the learning rate of the next training runs. Only training proposes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetLearningRate {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// The learning rate as a factor of the setting.
    pub scale: f64,
    /// The cause, in words for people.
    pub reason: String,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Sets the share of self-play that a configuration gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetCurriculum {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Weight relative to the other configurations.
    pub weight: f64,
    /// The cause, in words for people.
    pub reason: String,
    /// Whether the weight takes effect at once, because of a critical regression: then every node is
    /// notified.
    pub emergency: bool,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}
