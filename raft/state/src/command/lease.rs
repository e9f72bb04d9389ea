//! Commands about exclusive work. The holder names the epoch of its
//! lease, so that nothing late has an effect.

use crate::{
    id::{ModelId, NodeId},
    lease::LeaseKind,
    model::{Evidence, ModelInfo, TrainingReport},
};
use serde::{Deserialize, Serialize};

/// Exclusive work for one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrantLease {
    /// Kind of work.
    pub kind: LeaseKind,
    /// Configuration.
    pub config_key: String,
    /// Who shall do it.
    pub node: NodeId,
    /// The candidate, for an evaluation.
    pub subject: Option<ModelId>,
    /// How long the holder may stay silent.
    pub ttl_ms: u64,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// The holder is at work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenewLease {
    /// Kind of work.
    pub kind: LeaseKind,
    /// Configuration.
    pub config_key: String,
    /// Epoch of the lease.
    pub epoch: u64,
    /// Holder.
    pub node: NodeId,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// The leader takes a lease away from a silent holder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExpireLease {
    /// Kind of work.
    pub kind: LeaseKind,
    /// Configuration.
    pub config_key: String,
    /// Epoch of the lease.
    pub epoch: u64,
    /// The renewal that the leader saw last; refused if there was another since.
    pub last_renewed_ms: u64,
    /// Why.
    pub reason: String,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// The holder gives up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailLease {
    /// Kind of work.
    pub kind: LeaseKind,
    /// Configuration.
    pub config_key: String,
    /// Epoch of the lease.
    pub epoch: u64,
    /// Holder.
    pub node: NodeId,
    /// What went wrong.
    pub error: String,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// The leader or an operator stops work that is wanted no more. That is no failure of its holder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CancelLease {
    /// Kind of work.
    pub kind: LeaseKind,
    /// Configuration.
    pub config_key: String,
    /// Epoch of the lease.
    pub epoch: u64,
    /// Why.
    pub reason: String,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Training is done: the model becomes a candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompleteTraining {
    /// Configuration.
    pub config_key: String,
    /// Epoch of the lease.
    pub epoch: u64,
    /// Holder.
    pub node: NodeId,
    /// The model.
    pub model: ModelInfo,
    /// How training went.
    pub report: TrainingReport,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// An evaluation is done: its evidence is kept with the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompleteEvaluation {
    /// Configuration.
    pub config_key: String,
    /// Epoch of the lease.
    pub epoch: u64,
    /// Holder.
    pub node: NodeId,
    /// What was found.
    pub evidence: Evidence,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}
