//! One value of everything that members send, for tests.

#[cfg(test)]
mod replies;
mod senders;

#[cfg(test)]
pub(crate) use replies::{AnybodyMay, of_voter_2, replies};
pub use senders::{answer, frames, proposal_frame};
#[cfg(test)]
pub(crate) use senders::{may_send, sent};

use crate::{
    rpc::{NodeInfo, Request, SnapshotPiece},
    types::{Entry, LogId, Member, Membership, TypeConfig, Vote},
};
use cluster_state::{Admission, Command, NodeId, Proposal, Proposer, command::SetLeader, samples::commands};
use openraft::{
    EntryPayload,
    raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest},
};
use std::{collections::BTreeMap, sync::Arc};

pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    openraft::testing::log_id::<TypeConfig>(term, NodeId(1), index)
}

pub(crate) fn membership() -> Membership {
    let members = BTreeMap::from([(NodeId(1), Member { peer_id: "peer-1".into() })]);
    let membership =
        openraft::Membership::new(vec![[NodeId(1)].into()], members).expect("one voter that is a member");
    Membership::new(Some(log_id(1, 0)), membership)
}

/// A proposal of peer 1.
pub(crate) fn proposal(command: Command) -> Arc<Proposal> {
    Arc::new(Proposal { by: Proposer::peer("peer-1".into(), false), command })
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
        Request::Join { info, admission: Admission::by_ticket(&[7; 32], "peer-2") },
        Request::Voters,
    ]
}
