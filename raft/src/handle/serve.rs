//! Serves the requests of other members.
//!
//! Invariant: for any bytes the answer is bytes; a request that could not come from a member that follows the
//! protocol never reaches openraft.

use super::{
    RaftHandle,
    incoming::{Piece, Taken},
    plausible,
    propose::{Attempt, Changed},
    senders::{self, Receiver, SenderRefusal},
};
use crate::{
    machine,
    members::MemberChange,
    metrics::Metrics,
    rpc::{self, NodeInfo, Reply, Request, SnapshotPiece},
    types::{LogId, Membership, SnapshotMeta, TypeConfig, Vote},
};
use cluster_state::{
    Admission, ClusterState, Command, Proposal, Proposer, Response, command::RegisterNode, state_machine,
};
use openraft::{
    Snapshot,
    async_runtime::watch::WatchReceiver,
    raft::{AppendEntriesRequest, AppendEntriesResponse},
};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Maximum time for which a request may occupy this node.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(10);

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
        if let Err(reason) = self.authorise(from, &request) {
            return Reply::Refused(reason);
        }
        let raft = &self.shared.raft;
        let committed = self.committed_here();
        match request {
            Request::Append { rpc, .. } => match plausible::append(&rpc, committed.as_ref()) {
                Ok(()) => self.append(rpc).await,
                Err(e) => Reply::Refused(e),
            },
            Request::Vote { rpc, .. } => match plausible::vote(&rpc) {
                Ok(()) => reply(raft.vote(rpc).await, Reply::Vote),
                Err(e) => Reply::Refused(e),
            },
            Request::PreVote { rpc, .. } => match plausible::vote(&rpc) {
                Ok(()) => reply(raft.pre_vote(rpc).await, Reply::Vote),
                Err(e) => Reply::Refused(e),
            },
            Request::Transfer { rpc, .. } => match plausible::transfer(&rpc) {
                Ok(()) => reply(raft.handle_transfer_leader(rpc).await, Reply::Transfer),
                Err(e) => Reply::Refused(e),
            },
            Request::Snapshot { piece, .. } => match plausible::snapshot(&piece, committed.as_ref()) {
                Ok(()) => self.take_piece(from, piece).await,
                Err(e) => Reply::Refused(e),
            },
            Request::Propose { command, operator, wait_ms } => {
                if !self.shared.rates.lock().allow(from, Instant::now()) {
                    return Reply::Refused("too many proposals at once: come back later".into());
                }
                let command = match command {
                    // Whether a ticket has expired is told by one clock, which is not the sender's.
                    Command::RegisterNode(it) => RegisterNode { at_ms: now_ms(), ..it }.into(),
                    other => other,
                };
                let by = Proposer::peer(from.to_owned(), operator);
                let proposal = Arc::new(Proposal { by, command });
                match self.write_here(proposal, bounded(wait_ms)).await {
                    Attempt::Applied(response) => Reply::Proposed(response),
                    Attempt::NotLeader(peer) => Reply::NotLeader(peer),
                    Attempt::Unknown => Reply::Timeout,
                    Attempt::Stopped(e) => Reply::Failed(e),
                }
            }
            Request::ReadIndex { wait_ms } => match self.confirm_index(bounded(wait_ms)).await {
                Ok(index) => Reply::ReadIndex(index),
                Err(e) => Reply::ReadFailed(e),
            },
            Request::Join { info, admission } => self.let_in(from, info, admission).await,
            Request::Voters => Reply::Voters(self.shared.own_voters()),
        }
    }

    /// Refuses what the sender may not send. When the sender may be a voter that this node has not heard of,
    /// or may vote no longer, the known voters are asked, so that the next message of a voter is taken.
    fn authorise(&self, from: &str, request: &Request) -> Result<(), String> {
        let now = Instant::now();
        let (is_away, said) = self.shared.trust.view(now);
        let mut voters = said.followed.clone();
        voters.extend(self.shared.own_voters());
        let metrics = self.shared.metrics.borrow();
        let known = Receiver {
            me: self.shared.node_id,
            term: self.term(),
            voters: &voters,
            away: is_away.then_some(&said),
            leader: metrics.leader.as_ref().map(|(id, peer)| (*id, peer.as_str())),
            state: &self.local(),
        };
        match senders::authorise(from, request, &known) {
            Ok(()) => {
                self.shared.trust.heard_from(from, now);
                Ok(())
            }
            Err(SenderRefusal::Unknown(reason)) => {
                tracing::debug!(from, reason, "who votes now is asked");
                self.shared.trust.doubt(now);
                self.shared.unknown_sender.notify_one();
                Err(reason)
            }
            Err(SenderRefusal::Refused(reason)) => {
                tracing::debug!(from, reason, "a request was refused");
                Err(reason)
            }
        }
    }

    async fn append(&self, rpc: AppendEntriesRequest<TypeConfig>) -> Reply {
        let (vote, commit) = (rpc.vote, rpc.leader_commit);
        let answer = self.shared.raft.append_entries(rpc).await;
        match &answer {
            Ok(AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_)) => {
                let applied = self.shared.state.borrow().applied;
                self.shared.trust.followed(&vote, commit.as_ref(), applied, Instant::now());
            }
            Ok(AppendEntriesResponse::Conflict | AppendEntriesResponse::HigherVote(_)) | Err(_) => {}
        }
        reply(answer, Reply::Append)
    }

    /// The latest term that openraft knows, which is newer than the published metrics.
    fn term(&self) -> u64 {
        self.shared.raft.metrics().borrow_watched().current_term
    }

    fn committed_here(&self) -> Option<LogId> {
        self.shared.raft.metrics().borrow_watched().local_committed
    }

    async fn let_in(&self, from: &str, info: NodeInfo, admission: Admission) -> Reply {
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
        let command = info.join(admission, now_ms());
        if let Some(refusal) = self.not_admitted(&command).await {
            return Reply::Refused(refusal);
        }
        let by = Proposer::peer(from.to_owned(), false);
        let proposal = Arc::new(Proposal { by, command });
        let id = match self.write_here(proposal, WAIT_MAX / 4).await {
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
                Ok(Ok(())) => Reply::Joined(id, self.shared.own_voters()),
                Ok(Err(e)) => {
                    tracing::debug!(node = id.0, error = %e, "not the leader any more");
                    Reply::Timeout
                }
                Err(e) => Reply::Failed(e.to_string()),
            };
        }
        match self.change_member(id, MemberChange::AddLearner { peer_id }).await {
            Changed::Done => Reply::Joined(id, self.shared.own_voters()),
            Changed::NotYet(reason) => {
                tracing::info!(node = id.0, reason, "a node could not be added yet");
                Reply::Timeout
            }
            Changed::Unknown => Reply::Timeout,
            Changed::Stopped => Reply::Failed("consensus has stopped".into()),
        }
    }

    /// Why the peer that this command registers does not become a member. A refused peer costs no entry of
    /// the log. What this leader has not applied yet may admit the peer, so it catches up before it refuses.
    async fn not_admitted(&self, command: &Command) -> Option<String> {
        let Command::RegisterNode(register) = command else { return None };
        let judge = |state: &ClusterState| state_machine::admit(state, register).err();
        judge(&self.local())?;
        match self.linearizable_within(WAIT_MAX / 4).await {
            Ok(state) => judge(&state).map(|refusal| refusal.to_string()),
            // The log decides.
            Err(_) => None,
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

    async fn take_piece(&self, from: &str, piece: SnapshotPiece) -> Reply {
        let SnapshotPiece { vote, last_log_id, membership, total, offset, data } = piece;
        let own = self.shared.raft.metrics().borrow_watched().vote;
        if own > vote {
            return Reply::Snapshot(own);
        }
        let piece = Piece { from: from.to_owned(), vote, last_log_id, total, offset, data };
        let incoming = Arc::clone(&self.shared.incoming);
        let take = move || incoming.lock().take(piece, Instant::now());
        match tokio::task::spawn_blocking(take).await {
            Ok(Ok(Taken::Part)) => Reply::SnapshotPart,
            Ok(Ok(Taken::Whole(whole))) => self.install(vote, last_log_id, membership, whole).await,
            Ok(Ok(Taken::Refused)) => Reply::Refused("this piece of a snapshot does not follow".into()),
            Ok(Err(e)) => Reply::Failed(format!("a piece of a snapshot cannot be kept: {e}")),
            Err(e) => Reply::Failed(e.to_string()),
        }
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

/// This node's clock, in milliseconds since the epoch.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn bounded(wait_ms: u64) -> Duration {
    Duration::from_millis(wait_ms).min(WAIT_MAX)
}
