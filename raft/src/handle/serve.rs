//! Serves the requests of other members.
//!
//! Invariant: for any bytes the answer is bytes; a request that could not come from a member that follows the
//! protocol never reaches openraft.

use super::{RaftHandle, plausible, propose::Attempt};
use crate::{
    machine,
    members::AddLearner,
    metrics::Metrics,
    rpc::{self, NodeInfo, Reply, Request, SnapshotPiece},
    types::{LogId, Membership, SNAPSHOT_BYTES_MAX, SnapshotMeta, Vote},
};
use cluster_state::{NodeId, Response};
use openraft::Snapshot;
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// Maximum time for which a request may occupy this node.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// A snapshot of which pieces are arriving.
pub(super) struct Incoming {
    vote: Vote,
    last_log_id: Option<LogId>,
    total: u64,
    data: Vec<u8>,
}

impl RaftHandle {
    /// Answers a request of the member with peer id `from`, which its connection has proved. It never fails:
    /// an error is an answer too.
    pub async fn serve(&self, from: &str, request: &[u8]) -> Vec<u8> {
        let reply = match rpc::decode_request(request) {
            Ok(request) => self.answer(from, request).await,
            Err(e) => {
                tracing::warn!(from, error = %e, "a malformed request was refused");
                Reply::Refused(e.to_string())
            }
        };
        rpc::encode_reply(&reply)
    }

    async fn answer(&self, from: &str, request: Request) -> Reply {
        let raft = &self.shared.raft;
        match request {
            Request::Append { to, rpc } => {
                match self.for_me(to, from, &rpc.vote).and_then(|()| plausible::append(&rpc)) {
                    Ok(()) => reply(raft.append_entries(rpc).await, Reply::Append),
                    Err(e) => Reply::Refused(e),
                }
            }
            Request::Vote { to, rpc } => {
                match self.for_me(to, from, &rpc.vote).and_then(|()| plausible::vote(&rpc)) {
                    Ok(()) => reply(raft.vote(rpc).await, Reply::Vote),
                    Err(e) => Reply::Refused(e),
                }
            }
            Request::PreVote { to, rpc } => {
                match self.for_me(to, from, &rpc.vote).and_then(|()| plausible::vote(&rpc)) {
                    Ok(()) => reply(raft.pre_vote(rpc).await, Reply::Vote),
                    Err(e) => Reply::Refused(e),
                }
            }
            Request::Transfer { to, rpc } => {
                match self.for_me(to, from, rpc.from_leader()).and_then(|()| plausible::transfer(&rpc)) {
                    Ok(()) => reply(raft.handle_transfer_leader(rpc).await, Reply::Transfer),
                    Err(e) => Reply::Refused(e),
                }
            }
            Request::Snapshot { to, piece } => {
                let ids = plausible::snapshot(&piece.vote, piece.last_log_id.as_ref());
                match self.for_me(to, from, &piece.vote).and(ids) {
                    Ok(()) => self.take_piece(piece).await,
                    Err(e) => Reply::Refused(e),
                }
            }
            Request::Propose { command, wait_ms } => match self.write_here(command, bounded(wait_ms)).await {
                Attempt::Applied(response) => Reply::Proposed(response),
                Attempt::NotLeader(peer) => Reply::NotLeader(peer),
                Attempt::Unknown => Reply::Timeout,
                Attempt::Stopped(e) => Reply::Failed(e),
            },
            Request::ReadIndex { wait_ms } => match self.confirm_index(bounded(wait_ms)).await {
                Ok(index) => Reply::ReadIndex(index),
                Err(e) => Reply::ReadFailed(e),
            },
            Request::Join { info, at_ms } => self.let_in(from, info, at_ms).await,
        }
    }

    /// Checks that a request is meant for this node and comes from the member whose vote it carries, as far
    /// as its peer id is known here.
    fn for_me(&self, to: NodeId, from: &str, vote: &Vote) -> Result<(), String> {
        if to != self.shared.node_id {
            return Err(format!("this is node {}, not {to}", self.shared.node_id));
        }
        let sender = vote.leader_id.node_id;
        match self.shared.peer_of(sender) {
            Some(peer) if peer != from => Err(format!("node {sender} is peer {peer}, not {from}")),
            Some(_) | None => Ok(()),
        }
    }

    async fn let_in(&self, from: &str, info: NodeInfo, at_ms: u64) -> Reply {
        if info.peer_id != from {
            return Reply::Refused(format!("peer {from} cannot join as {}", info.peer_id));
        }
        let metrics = self.shared.metrics.borrow().clone();
        if !metrics.is_leader() {
            return Reply::NotLeader(metrics.leader.map(|(_, peer)| peer));
        }
        // The founder is node 1, because no node can register before it.
        if !self.local().nodes.contains_key(&self.shared.node_id) {
            return Reply::Timeout;
        }
        let peer_id = info.peer_id.clone();
        if let Some(reason) = self.lost_log(&peer_id, &metrics) {
            return Reply::Refused(reason);
        }
        let id = match self.write_here(info.register(at_ms), WAIT_MAX / 4).await {
            Attempt::Applied(Response::Node { id, .. }) => id,
            Attempt::Applied(Response::Refused(refusal)) => return Reply::Refused(refusal.to_string()),
            Attempt::Applied(other) => return Reply::Failed(format!("{other:?}")),
            Attempt::NotLeader(peer) => return Reply::NotLeader(peer),
            Attempt::Unknown => return Reply::Timeout,
            Attempt::Stopped(e) => return Reply::Failed(e),
        };
        if metrics.learners.contains(&id) {
            // The node joins because it has no log (any more), so its replication starts from the beginning.
            return match self.shared.raft.trigger().allow_next_revert(&id, true).await {
                Ok(Ok(())) => Reply::Joined(id),
                Ok(Err(e)) => {
                    tracing::debug!(node = id.0, error = %e, "not the leader any more");
                    Reply::Timeout
                }
                Err(e) => Reply::Failed(e.to_string()),
            };
        }
        let (done, added) = oneshot::channel();
        let request = AddLearner { id, peer_id, reply: done };
        if self.shared.joining.try_send(request).is_err() {
            return Reply::Timeout; // too many nodes join at once
        }
        match added.await {
            Ok(Ok(())) => Reply::Joined(id),
            Ok(Err(e)) => {
                tracing::info!(node = id.0, error = %e, "a node could not be added yet");
                Reply::Timeout
            }
            Err(_) => Reply::Failed("consensus has stopped".into()),
        }
    }

    /// A voter that asks to join has lost its log. With the log, votes and entries were lost that other
    /// members count on, so it must not come back under the same id.
    fn lost_log(&self, peer_id: &str, metrics: &Metrics) -> Option<String> {
        let local = self.local();
        let node = local.node_of_peer(peer_id)?;
        metrics.voters.contains(&node.id).then(|| {
            format!(
                "this peer is voter {} and has lost its raft.db; start with an empty data folder instead",
                node.id
            )
        })
    }

    async fn take_piece(&self, piece: SnapshotPiece) -> Reply {
        let SnapshotPiece { vote, last_log_id, membership, total, offset, data } = piece;
        let whole = {
            let mut incoming = self.shared.incoming.lock();
            if offset == 0 && total <= SNAPSHOT_BYTES_MAX as u64 {
                *incoming = Some(Incoming { vote, last_log_id, total, data: Vec::new() });
            }
            let Some(begun) = incoming.as_mut().filter(|begun| {
                (begun.vote, begun.last_log_id, begun.total) == (vote, last_log_id, total)
                    && begun.data.len() as u64 == offset
                    && offset + data.len() as u64 <= total
            }) else {
                return Reply::Refused("this piece of a snapshot does not follow".into());
            };
            begun.data.extend(data);
            if (begun.data.len() as u64) < total {
                return Reply::SnapshotPart;
            }
            incoming.take().map(|begun| begun.data).unwrap_or_default()
        };
        self.install(vote, last_log_id, membership, whole).await
    }

    async fn install(
        &self,
        vote: Vote,
        last_log_id: Option<LogId>,
        membership: Membership,
        data: Vec<u8>,
    ) -> Reply {
        let data = Arc::new(data);
        let checked = {
            let data = Arc::clone(&data);
            tokio::task::spawn_blocking(move || machine::check_snapshot(&data)).await
        };
        match checked {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Reply::Refused(format!("the snapshot is corrupt: {e}")),
            Err(e) => return Reply::Failed(e.to_string()),
        }
        let snapshot =
            Snapshot { meta: SnapshotMeta { last_log_id, last_membership: membership }, snapshot: data };
        let installed = self.shared.raft.install_full_snapshot(vote, snapshot).await;
        reply(installed, |response| Reply::Snapshot(response.vote))
    }
}

fn reply<T, E: std::fmt::Display>(result: Result<T, E>, wrap: impl FnOnce(T) -> Reply) -> Reply {
    match result {
        Ok(value) => wrap(value),
        Err(e) => Reply::Failed(e.to_string()),
    }
}

fn bounded(wait_ms: u64) -> Duration {
    Duration::from_millis(wait_ms).min(WAIT_MAX)
}
