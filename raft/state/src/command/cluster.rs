//! Commands about members.

use crate::{admission::Admission, cause::DrainCause, id::NodeId};
use serde::{Deserialize, Serialize};

/// Registers a peer as a member, or updates its data. The same peer keeps its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisterNode {
    /// The node's libp2p peer id.
    pub peer_id: String,
    /// Name of the node's host, for people.
    pub name: String,
    /// Multiaddresses at which other nodes can dial the node.
    pub addrs: Vec<String>,
    /// Base URL of the node's HTTP interface.
    pub http: String,
    /// Version of the node's binary.
    pub version: String,
    /// Random number that is new at each start of the node's process.
    pub boot: u64,
    /// What the peer shows to become a member.
    pub admission: Admission,
    /// The proposer's clock, in milliseconds since the epoch; the leader's, if another node asks.
    pub at_ms: u64,
}

/// Records that the leader saw a node come online or go offline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetOnline {
    /// Id of that node.
    pub node: NodeId,
    /// Whether the leader can reach the node.
    pub online: bool,
    /// How the leader observed that.
    pub reason: String,
    /// The start of the process that was observed: a report about an earlier start is refused.
    pub observed_boot: u64,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Records a new leader, which announces itself once per term.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetLeader {
    /// Id of the leader.
    pub node: NodeId,
    /// Raft term in which it leads.
    pub term: u64,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Pardons a node that is distrusted because it forged a game, or shunned because it signed two events under
/// one number: what it plays and says from now on counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PardonNode {
    /// Id of the node.
    pub node: NodeId,
    /// The epoch of its two events, if it is shunned. Nothing more of that epoch is taken: the node goes on
    /// under another one.
    pub epoch: Option<i64>,
    /// Why, in words for people.
    pub reason: String,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Drains a node, so that it gets no more work and hands over what it holds, or lets it work again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetDraining {
    /// Id of that node.
    pub node: NodeId,
    /// True: the node drains. False: it works again.
    pub draining: bool,
    /// Who asks for it, and so who ends it.
    pub cause: DrainCause,
    /// The cause, in words for people.
    pub reason: String,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}
