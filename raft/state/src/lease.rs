//! Exclusive work: which node may train or evaluate a configuration.

use crate::{
    cause::EndCause,
    id::{ModelId, NodeId},
    key::ConfigKey,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of exclusive work that a lease grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LeaseKind {
    /// The holder trains one configuration.
    Training,
    /// The holder evaluates one candidate of one configuration.
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

/// Exclusive work that is granted to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Log index of the grant, so it is unique.
    pub id: u64,
    /// Whether the work is a training or an evaluation.
    pub kind: LeaseKind,
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Id of the node that holds the lease.
    pub node: NodeId,
    /// Number of this grant among those of this kind and configuration, from 1.
    pub epoch: u64,
    /// The model to evaluate; none for a training.
    pub subject: Option<ModelId>,
    /// The last threshold crossing at the time of the grant, for a training.
    pub crossing: u64,
    /// When the lease was granted, in milliseconds since the epoch.
    pub granted_ms: u64,
    /// When the holder last showed that it is at work, in milliseconds since the epoch.
    pub renewed_ms: u64,
    /// How long the holder may stay silent, in milliseconds.
    pub ttl_ms: u64,
}

/// How a lease ended that was not completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseEnd {
    /// Id of the node that held it.
    pub node: NodeId,
    /// Why it ended.
    pub cause: EndCause,
    /// The cause, in words for people.
    pub reason: String,
}

/// The leases of one kind for one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseSlot {
    /// The last epoch that was granted.
    pub epoch: u64,
    /// The lease that is in force; none if the work is free.
    pub live: Option<Lease>,
    /// How the last lease ended; none if it was completed, or if there was none.
    pub last_end: Option<LeaseEnd>,
    /// Number of leases in a row that failed or expired.
    pub failures: u32,
    /// Number of segments that the holder has registered under the lease in force, or under the last one.
    pub recorded: u32,
}
