//! One value of everything that members send, for tests.

use crate::{
    error::ReadError,
    hook::{ApplyHook, HookError},
    rpc::{NodeInfo, Reply, Request, SnapshotPiece},
    types::{Entry, LogId, Member, Membership, TypeConfig, Vote},
};
use cluster_state::{
    Admission, ClusterState, Command, NodeId, Place, Proposal, Proposer, Refusal, Response,
    command::SetLeader,
    samples::{commands, hash},
};
use openraft::{
    EntryPayload,
    raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse},
};
use std::collections::BTreeMap;

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    openraft::testing::log_id::<TypeConfig>(term, NodeId(1), index)
}

pub(crate) fn membership() -> Membership {
    let members = BTreeMap::from([(NodeId(1), Member { peer_id: "peer-1".into() })]);
    let membership = openraft::Membership::new(vec![[NodeId(1)].into()], members).unwrap();
    Membership::new(Some(log_id(1, 0)), membership)
}

/// A hook of tests that are not about who may propose what.
pub(crate) struct AnybodyMay;

impl ApplyHook for AnybodyMay {
    fn authorise(&self, _: &Proposal, _: Place, _: &ClusterState) -> Result<(), Refusal> {
        Ok(())
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

/// A proposal of peer 1.
pub(crate) fn proposal(command: Command) -> Proposal {
    Proposal { by: Proposer { peer_id: "peer-1".into(), operator: false }, command }
}

pub(crate) fn entries() -> Vec<Entry> {
    vec![
        Entry { log_id: log_id(1, 3), payload: EntryPayload::Blank },
        Entry {
            log_id: log_id(1, 4),
            payload: EntryPayload::Normal(proposal(Command::SetLeader(SetLeader {
                node: NodeId(1),
                term: 2,
                at_ms: 3,
            }))),
        },
        Entry { log_id: log_id(1, 5), payload: EntryPayload::Membership(membership().membership().clone()) },
    ]
}

pub(crate) fn append() -> AppendEntriesRequest<TypeConfig> {
    AppendEntriesRequest {
        vote: Vote::new_committed(1, NodeId(1)),
        prev_log_id: Some(log_id(1, 2)),
        entries: entries(),
        leader_commit: Some(log_id(1, 2)),
    }
}

pub(crate) fn piece() -> SnapshotPiece {
    SnapshotPiece {
        vote: Vote::new_committed(1, NodeId(1)),
        last_log_id: Some(log_id(1, 2)),
        membership: membership(),
        total: 3,
        offset: 0,
        data: vec![1, 2, 3],
    }
}

/// One value of each variant, in the order of the enum.
pub(crate) fn requests() -> Vec<Request> {
    let info = NodeInfo {
        peer_id: "peer-2".into(),
        name: "host".into(),
        addrs: vec!["/a".into()],
        http: "h".into(),
        version: "v".into(),
        boot: 4,
    };
    vec![
        Request::Append { to: NodeId(1), rpc: append() },
        Request::Vote { to: NodeId(1), rpc: VoteRequest::new(Vote::new(2, NodeId(1)), Some(log_id(1, 2))) },
        Request::PreVote { to: NodeId(1), rpc: VoteRequest::new(Vote::new(2, NodeId(1)), None) },
        Request::Snapshot { to: NodeId(1), piece: piece() },
        Request::Transfer {
            to: NodeId(1),
            rpc: TransferLeaderRequest::new(Vote::new_committed(1, NodeId(1)), NodeId(1), Some(log_id(1, 2))),
        },
        Request::Propose { command: commands().swap_remove(2), operator: true, wait_ms: 5 },
        Request::ReadIndex { wait_ms: 6 },
        Request::Join { info, admission: Admission::Ticket([7; 32]) },
        Request::Voters,
    ]
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
