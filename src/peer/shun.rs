//! What follows when a member said two things under one number: everybody is told, and nobody deals with it.
//!
//! It ends when an operator pardons the member.
//!
//! Invariant: whom this node shuns, it has proof against, and its peers get the proof by gossip, and with the
//! next answer to what they lack.

use super::{
    context::{Context, EVENTS_TOPIC, blocking},
    exchange::refuse,
};
use crate::events::{
    LogError,
    envelope::EventRefusal,
    equivocation::Equivocation,
    log::{Accused, EventLog, Shunned},
};
use cluster_state::{ClusterState, NodeId, Pardon};
use p2p::{Exclusion, Judgement};
use std::{collections::BTreeMap, sync::Arc};

/// What a node is told that is shunned.
pub(crate) const WHY: &str = "it signed two events under one number";

/// Tells the others of proofs that were found here.
pub(super) fn tell(node: &Context, proofs: &[Equivocation]) {
    for proof in proofs {
        // Without peers there is no receiver; whoever asks what it lacks gets the proof as well.
        let told = proof.encode().map(|message| node.p2p.publish(EVENTS_TOPIC, message));
        tracing::debug!(?told, "a proof was gossiped");
    }
}

/// Judges a proof that the peer `from` gossiped. A good one that is news goes on to other peers, and to the
/// log.
pub(super) fn judge(node: &Context, from: &str, message: &[u8]) -> (Judgement, Option<Equivocation>) {
    let state = node.raft.local();
    let is_member = |peer: &str| state.node_of_peer(peer).is_some();
    let checked = Equivocation::decode(message).and_then(|proof| Ok((proof.check()?, proof)));
    match checked {
        Ok((id, _)) if !is_member(from) || !is_member(&id.origin) => (Judgement::Ignore, None),
        Ok((id, _)) if node.events.shunned().borrow().contains_key(&id.origin) => (Judgement::Ignore, None),
        Ok((id, _)) if node.events.is_pardoned(&id.origin, id.epoch) => (Judgement::Ignore, None),
        Ok((_, proof)) => (Judgement::Accept, Some(proof)),
        Err(refused) => {
            refuse(node, from, &refused);
            match refused {
                EventRefusal::Newer(_) => (Judgement::Ignore, None),
                EventRefusal::Malformed(_)
                | EventRefusal::Event(_)
                | EventRefusal::Forged(_)
                | EventRefusal::Stranger(_)
                | EventRefusal::Clock(_)
                | EventRefusal::Replayed { .. }
                | EventRefusal::Conflict(_)
                | EventRefusal::Shunned(_) => (Judgement::Reject, None),
            }
        }
    }
}

/// Shuns those whom `proofs` of the peer `from` prove to lie. It blocks.
pub(super) fn accuse(node: &Context, from: &str, proofs: &[Equivocation]) -> Result<(), LogError> {
    if proofs.is_empty() {
        return Ok(());
    }
    let state = node.raft.local();
    let Accused { refused, .. } =
        node.events.accuse(proofs, |origin| state.node_of_peer(origin).is_some())?;
    refused.iter().for_each(|refused| refuse(node, from, refused));
    Ok(())
}

/// Shuns no more whom the replicated state pardons, and returns whether that is kept.
pub(super) async fn pardon(node: &Context, state: &ClusterState) -> bool {
    let of = |(id, pardon): (&NodeId, &Arc<Pardon>)| {
        let peer = state.nodes.get(id).map(|node| node.peer_id.clone());
        let epochs: Vec<i64> = pardon.epochs.iter().copied().collect();
        peer.map(|peer| epochs.into_iter().map(move |epoch| (peer.clone(), epoch)))
    };
    let epochs: Vec<(String, i64)> = state.pardons.iter().filter_map(of).flatten().collect();
    let log = Arc::clone(&node.events);
    match blocking(move || log.pardon(&epochs)).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::error!(%error, "a pardon is not followed yet");
            false
        }
        Err(_) => false, // the node stops
    }
}

/// Whom the door does not let in because they are shunned.
pub(crate) fn shut_out(events: &EventLog) -> BTreeMap<String, Exclusion> {
    let shunned = Shunned::clone(&events.shunned().borrow());
    let others = shunned.keys().filter(|origin| events.is_shunned(origin));
    let door = || Exclusion { why: WHY.to_owned(), until_key_of_ms: None };
    others.map(|origin| (origin.clone(), door())).collect()
}
