//! Who may send which request.
//!
//! Invariant: every request passes [`authorise`] before anything acts on it, and each variant has its rule
//! here. Messages of consensus come from known voters, or from the leader that this node follows; a node that
//! was away follows only whom others name ([`crate::trust`]). Everything else comes from members, except the
//! wish to become one.

use crate::{
    rpc::Request,
    trust::VotersSaid,
    types::{TERM_STEP_MAX, TypeConfig, Vote},
};
use cluster_state::{ClusterState, NodeId};
use openraft::raft::VoteRequest;
use std::collections::BTreeMap;

/// What a node knows when a request arrives.
pub(super) struct Receiver<'a> {
    pub(super) me: NodeId,
    /// Latest term that this node knows.
    pub(super) term: u64,
    /// Peer ids of the voters.
    pub(super) voters: &'a BTreeMap<NodeId, String>,
    /// What others say about the voters, if this node is away: its own log does not count then.
    pub(super) away: Option<&'a VotersSaid>,
    /// The leader that this node follows, which may be a voter no longer.
    pub(super) leader: Option<(NodeId, &'a str)>,
    pub(super) state: &'a ClusterState,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SenderRefusal {
    /// The sender may be a voter that this node has not heard of yet, or one that votes no longer.
    Unknown(String),
    /// The sender may not send this.
    Refused(String),
}

/// Refuses a request that its sender may not make. `from` is the peer id that the connection has proved.
pub(super) fn authorise(from: &str, request: &Request, known: &Receiver<'_>) -> Result<(), SenderRefusal> {
    match request {
        Request::Append { to, rpc } => elected(from, *to, &rpc.vote, known),
        Request::Snapshot { to, piece } => elected(from, *to, &piece.vote, known),
        Request::Transfer { to, rpc } => elected(from, *to, rpc.from_leader(), known),
        Request::Vote { to, rpc } | Request::PreVote { to, rpc } => candidate(from, *to, rpc, known),
        Request::Propose { .. } | Request::ReadIndex { .. } | Request::Voters => member(from, known),
        Request::Join { info, .. } if info.peer_id == from => Ok(()),
        Request::Join { info, .. } => {
            Err(SenderRefusal::Refused(format!("peer {from} cannot join as {}", info.peer_id)))
        }
    }
}

/// A message of a leader.
fn elected(from: &str, to: NodeId, vote: &Vote, known: &Receiver<'_>) -> Result<(), SenderRefusal> {
    let sender = vote.leader_id.node_id;
    addressed(to, sender, known)?;
    step(vote, known)?;
    if known.away.is_none() && known.leader == Some((sender, from)) {
        return Ok(());
    }
    voter(from, sender, known)?;
    match known.away {
        Some(said) if said.followed.get(&sender).is_none_or(|peer| peer != from) => Err(
            SenderRefusal::Unknown(format!("node {sender} is not followed before others say that it votes")),
        ),
        Some(_) | None => Ok(()),
    }
}

/// A message of a candidate.
fn candidate(
    from: &str,
    to: NodeId,
    rpc: &VoteRequest<TypeConfig>,
    known: &Receiver<'_>,
) -> Result<(), SenderRefusal> {
    let sender = rpc.vote.leader_id.node_id;
    addressed(to, sender, known)?;
    step(&rpc.vote, known)?;
    if known.away.and_then(|said| said.denied.get(&sender)).is_some_and(|peer| peer == from) {
        return Err(SenderRefusal::Unknown(format!("node {sender} votes no longer, as others say")));
    }
    voter(from, sender, known)
}

fn addressed(to: NodeId, sender: NodeId, known: &Receiver<'_>) -> Result<(), SenderRefusal> {
    if to != known.me {
        return Err(SenderRefusal::Refused(format!("this is node {}, not {to}", known.me)));
    }
    if sender == known.me {
        return Err(SenderRefusal::Refused(format!("node {sender} does not write to itself")));
    }
    Ok(())
}

fn step(vote: &Vote, known: &Receiver<'_>) -> Result<(), SenderRefusal> {
    let term = vote.leader_id.term;
    if term.saturating_sub(known.term) > TERM_STEP_MAX {
        return Err(SenderRefusal::Refused(format!("term {term} is out of reach of term {}", known.term)));
    }
    Ok(())
}

fn voter(from: &str, sender: NodeId, known: &Receiver<'_>) -> Result<(), SenderRefusal> {
    match known.voters.get(&sender) {
        Some(peer) if peer == from => Ok(()),
        Some(peer) => Err(SenderRefusal::Refused(format!("node {sender} is peer {peer}, not {from}"))),
        None => Err(SenderRefusal::Unknown(format!("node {sender} is no voter that this node knows"))),
    }
}

fn member(from: &str, known: &Receiver<'_>) -> Result<(), SenderRefusal> {
    match known.state.node_of_peer(from) {
        Some(_) => Ok(()),
        None => Err(SenderRefusal::Refused(format!("peer {from} is no member of this cluster"))),
    }
}

#[cfg(test)]
mod tests;
