//! Checks whether a request could come from a member that follows the protocol.
//!
//! Invariant: a request that passes has ids that arithmetic and SQLite can hold, entries without a gap that
//! fit the log, and votes of the right kind. openraft trusts its peers; this module does not.

use crate::types::{ENTRY_BYTES_MAX, LogId, TypeConfig, Vote, kind};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};

/// Largest number that is accepted in an id. No cluster gets that far; beyond it, adding one could overflow.
const ID_MAX: u64 = 1 << 62;

/// Checks that the entries have no gap and are not ahead of their leader's vote.
pub(crate) fn append(rpc: &AppendEntriesRequest<TypeConfig>) -> Result<(), String> {
    leader(&rpc.vote)?;
    ids(rpc.prev_log_id.as_ref().into_iter().chain(&rpc.leader_commit))?;
    let mut before = rpc.prev_log_id;
    for entry in &rpc.entries {
        let id = entry.log_id;
        ids([&id])?;
        let follows = match &before {
            Some(before) => before.index.checked_add(1) == Some(id.index) && before.leader_id <= id.leader_id,
            None => id.index == 0,
        };
        if !follows || id.leader_id > rpc.vote.leader_id {
            return Err(format!("entry {id} is out of place"));
        }
        before = Some(id);
    }
    fit(rpc)
}

/// Checks a candidate's request for a vote.
pub(crate) fn vote(rpc: &VoteRequest<TypeConfig>) -> Result<(), String> {
    if rpc.vote.committed {
        return Err("a leader does not ask for votes".into());
    }
    term(&rpc.vote)?;
    ids(&rpc.last_log_id)
}

/// Checks a request of a leader that hands over.
pub(crate) fn transfer(rpc: &TransferLeaderRequest<TypeConfig>) -> Result<(), String> {
    leader(rpc.from_leader())?;
    ids(rpc.last_log_id())
}

/// Checks what a leader says about its snapshot.
pub(crate) fn snapshot(vote: &Vote, last_log_id: Option<&LogId>) -> Result<(), String> {
    leader(vote)?;
    ids(last_log_id)?;
    match last_log_id {
        Some(id) if id.leader_id <= vote.leader_id => Ok(()),
        Some(_) | None => Err("the snapshot is ahead of its leader".into()),
    }
}

fn leader(vote: &Vote) -> Result<(), String> {
    if !vote.committed {
        return Err("the sender was not elected".into());
    }
    term(vote)
}

fn term(vote: &Vote) -> Result<(), String> {
    if vote.leader_id.term > ID_MAX {
        return Err(format!("term {}", vote.leader_id.term));
    }
    Ok(())
}

fn ids<'a>(ids: impl IntoIterator<Item = &'a LogId>) -> Result<(), String> {
    let sane = |id: &LogId| id.index <= ID_MAX && id.leader_id.term <= ID_MAX;
    ids.into_iter().find(|id| !sane(id)).map_or(Ok(()), |id| Err(format!("log id {id}")))
}

/// Checks the sizes, because an entry that is too large for the log would stop consensus.
fn fit(rpc: &AppendEntriesRequest<TypeConfig>) -> Result<(), String> {
    for entry in &rpc.entries {
        wire::encode(kind::ENTRY, entry, ENTRY_BYTES_MAX)
            .map_err(|e| format!("entry {}: {e}", entry.log_id))?;
    }
    Ok(())
}
