//! Checks whether a request could come from a member that follows the protocol.
//!
//! Invariant: a request that passes has ids that arithmetic and SQLite can hold, entries without a gap that
//! fit the log, and votes of the right kind. openraft trusts its peers; this module does not.

use crate::{
    rpc::SnapshotPiece,
    types::{ENTRY_BYTES_MAX, ID_MAX, LogId, Member, TypeConfig, Vote, kind},
};
use cluster_state::NodeId;
use openraft::{
    EntryPayload,
    raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest},
};

/// Checks that the entries have no gap, are not ahead of their leader's vote, and do not contradict what this
/// node knows to be committed.
pub(crate) fn append(
    rpc: &AppendEntriesRequest<TypeConfig>,
    committed: Option<&LogId>,
) -> Result<(), String> {
    leader(&rpc.vote)?;
    ids(rpc.prev_log_id.as_ref().into_iter().chain(&rpc.leader_commit), &rpc.vote)?;
    let mut before = rpc.prev_log_id;
    for entry in &rpc.entries {
        let id = entry.log_id;
        ids([&id], &rpc.vote)?;
        let follows = match &before {
            Some(before) => before.index.checked_add(1) == Some(id.index) && before.leader_id <= id.leader_id,
            None => id.index == 0,
        };
        if !follows {
            return Err(format!("entry {id} is out of place"));
        }
        if let EntryPayload::Membership(members) = &entry.payload {
            membership(members)?;
        }
        before = Some(id);
    }
    let named = rpc.prev_log_id.iter().copied().chain(rpc.entries.iter().map(|entry| entry.log_id));
    for id in named {
        consistent(&id, committed)?;
    }
    fit(rpc)
}

/// Checks a candidate's request for a vote.
pub(crate) fn vote(rpc: &VoteRequest<TypeConfig>) -> Result<(), String> {
    if rpc.vote.committed {
        return Err("a leader does not ask for votes".into());
    }
    ids(&rpc.last_log_id, &rpc.vote)
}

/// Checks a request of a leader that hands over.
pub(crate) fn transfer(rpc: &TransferLeaderRequest<TypeConfig>) -> Result<(), String> {
    leader(rpc.from_leader())?;
    ids(rpc.last_log_id(), rpc.from_leader())
}

/// Checks what a leader says about its snapshot. openraft asserts that a snapshot which is newer than what is
/// committed here has a greater index, too.
pub(crate) fn snapshot(piece: &SnapshotPiece, committed: Option<&LogId>) -> Result<(), String> {
    leader(&piece.vote)?;
    let Some(last) = &piece.last_log_id else { return Err("the snapshot is of nothing".into()) };
    ids([last], &piece.vote)?;
    consistent(last, committed)?;
    if piece.membership.log_id().as_ref().is_some_and(|id| id > last) {
        return Err("the snapshot is older than its membership".into());
    }
    membership(piece.membership.membership())
}

fn leader(vote: &Vote) -> Result<(), String> {
    if vote.committed { Ok(()) } else { Err("the sender was not elected".into()) }
}

/// Checks ids that a sender with this vote names: they are of its term, or of an earlier one.
fn ids<'a>(ids: impl IntoIterator<Item = &'a LogId>, vote: &Vote) -> Result<(), String> {
    let sane = |id: &LogId| id.index <= ID_MAX && id.leader_id <= vote.leader_id;
    ids.into_iter().find(|id| !sane(id)).map_or(Ok(()), |id| Err(format!("log id {id}")))
}

/// Checks that an entry at or below the committed index is not of a later leader: openraft takes every such
/// entry as the one that it has, and would otherwise cut off committed entries.
fn consistent(id: &LogId, committed: Option<&LogId>) -> Result<(), String> {
    match committed {
        Some(committed) if id.index <= committed.index && id > committed => {
            Err(format!("log id {id} contradicts {committed}, which is committed"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks that the members can hold an election: openraft expects a node for each voter.
fn membership(membership: &openraft::Membership<NodeId, Member>) -> Result<(), String> {
    let configs = membership.get_joint_config();
    let has_voters = !configs.is_empty() && configs.iter().all(|voters| !voters.is_empty());
    let all_known = configs.iter().flatten().all(|voter| membership.get_node(voter).is_some());
    if has_voters && all_known && configs.len() <= 2 {
        Ok(())
    } else {
        Err("a membership without voters, or with an unknown one".into())
    }
}

/// Checks the sizes, because an entry that is too large for the log would stop consensus.
fn fit(rpc: &AppendEntriesRequest<TypeConfig>) -> Result<(), String> {
    for entry in &rpc.entries {
        wire::encode(kind::ENTRY, entry, ENTRY_BYTES_MAX)
            .map_err(|e| format!("entry {}: {e}", entry.log_id))?;
    }
    Ok(())
}
