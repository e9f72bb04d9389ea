//! Members of the cluster, and the leader among them.

use crate::{admission::Admitted, cause::DrainCause, id::NodeId};
use serde::{Deserialize, Serialize};

/// A registered member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Id of the member.
    pub id: NodeId,
    /// The node's libp2p peer id.
    pub peer_id: String,
    /// Name of the node's host.
    pub name: String,
    /// Multiaddresses at which other nodes can dial the node.
    pub addrs: Vec<String>,
    /// Base URL of the node's HTTP interface.
    pub http: String,
    /// Version of the node's binary.
    pub version: String,
    /// Random number of the latest start of its process.
    pub boot: u64,
    /// Whether the leader could reach the node when it last looked.
    pub online: bool,
    /// Why the node is online or offline.
    pub reason: String,
    /// When `online` last changed, in milliseconds since the epoch.
    pub since_ms: u64,
    /// When the node registered first, in milliseconds since the epoch.
    pub joined_ms: u64,
    /// How the node was admitted.
    pub admitted: Admitted,
    /// Why the node drains (it gets no more work and hands over what it holds); none while it works.
    pub draining: Option<Draining>,
}

/// Why a node drains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// Who asked for it, and so who ends it.
    pub cause: DrainCause,
    /// The cause, in words for people.
    pub reason: String,
}

/// The leader that announced itself last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Id of the leader.
    pub node: NodeId,
    /// Raft term in which it leads.
    pub term: u64,
    /// When it announced itself, in milliseconds since the epoch.
    pub since_ms: u64,
    /// Number of leaders that have announced themselves so far.
    pub elections: u64,
}
