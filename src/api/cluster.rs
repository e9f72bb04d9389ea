//! The members of the cluster: the leader, the nodes and their state, and the order to drain a node.

use cluster_state::{NodeId, SegmentId};
use serde::{Deserialize, Serialize};

/// The leader, as the answering node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderView {
    pub id: NodeId,
    /// The leader's name in events, such as `node-3`.
    pub node_id: String,
    pub host: String,
    /// The leader's libp2p id.
    pub peer_id: String,
    /// Raft's term.
    pub term: u64,
    /// When it became leader, in milliseconds since the epoch; 0 while it has not announced itself.
    pub since_ms: u64,
}

/// The answer to "who leads?".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderReport {
    /// It is none while the answering node knows no leader.
    pub leader: Option<LeaderView>,
    /// Raft's term.
    pub term: u64,
    /// True when no quorum confirmed the answer.
    pub stale: bool,
    /// Age of the answer in milliseconds, if it is stale; otherwise 0.
    pub age_ms: u64,
    /// The name of the node that answers.
    pub answered_by: String,
}

/// The answering node's part in Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RaftRole {
    /// It follows the leader and has no vote.
    Learner,
    /// It follows the leader and votes.
    Follower,
    /// It asks the others for their votes.
    Candidate,
    Leader,
    /// Consensus has stopped here.
    Stopped,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    pub id: NodeId,
    /// The member's name in events, such as `node-3`.
    pub node_id: String,
    pub host: String,
    /// The member's libp2p id.
    pub peer_id: String,
    /// `leader`, `voter` or `learner`.
    pub role: String,
    /// Whether the leader can reach it.
    pub online: bool,
    /// Why it is online, or why it is not.
    pub reason: String,
    /// When `online` last changed, in milliseconds since the epoch.
    pub since_ms: u64,
    /// Whether the answering node is connected to it.
    pub connected: bool,
    /// Multiaddresses at which it listens for peers.
    pub addrs: Vec<String>,
    /// Address of its HTTP interface.
    pub http: String,
    pub version: String,
    /// Why the node gets no more work; none while it works.
    pub draining: Option<String>,
    /// The proof that it forged a game, so that the cluster does not trust its games; none while it does.
    #[serde(default)]
    pub distrusted: Option<ForgeryView>,
    /// How many of its reports of forged games nobody confirmed in time, and how many are open.
    #[serde(default)]
    pub reports_unconfirmed: u64,
    #[serde(default)]
    pub reports_open: usize,
    /// What the node still has to hand over, if it drains.
    pub handover: Option<Handover>,
    /// Milliseconds since the node last showed work, as the answering node heard it; none if it has not shown
    /// any.
    pub idle_ms: Option<u64>,
    /// How the node became a member: `founder`, `secret`, `ticket` with its name, or `open`.
    pub admitted: String,
    /// When it became a member, in milliseconds since the epoch.
    pub admitted_ms: u64,
}

/// A decision that a node forged. Whoever has the segment and the model can make it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgeryView {
    pub segment: SegmentId,
    /// The game, counted from 0 in the order of the segment.
    pub game: u32,
    /// The step of the game.
    pub ply: u32,
    /// The names of the nodes that made it again.
    pub confirmed_by: Vec<String>,
    /// When enough of them had, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// What a draining host still has to hand over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    /// Leases that the host holds.
    pub leases: usize,
    /// Segments with too few copies elsewhere.
    pub segments: usize,
    /// Models in use with too few copies elsewhere.
    pub models: usize,
}

impl Handover {
    /// Whether nothing is left, so that the host may stop.
    #[must_use]
    pub fn is_done(&self) -> bool {
        *self == Self::default()
    }
}

/// An order to trust a node again that forged a game, and to hear one again that is shunned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PardonOrder {
    pub node: NodeId,
    /// Why, in words for people.
    #[serde(default)]
    pub reason: String,
}

/// What a node was pardoned for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pardoned {
    pub node: NodeId,
    /// It forged a game. Its games count from now on.
    pub distrusted: bool,
    /// It signed two events under one number. It is let in again, and its events are taken again.
    pub shunned: bool,
}

/// An order that a node drains (it hands over what it holds), or that it works again. The answer repeats the
/// order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    pub node: NodeId,
    /// True: the node gets no more work. False: it works again.
    pub draining: bool,
    /// The cause, in words for people.
    #[serde(default)]
    pub reason: String,
}
