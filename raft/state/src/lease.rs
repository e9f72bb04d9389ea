//! Exclusive work: who may train or evaluate a configuration.

use crate::id::{ModelId, NodeId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which kind of exclusive work a lease grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LeaseKind {
    /// Train one configuration.
    Training,
    /// Evaluate one candidate of one configuration.
    Evaluation,
}

impl fmt::Display for LeaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Training => "training",
            Self::Evaluation => "evaluation",
        })
    }
}

/// Exclusive work granted to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Unique: log index of the grant.
    pub id: u64,
    /// Kind of work.
    pub kind: LeaseKind,
    /// Configuration.
    pub config_key: String,
    /// Holder.
    pub node: NodeId,
    /// Counts the grants of this kind and configuration, from 1.
    pub epoch: u64,
    /// The candidate, for an evaluation.
    pub subject: Option<ModelId>,
    /// The last threshold crossing at the time of the grant, for a training.
    pub crossing: u64,
    /// When granted.
    pub granted_ms: u64,
    /// Last sign of life.
    pub renewed_ms: u64,
    /// How long the holder may stay silent.
    pub ttl_ms: u64,
}

/// The leases of one kind for one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseSlot {
    /// Last epoch granted.
    pub epoch: u64,
    /// Who works now.
    pub live: Option<Lease>,
    /// How the last failed or expired lease ended.
    pub last_error: Option<String>,
    /// Leases in a row that failed or expired.
    pub failures: u32,
}
