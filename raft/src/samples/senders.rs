//! Who may send which request, as a table that tests of every size check.

use super::{log_id, requests};
use crate::{
    rpc::{self, NodeInfo, Request, SnapshotPiece},
    types::{Membership, TypeConfig, Vote},
};
use cluster_state::{Command, NodeId};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};

/// The request as node `sender` would send it to node `to` in `term`.
pub(crate) fn sent(request: Request, sender: NodeId, to: NodeId, term: u64) -> Request {
    let elected = Vote::new_committed(term, sender);
    match request {
        Request::Append { mut rpc, .. } => {
            rpc.vote = elected;
            Request::Append { to, rpc }
        }
        Request::Vote { .. } => Request::Vote { to, rpc: VoteRequest::new(Vote::new(term, sender), None) },
        Request::PreVote { .. } => {
            Request::PreVote { to, rpc: VoteRequest::new(Vote::new(term, sender), None) }
        }
        Request::Snapshot { mut piece, .. } => {
            piece.vote = elected;
            Request::Snapshot { to, piece }
        }
        Request::Transfer { .. } => {
            Request::Transfer { to, rpc: TransferLeaderRequest::new(elected, to, None) }
        }
        Request::Join { info, admission } => {
            let info = NodeInfo { peer_id: "stranger".into(), ..info };
            Request::Join { info, admission }
        }
        other @ (Request::Propose { .. } | Request::ReadIndex { .. } | Request::Voters) => other,
    }
}

/// Who may send this, with an `x` for those that may: a stranger, a member without a vote, another voter, the
/// voter that the message names.
pub(crate) fn may_send(request: &Request) -> &'static str {
    match request {
        Request::Append { .. }
        | Request::Vote { .. }
        | Request::PreVote { .. }
        | Request::Snapshot { .. }
        | Request::Transfer { .. } => "...x",
        Request::Propose { .. } | Request::ReadIndex { .. } | Request::Voters => ".xxx",
        Request::Join { .. } => "x...",
    }
}

/// A frame of each request as node `sender` sends it to node `to`, with its name and its line of the table of
/// senders. What is of consensus is of a term that is over, so it changes nothing where it is taken; peer
/// `peer_id` asks to join with a ticket that there never was.
pub fn frames(sender: NodeId, to: NodeId, peer_id: &str) -> Vec<(String, &'static str, Vec<u8>)> {
    let frame = |request: Request| {
        let request = match sent(request, sender, to, 0) {
            Request::Append { to, rpc } => {
                let empty = AppendEntriesRequest::<TypeConfig> {
                    prev_log_id: None,
                    entries: Vec::new(),
                    leader_commit: None,
                    ..rpc
                };
                Request::Append { to, rpc: empty }
            }
            Request::Snapshot { to, piece } => {
                let membership = Membership::new(Some(log_id(0, 0)), piece.membership.membership().clone());
                let piece = SnapshotPiece { last_log_id: Some(log_id(0, 0)), membership, ..piece };
                Request::Snapshot { to, piece }
            }
            Request::Join { info, admission } => {
                Request::Join { info: NodeInfo { peer_id: peer_id.to_owned(), ..info }, admission }
            }
            other @ (Request::Vote { .. }
            | Request::PreVote { .. }
            | Request::Transfer { .. }
            | Request::Propose { .. }
            | Request::ReadIndex { .. }
            | Request::Voters) => other,
        };
        let name: String = format!("{request:?}").chars().take_while(|c| c.is_alphanumeric()).collect();
        (name, may_send(&request), rpc::encode_request(&request).expect("it is small"))
    };
    requests().into_iter().map(frame).collect()
}

/// The frame that proposes a command.
pub fn proposal_frame(command: Command, operator: bool) -> Vec<u8> {
    let request = Request::Propose { command, operator, wait_ms: 5000 };
    rpc::encode_request(&request).expect("it is small")
}

/// An answer as a text, as `Debug` shows it.
///
/// # Errors
/// Returns what is wrong with the frame.
pub fn answer(frame: &[u8]) -> Result<String, wire::WireError> {
    rpc::decode_reply(frame).map(|reply| format!("{reply:?}"))
}
