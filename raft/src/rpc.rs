//! The messages between members.
//!
//! Invariant: a message names the node that it is meant for, so that a node which has taken over an address
//! never answers for another. Sizes are checked before anything is decoded.

use crate::{
    error::ReadError,
    types::{LogId, MESSAGE_BYTES_MAX, Membership, TypeConfig, Vote, kind},
};
use cluster_state::{Admission, Command, NodeId, Response, command::RegisterNode};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
    VoteResponse,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wire::WireError;

/// What a node tells the cluster about itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
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
}

impl NodeInfo {
    /// The command that registers this node, which is a member already or founds the cluster.
    #[must_use]
    pub fn register(self, at_ms: u64) -> Command {
        self.join(Admission::Known, at_ms)
    }

    /// The command that registers this node, which shows `admission`.
    pub(crate) fn join(self, admission: Admission, at_ms: u64) -> Command {
        Command::RegisterNode(RegisterNode {
            peer_id: self.peer_id,
            name: self.name,
            addrs: self.addrs,
            http: self.http,
            version: self.version,
            boot: self.boot,
            admission,
            at_ms,
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Append {
        to: NodeId,
        rpc: AppendEntriesRequest<TypeConfig>,
    },
    Vote {
        to: NodeId,
        rpc: VoteRequest<TypeConfig>,
    },
    PreVote {
        to: NodeId,
        rpc: VoteRequest<TypeConfig>,
    },
    Snapshot {
        to: NodeId,
        piece: SnapshotPiece,
    },
    Transfer {
        to: NodeId,
        rpc: TransferLeaderRequest<TypeConfig>,
    },
    /// `operator`: whether an operator asked the sender, and proved it there.
    Propose {
        command: Command,
        operator: bool,
        wait_ms: u64,
    },
    ReadIndex {
        wait_ms: u64,
    },
    Join {
        info: NodeInfo,
        admission: Admission,
    },
    /// Asks which voters the receiver knows.
    Voters,
}

/// Voters and their peer ids.
pub type Voters = BTreeMap<NodeId, String>;

/// One piece of a snapshot; the pieces arrive in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotPiece {
    pub(crate) vote: Vote,
    pub(crate) last_log_id: Option<LogId>,
    pub(crate) membership: Membership,
    pub(crate) total: u64,
    pub(crate) offset: u64,
    #[serde(with = "wire::bytes")]
    pub(crate) data: Vec<u8>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Append(AppendEntriesResponse<TypeConfig>),
    Vote(VoteResponse<TypeConfig>),
    /// The piece is kept; the sender should continue.
    SnapshotPart,
    /// The whole snapshot is installed, or a higher vote refused it.
    Snapshot(Vote),
    Transfer(TransferLeaderResponse<TypeConfig>),
    Proposed(Response),
    /// Every entry that was committed before the request is at or below this log index.
    ReadIndex(u64),
    /// The id of the new member, and the voters that it should listen to.
    Joined(NodeId, Voters),
    /// This node does not lead; the sender should ask this peer, if one is known.
    NotLeader(Option<String>),
    /// The request may or may not have had an effect.
    Timeout,
    ReadFailed(ReadError),
    Refused(String),
    Failed(String),
    Voters(Voters),
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
