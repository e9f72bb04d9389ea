//! openraft's outgoing requests over the [`crate::Transport`].
//!
//! Invariant: without a connection the answer is `Unreachable` at once, so that openraft backs off; a
//! pre-vote without an answer is an error, never a grant.

use crate::{
    machine::SnapshotBytes,
    rpc::{self, Reply, Request, SnapshotPiece},
    transport::{SharedTransport, TransportError},
    types::{ID_MAX, LogId, Member, SNAPSHOT_CHUNK_BYTES, TERM_STEP_MAX, TypeConfig, Vote},
};
use cluster_state::NodeId;
use openraft::{
    OptionalSend, RPCTypes,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{RPCOption, RaftNetworkFactory, v2::RaftNetworkV2},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
    type_config::alias::SnapshotOf,
};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

type Error = RPCError<TypeConfig>;

/// Creates a [`Link`] for each member.
#[derive(Clone)]
pub(crate) struct LinkFactory {
    me: NodeId,
    transport: SharedTransport,
    /// Latest term that this node knows.
    term: Arc<AtomicU64>,
}

impl LinkFactory {
    pub(crate) fn new(me: NodeId, transport: SharedTransport, term: Arc<AtomicU64>) -> Self {
        Self { me, transport, term }
    }
}

impl RaftNetworkFactory<TypeConfig> for LinkFactory {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> Link {
        Link {
            me: self.me,
            to: target,
            peer: node.peer_id.clone(),
            transport: self.transport.clone(),
            term: Arc::clone(&self.term),
        }
    }
}

/// Sends requests to one member.
pub(crate) struct Link {
    me: NodeId,
    to: NodeId,
    peer: String,
    transport: SharedTransport,
    term: Arc<AtomicU64>,
}

impl Link {
    fn term(&self) -> u64 {
        self.term.load(Ordering::Relaxed)
    }

    async fn call(&self, action: RPCTypes, request: &Request, timeout: Duration) -> Result<Reply, Error> {
        let bytes = rpc::encode_request(request).map_err(|e| NetworkError::new(&e))?;
        let answer = self.transport.call(&self.peer, bytes, timeout).await;
        let bytes = answer.map_err(|e| match e {
            TransportError::Unreachable(_) => Error::Unreachable(Unreachable::new(&e)),
            TransportError::Failed(_) => Error::Network(NetworkError::new(&e)),
            TransportError::Timeout => {
                Error::Timeout(Timeout { action, id: self.me, target: self.to, timeout })
            }
        })?;
        match rpc::decode_reply(&bytes).map_err(|e| NetworkError::new(&e))? {
            // Consensus does not run there (yet, or any more).
            Reply::Failed(e) | Reply::Refused(e) => Err(Error::Unreachable(Unreachable::from_string(e))),
            reply @ (Reply::Append(_)
            | Reply::Vote(_)
            | Reply::SnapshotPart
            | Reply::Snapshot(_)
            | Reply::Transfer(_)
            | Reply::Proposed(_)
            | Reply::ReadIndex(_)
            | Reply::Joined(..)
            | Reply::Voters(_)
            | Reply::NotLeader(_)
            | Reply::Timeout
            | Reply::ReadFailed(_)) => Ok(reply),
        }
    }
}

/// Whether openraft may see this answer to entries that end with `sent`: the term is within reach of `term`,
/// and the follower confirms nothing that it was not sent.
fn plausible_append(response: &AppendEntriesResponse<TypeConfig>, sent: Option<&LogId>, term: u64) -> bool {
    match response {
        AppendEntriesResponse::Success | AppendEntriesResponse::Conflict => true,
        AppendEntriesResponse::PartialSuccess(matched) => matched.as_ref() <= sent,
        AppendEntriesResponse::HigherVote(vote) => in_reach(vote, term),
    }
}

fn in_reach(vote: &Vote, term: u64) -> bool {
    vote.leader_id.term.saturating_sub(term) <= TERM_STEP_MAX
}

/// Whether openraft may see this answer to a request for a vote.
fn plausible_vote(response: &VoteResponse<TypeConfig>, term: u64) -> bool {
    let last = response.last_log_id.as_ref();
    in_reach(&response.vote, term) && last.is_none_or(|id| id.index <= ID_MAX && id.leader_id.term <= ID_MAX)
}

fn unexpected() -> Error {
    Error::Network(NetworkError::from_string("the answer is to another question"))
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotBytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Error> {
        let sent = rpc.entries.last().map(|entry| entry.log_id).or(rpc.prev_log_id);
        let request = Request::Append { to: self.to, rpc };
        let reply = self.call(RPCTypes::AppendEntries, &request, option.soft_ttl()).await?;
        if let Reply::Append(response) = reply
            && plausible_append(&response, sent.as_ref(), self.term())
        {
            return Ok(response);
        }
        Err(unexpected())
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Error> {
        let request = Request::Vote { to: self.to, rpc };
        let reply = self.call(RPCTypes::Vote, &request, option.soft_ttl()).await?;
        if let Reply::Vote(response) = reply
            && plausible_vote(&response, self.term())
        {
            return Ok(response);
        }
        Err(unexpected())
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Error> {
        let request = Request::PreVote { to: self.to, rpc };
        let reply = self.call(RPCTypes::Vote, &request, option.soft_ttl()).await?;
        if let Reply::Vote(response) = reply
            && plausible_vote(&response, self.term())
        {
            return Ok(response);
        }
        Err(unexpected())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotBytes>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let send = async {
            let bytes = &snapshot.snapshot;
            let mut offset = 0;
            loop {
                let end = (offset + SNAPSHOT_CHUNK_BYTES).min(bytes.len());
                let piece = SnapshotPiece {
                    vote,
                    last_log_id: snapshot.meta.last_log_id,
                    membership: snapshot.meta.last_membership.clone(),
                    total: bytes.len() as u64,
                    offset: offset as u64,
                    data: bytes[offset..end].to_vec(),
                };
                let request = Request::Snapshot { to: self.to, piece };
                let reply = self.call(RPCTypes::InstallSnapshot, &request, option.soft_ttl()).await?;
                match reply {
                    Reply::Snapshot(vote) if in_reach(&vote, self.term()) => {
                        return Ok(SnapshotResponse::new(vote));
                    }
                    Reply::SnapshotPart if end < bytes.len() => offset = end,
                    _ => return Err(StreamingError::from(unexpected())),
                }
            }
        };
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = send => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Error> {
        let request = Request::Transfer { to: self.to, rpc };
        let reply = self.call(RPCTypes::TransferLeader, &request, option.soft_ttl()).await?;
        if let Reply::Transfer(response) = reply { Ok(response) } else { Err(unexpected()) }
    }
}
