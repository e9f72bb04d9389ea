//! Commands about exclusive work. The holder names the epoch of its lease, so that a late command has no
//! effect.

use crate::{
    cause::EndCause,
    id::{ModelId, NodeId},
    key::ConfigKey,
    lease::LeaseKind,
    model::{Evidence, ModelInfo, TrainingReport},
};
use serde::{Deserialize, Serialize};

/// Grants exclusive work to one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrantLease {
    /// Whether the work is a training or an evaluation.
    pub kind: LeaseKind,
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Id of the node that gets the lease.
    pub node: NodeId,
    /// The model to evaluate; none for a training.
    pub subject: Option<ModelId>,
    /// How long the holder may stay silent, in milliseconds.
    pub ttl_ms: u64,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Renews a lease, because the holder is at work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenewLease {
    /// Whether the work is a training or an evaluation.
    pub kind: LeaseKind,
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Epoch of the lease; the command is refused if that lease is no longer in force.
    pub epoch: u64,
    /// Id of the node that holds the lease.
    pub node: NodeId,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Takes a lease away from a holder that is silent, or that has held it for too long, on behalf of the
/// leader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExpireLease {
    /// Whether the work is a training or an evaluation.
    pub kind: LeaseKind,
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Epoch of the lease; the command is refused if that lease is no longer in force.
    pub epoch: u64,
    /// The last renewal that the leader saw; the command is refused if there was another since. None: the
    /// lease ends however lately it was renewed.
    pub last_renewed_ms: Option<u64>,
    /// The cause, in words for people.
    pub reason: String,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Ends a lease, because the holder gives up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailLease {
    /// Whether the work is a training or an evaluation.
    pub kind: LeaseKind,
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Epoch of the lease; the command is refused if that lease is no longer in force.
    pub epoch: u64,
    /// Id of the node that holds the lease.
    pub node: NodeId,
    /// What went wrong, in words for people.
    pub error: String,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Stops work that is no longer wanted, on behalf of the leader or an operator. This is no failure of the
/// holder: a command that says it is one is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CancelLease {
    /// Whether the work is a training or an evaluation.
    pub kind: LeaseKind,
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Epoch of the lease; the command is refused if that lease is no longer in force.
    pub epoch: u64,
    /// Why the work is no longer wanted.
    pub cause: EndCause,
    /// The cause, in words for people.
    pub reason: String,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Ends a training: its model becomes a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompleteTraining {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Epoch of the lease; the command is refused if that lease is no longer in force.
    pub epoch: u64,
    /// Id of the node that holds the lease.
    pub node: NodeId,
    /// The trained model.
    pub model: ModelInfo,
    /// What the training run reported.
    pub report: TrainingReport,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Ends an evaluation: its evidence is kept with the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompleteEvaluation {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Epoch of the lease; the command is refused if that lease is no longer in force.
    pub epoch: u64,
    /// Id of the node that holds the lease.
    pub node: NodeId,
    /// What the evaluation found.
    pub evidence: Evidence,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}
