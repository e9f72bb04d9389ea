//! Messages between members.
//!
//! Invariant: a message names the node it is meant for, so that a node which took over an address never
//! answers for another. Sizes are bounded before anything is decoded.

use crate::{
    error::ReadError,
    types::{LogId, MESSAGE_BYTES_MAX, Membership, TypeConfig, Vote, kind},
};
use cluster_state::{Command, NodeId, Response, command::RegisterNode};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
    VoteResponse,
};
use serde::{Deserialize, Serialize};
use wire::WireError;

/// What a node tells about itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
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
}

impl NodeInfo {
    /// The command that registers this node.
    #[must_use]
    pub fn register(self, at_ms: u64) -> Command {
        Command::RegisterNode(RegisterNode {
            peer_id: self.peer_id,
            name: self.name,
            addrs: self.addrs,
            http: self.http,
            version: self.version,
            boot: self.boot,
            at_ms,
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Append { to: NodeId, rpc: AppendEntriesRequest<TypeConfig> },
    Vote { to: NodeId, rpc: VoteRequest<TypeConfig> },
    PreVote { to: NodeId, rpc: VoteRequest<TypeConfig> },
    Snapshot { to: NodeId, piece: SnapshotPiece },
    Transfer { to: NodeId, rpc: TransferLeaderRequest<TypeConfig> },
    Propose { command: Command, wait_ms: u64 },
    ReadIndex { wait_ms: u64 },
    Join { info: NodeInfo, at_ms: u64 },
}

/// Part of a snapshot; the pieces come in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotPiece {
    pub(crate) vote: Vote,
    pub(crate) last_log_id: Option<LogId>,
    pub(crate) membership: Membership,
    pub(crate) total: u64,
    pub(crate) offset: u64,
    pub(crate) data: Vec<u8>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Append(AppendEntriesResponse<TypeConfig>),
    Vote(VoteResponse<TypeConfig>),
    /// The piece is kept; go on.
    SnapshotPart,
    /// The whole is installed, or refused by a higher vote.
    Snapshot(Vote),
    Transfer(TransferLeaderResponse<TypeConfig>),
    Proposed(Response),
    /// Everything committed before the request is at or below this log index.
    ReadIndex(u64),
    Joined(NodeId),
    /// Ask this peer, if one is known.
    NotLeader(Option<String>),
    /// The request may or may not have had an effect.
    Timeout,
    ReadFailed(ReadError),
    Refused(String),
    Failed(String),
}

pub(crate) fn encode_request(request: &Request) -> Result<Vec<u8>, WireError> {
    wire::encode(kind::REQUEST, request, MESSAGE_BYTES_MAX)
}

pub(crate) fn decode_request(bytes: &[u8]) -> Result<Request, WireError> {
    wire::decode::<_, MESSAGE_BYTES_MAX>(kind::REQUEST, bytes)
}

pub(crate) fn encode_reply(reply: &Reply) -> Vec<u8> {
    wire::encode(kind::REPLY, reply, MESSAGE_BYTES_MAX).unwrap_or_else(|e| {
        let failed = Reply::Failed(e.to_string());
        wire::encode(kind::REPLY, &failed, MESSAGE_BYTES_MAX).unwrap_or_default()
    })
}

pub(crate) fn decode_reply(bytes: &[u8]) -> Result<Reply, WireError> {
    wire::decode::<_, MESSAGE_BYTES_MAX>(kind::REPLY, bytes)
}

#[cfg(test)]
mod tests;
