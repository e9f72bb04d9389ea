//! What this node knows about the state of consensus.

use crate::types::{Raft, TypeConfig};
use cluster_state::NodeId;
use openraft::{ServerState, async_runtime::watch::WatchReceiver};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// The role of this node in consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The node follows without a vote.
    Learner,
    /// The node follows and votes.
    Follower,
    /// The node asks for votes.
    Candidate,
    /// The node leads.
    Leader,
    /// Consensus has stopped on this node.
    Stopped,
}

/// How the leader sees another member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Follower {
    /// Index of its last log entry that agrees with the leader's.
    pub matched: Option<u64>,
    /// When its last answer arrived.
    pub last_contact: Option<Instant>,
}

/// Consensus as this node sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Id of this node.
    pub id: NodeId,
    /// The role of this node.
    pub role: Role,
    /// Latest term that this node knows.
    pub term: u64,
    /// Id and peer id of the leader, as far as this node knows it.
    pub leader: Option<(NodeId, String)>,
    /// Ids of the members that vote.
    pub voters: BTreeSet<NodeId>,
    /// Whether the voters are being changed. Until the change is committed, the voters before it are needed.
    pub is_changing: bool,
    /// Ids of the members that do not vote.
    pub learners: BTreeSet<NodeId>,
    /// Index of the last entry of the log.
    pub last_log: Option<u64>,
    /// Index of the last entry that is known to be committed.
    pub committed: Option<u64>,
    /// Index of the last entry applied.
    pub applied: Option<u64>,
    /// On the leader: when a quorum last answered.
    pub quorum_acked: Option<Instant>,
    /// On the leader: the other members.
    pub followers: BTreeMap<NodeId, Follower>,
    /// Why consensus stopped, if it did.
    pub failed: Option<String>,
}

impl Metrics {
    /// Whether this node leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.role == Role::Leader
    }

    /// On the leader: the time since a quorum last answered.
    #[must_use]
    pub fn quorum_acked_ago(&self) -> Option<Duration> {
        self.quorum_acked.map(|at| at.elapsed())
    }

    /// The same time in milliseconds.
    #[must_use]
    pub fn quorum_acked_ms_ago(&self) -> Option<u64> {
        self.quorum_acked_ago().map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
    }
}

/// openraft's metrics in the types of this crate.
pub(crate) fn of(raft: &Raft) -> Metrics {
    translate(&raft.metrics().borrow_watched())
}

fn translate(m: &openraft::RaftMetrics<TypeConfig>) -> Metrics {
    let membership = &m.membership_config;
    let leader = m.current_leader.map(|id| {
        let peer = membership.get_node(&id).map(|member| member.peer_id.clone());
        (id, peer.unwrap_or_default())
    });
    let mut followers: BTreeMap<NodeId, Follower> = BTreeMap::new();
    for (id, matched) in m.replication.iter().flatten() {
        followers.entry(*id).or_default().matched = matched.as_ref().map(|id| id.index);
    }
    for (id, contact) in m.heartbeat.iter().flatten() {
        followers.entry(*id).or_default().last_contact = contact.as_ref().and_then(|at| clock(&**at));
    }
    followers.remove(&m.id);
    Metrics {
        id: m.id,
        role: match m.state {
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Stopped,
        },
        term: m.current_term,
        leader,
        voters: membership.voter_ids().collect(),
        is_changing: is_changing(m),
        learners: membership.membership().learner_ids().collect(),
        last_log: m.last_log_index,
        committed: m.cluster_committed.as_ref().map(|id| id.index),
        applied: m.last_applied.as_ref().map(|id| id.index),
        quorum_acked: m.last_quorum_acked.as_ref().and_then(|at| clock(&**at)),
        followers,
        failed: m.running_state.as_ref().err().map(ToString::to_string),
    }
}

fn is_changing(m: &openraft::RaftMetrics<TypeConfig>) -> bool {
    let membership = &m.membership_config;
    membership.get_joint_config().len() > 1 || *membership.log_id() > m.local_committed
}

/// The same moment as an instant of the standard library.
fn clock(at: &impl openraft::Instant) -> Option<Instant> {
    Instant::now().checked_sub(at.elapsed())
}

/// Publishes every change until consensus ends, and the latest term for whoever checks messages against it.
pub(crate) async fn follow(raft: Raft, publish: watch::Sender<Metrics>, term: Arc<AtomicU64>) {
    let mut source = raft.metrics();
    drop(raft);
    loop {
        let metrics = translate(&source.borrow_watched());
        term.store(metrics.term, Ordering::Relaxed);
        publish.send_replace(metrics);
        if source.changed().await.is_err() {
            break;
        }
    }
    publish.send_modify(|metrics| {
        metrics.role = Role::Stopped;
        metrics.failed.get_or_insert_with(|| "consensus has stopped".into());
    });
}
