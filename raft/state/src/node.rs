//! Members of the cluster, and the leader among them.

use crate::id::NodeId;
use serde::{Deserialize, Serialize};

/// A registered member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// libp2p peer id.
    pub peer_id: String,
    /// Host name.
    pub name: String,
    /// Dialable addresses.
    pub addrs: Vec<String>,
    /// Base URL of its HTTP interface.
    pub http: String,
    /// Version of its binary.
    pub version: String,
    /// The latest start of its process.
    pub boot: u64,
    /// Reachable, as the leader last saw it.
    pub online: bool,
    /// Why it is online or offline.
    pub reason: String,
    /// When `online` last changed.
    pub since_ms: u64,
    /// First registration.
    pub joined_ms: u64,
    /// It gets no more work and hands on what it holds: why.
    pub draining: Option<String>,
}

/// The leader that announced itself last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Which node.
    pub node: NodeId,
    /// Its term.
    pub term: u64,
    /// When it announced itself.
    pub since_ms: u64,
    /// Leaders announced so far.
    pub elections: u64,
}
