//! Exclusive work, which is training and evaluation: what waits, what goes on, why some of it pauses,
//! and an operator who stops some of it.

use cluster_state::ModelId;
use serde::{Deserialize, Serialize};

/// A piece of exclusive work, waiting or going on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueItem {
    /// `training` or `evaluation`.
    pub kind: String,
    pub config_key: String,
    /// The model to evaluate; none for a training.
    pub subject: Option<ModelId>,
    /// Its rank in the queue, with what waiting has added.
    pub priority: f64,
    /// The node that does it; none while it waits.
    pub node_id: Option<String>,
    /// Epoch of its lease; none while it waits.
    pub epoch: Option<u64>,
    /// What it waits for; none while it goes on.
    pub waits_for: Option<String>,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: u64,
}

/// The lease of one kind of work for one configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// The holder now; none if nobody works on it.
    pub node_id: Option<String>,
    /// Number of the last lease.
    pub epoch: u64,
    /// The candidate, for an evaluation.
    pub subject: Option<ModelId>,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure.
    pub last_error: Option<String>,
}

/// A cause for which no training starts. Each cause ends by itself, and training goes on when none is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseCause {
    /// The champion regressed critically, and the one before is not settled yet.
    RegressionCritical,
    /// More candidates wait than evaluation can take.
    EvaluationBackpressure,
    /// A majority of the hosts cannot be reached from here.
    ClusterUnhealthy,
}

/// One cause, with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingPause {
    pub cause: PauseCause,
    /// For people.
    pub reason: String,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: u64,
}

/// An operator's order to stop exclusive work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    /// `training` or `evaluation`.
    pub kind: String,
    pub config_key: String,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// Work that was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancelled {
    /// The epoch of the lease that ended.
    pub epoch: u64,
    /// The node that held it.
    pub node_id: String,
}
