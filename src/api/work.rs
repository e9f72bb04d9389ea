//! Exclusive work, which is training and evaluation: the queue, the leases, the causes of a pause, and an
//! operator's order to stop some of it.

use cluster_state::{ConfigKey, ModelId};
use serde::{Deserialize, Serialize};

/// One piece of exclusive work, which waits or runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueItem {
    /// `training` or `evaluation`.
    pub kind: String,
    pub config_key: ConfigKey,
    /// The model to evaluate; none for a training.
    pub subject: Option<ModelId>,
    /// The item's rank in the queue; it grows while the item waits.
    pub priority: f64,
    /// Name of the node that does the work; none while it waits.
    pub node_id: Option<String>,
    /// Epoch of the lease; none while the work waits.
    pub epoch: Option<u64>,
    /// What the work waits for; none while it runs.
    pub waits_for: Option<String>,
    /// When the work joined the queue or began, in milliseconds since the epoch.
    pub since_ms: u64,
}

/// The lease of one kind of work for one configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseView {
    /// Name of the node that holds the lease; none if it is free.
    pub node_id: Option<String>,
    /// Number of the last lease.
    pub epoch: u64,
    /// The candidate under evaluation; none for a training.
    pub subject: Option<ModelId>,
    /// Failures in a row.
    pub failures: u32,
    /// The last failure.
    pub last_error: Option<String>,
}

/// A cause that keeps trainings from starting. Each cause ends automatically, and training continues when
/// none is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseCause {
    /// The champion regressed critically, and the champion that a rollback brought back has not settled yet.
    RegressionCritical,
    /// More candidates wait than evaluation can take.
    EvaluationBackpressure,
    /// The answering node cannot reach a majority of the hosts.
    ClusterUnhealthy,
}

/// One cause with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingPause {
    pub cause: PauseCause,
    /// The reason, in words for people.
    pub reason: String,
    /// When the cause began, in milliseconds since the epoch.
    pub since_ms: u64,
}

/// An operator's order to stop exclusive work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    /// `training` or `evaluation`.
    pub kind: String,
    pub config_key: ConfigKey,
    /// The cause, in words for people.
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
