//! openraft's outgoing requests over the [`crate::Transport`].
//!
//! Invariant: without a connection the answer is `Unreachable` at once, so that openraft backs off; a
//! pre-vote without an answer is an error, never a grant.

use crate::{
    machine::SnapshotBytes,
    rpc::{self, Reply, Request, SnapshotPiece},
    transport::{SharedTransport, TransportError},
    types::{Member, SNAPSHOT_CHUNK_BYTES, TypeConfig, Vote},
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
use std::{future::Future, time::Duration};

type Error = RPCError<TypeConfig>;

/// Creates a [`Link`] for each member.
#[derive(Clone)]
pub(crate) struct LinkFactory {
    me: NodeId,
    transport: SharedTransport,
}

impl LinkFactory {
    pub(crate) fn new(me: NodeId, transport: SharedTransport) -> Self {
        Self { me, transport }
    }
}

impl RaftNetworkFactory<TypeConfig> for LinkFactory {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> Link {
        Link { me: self.me, to: target, peer: node.peer_id.clone(), transport: self.transport.clone() }
    }
}

/// Sends requests to one member.
pub(crate) struct Link {
    me: NodeId,
    to: NodeId,
    peer: String,
    transport: SharedTransport,
}

impl Link {
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
            | Reply::Joined(_)
            | Reply::NotLeader(_)
            | Reply::Timeout
            | Reply::ReadFailed(_)) => Ok(reply),
        }
    }
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
        let request = Request::Append { to: self.to, rpc };
        let reply = self.call(RPCTypes::AppendEntries, &request, option.soft_ttl()).await?;
        if let Reply::Append(response) = reply { Ok(response) } else { Err(unexpected()) }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Error> {
        let request = Request::Vote { to: self.to, rpc };
        let reply = self.call(RPCTypes::Vote, &request, option.soft_ttl()).await?;
        if let Reply::Vote(response) = reply { Ok(response) } else { Err(unexpected()) }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Error> {
        let request = Request::PreVote { to: self.to, rpc };
        let reply = self.call(RPCTypes::Vote, &request, option.soft_ttl()).await?;
        if let Reply::Vote(response) = reply { Ok(response) } else { Err(unexpected()) }
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
                if let Reply::Snapshot(vote) = reply {
                    return Ok(SnapshotResponse::new(vote));
                } else if let Reply::SnapshotPart = reply
                    && end < bytes.len()
                {
                    offset = end;
                } else {
                    return Err(StreamingError::from(unexpected()));
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
