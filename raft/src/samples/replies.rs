//! Answers, and what only the tests of this crate need.

use super::log_id;
use crate::{
    error::ReadError,
    hook::{ApplyHook, Door, HookError},
    rpc::{Reply, Request, SnapshotPiece},
    types::Vote,
};
use cluster_state::{ClusterState, Command, NodeId, Refusal, Response, samples::hash};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use std::collections::BTreeMap;

/// A hook of tests that are not about who may propose what.
pub(crate) struct AnybodyMay;

impl ApplyHook for AnybodyMay {
    fn door(&self) -> Door {
        |_, _, _| Ok(())
    }

    fn on_apply(
        &mut self,
        _: &rusqlite::Transaction<'_>,
        _: u64,
        _: &Command,
        _: &Response,
        _: &ClusterState,
    ) -> Result<(), HookError> {
        Ok(())
    }
}

/// A message of consensus as voter 2 sends it.
pub(crate) fn of_voter_2(request: Request) -> Request {
    let (elected, candidate) = (Vote::new_committed(2, NodeId(2)), Vote::new(2, NodeId(2)));
    match request {
        Request::Append { to, rpc } => {
            Request::Append { to, rpc: AppendEntriesRequest { vote: elected, ..rpc } }
        }
        Request::Vote { to, rpc } => Request::Vote { to, rpc: VoteRequest { vote: candidate, ..rpc } },
        Request::PreVote { to, rpc } => Request::PreVote { to, rpc: VoteRequest { vote: candidate, ..rpc } },
        Request::Snapshot { to, piece } => {
            Request::Snapshot { to, piece: SnapshotPiece { vote: elected, ..piece } }
        }
        Request::Transfer { to, rpc } => {
            Request::Transfer { to, rpc: TransferLeaderRequest::new(elected, to, rpc.last_log_id().copied()) }
        }
        other @ (Request::Propose { .. }
        | Request::ReadIndex { .. }
        | Request::Join { .. }
        | Request::Voters) => other,
    }
}

/// One value of each variant, in the order of the enum.
pub(crate) fn replies() -> Vec<Reply> {
    vec![
        Reply::Append(AppendEntriesResponse::HigherVote(Vote::new(3, NodeId(2)))),
        Reply::Vote(VoteResponse::new(Vote::new(2, NodeId(1)), Some(log_id(1, 2)), true)),
        Reply::SnapshotPart,
        Reply::Snapshot(Vote::new_committed(1, NodeId(1))),
        Reply::Transfer(Ok(())),
        Reply::Proposed(Response::Refused(Refusal::NotCandidate(hash(1)))),
        Reply::ReadIndex(8),
        Reply::Joined(NodeId(9), BTreeMap::from([(NodeId(1), "peer-1".into())])),
        Reply::NotLeader(Some("peer".into())),
        Reply::Timeout,
        Reply::ReadFailed(ReadError::NoLeader),
        Reply::Refused("r".into()),
        Reply::Failed("f".into()),
        Reply::Voters(BTreeMap::from([(NodeId(2), "peer-2".into())])),
    ]
}
