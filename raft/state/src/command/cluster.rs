//! Commands about members.

use crate::id::NodeId;
use serde::{Deserialize, Serialize};

/// A peer introduces itself, or brings its data up to date. The same peer keeps its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisterNode {
    /// libp2p peer id.
    pub peer_id: String,
    /// Host name, for people.
    pub name: String,
    /// Dialable addresses.
    pub addrs: Vec<String>,
    /// Base URL of its HTTP interface.
    pub http: String,
    /// Version of its binary.
    pub version: String,
    /// Random number of this start of its process.
    pub boot: u64,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// The leader saw a node come or go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetOnline {
    /// Which.
    pub node: NodeId,
    /// Reachable?
    pub online: bool,
    /// How that was seen.
    pub reason: String,
    /// The start that was observed: news of an earlier one are refused.
    pub observed_boot: u64,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// A new leader announces itself, once per term.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetLeader {
    /// Which.
    pub node: NodeId,
    /// Raft term.
    pub term: u64,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// A node shall get no more work and hand on what it holds, or work again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetDraining {
    /// Which.
    pub node: NodeId,
    /// From now on?
    pub draining: bool,
    /// Why.
    pub reason: String,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}
