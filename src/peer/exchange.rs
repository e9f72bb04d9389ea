//! Keeps this node's event log equal to the others': it asks them for missing events. What they gossip is
//! taken by [`super::hearing`].
//!
//! Invariant: gossip only makes delivery fast. With gossip off every event still arrives, because each node
//! asks the others in turn for what it lacks: twice a second, more often while that brings news, and at once
//! when a peer connects or events are missing before one that just came.

use super::{
    context::{Context, blocking},
    shun,
};
use crate::{
    clock::now_ms,
    events::{
        LogError,
        envelope::EventRefusal,
        floors::FloorClaims,
        log::{Answered, EventLog, Received},
        repair::{Floor, RepairAnswer, RepairQuestion},
    },
};
use p2p::Class;
use rand::seq::IndexedRandom;
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, watch};

/// Time between questions; it varies by up to 30 %, so that nodes do not ask in step.
const EVERY: Duration = Duration::from_millis(500);
/// The same time after an answer with news: gossip did not bring that news, so there may be more.
const SOON: Duration = Duration::from_millis(200);
/// Maximum time for a peer to answer.
const WAIT: Duration = Duration::from_secs(5);
/// Time for events that are missing before another to arrive without a question.
const GRACE: Duration = Duration::from_millis(30);
/// Time between two rounds of upkeep.
const UPKEEP: Duration = Duration::from_secs(10);

/// Counts what was refused, and logs it unless it was logged often.
pub(super) fn refuse(node: &Context, from: &str, refused: &EventRefusal) {
    if node.events.count_refused(refused) {
        tracing::warn!(from, reason = refused.kind(), %refused, "an event was refused");
    }
}

/// Keeps other nodes' events with `receive`, which is given a check of who may have emitted them. Others'
/// events follow those of a member that was removed since, so its events are still taken from members.
async fn keep(
    node: &Context,
    from: &str,
    receive: impl FnOnce(&EventLog, &dyn Fn(&str) -> bool) -> Result<Received, LogError> + Send + 'static,
) -> Option<Received> {
    let (own, from) = (Arc::clone(node), from.to_owned());
    let keeping = move || {
        let state = own.raft.local();
        match receive(&own.events, &|origin| state.was_member(origin)) {
            Ok(received) => {
                received.refused.iter().for_each(|refused| refuse(&own, &from, refused));
                shun::tell(&own, &received.proofs);
                Some(received)
            }
            Err(error) => {
                tracing::error!(%error, "others' events cannot be kept");
                None
            }
        }
    };
    blocking(keeping).await.ok().flatten()
}

/// Answers a peer's question.
pub(crate) async fn answer(node: &Context, from: &str, question: &[u8]) -> Option<Vec<u8>> {
    let question = match RepairQuestion::decode(question) {
        Ok(question) => question,
        Err(refused) => {
            refuse(node, from, &refused);
            return None;
        }
    };
    let log = Arc::clone(&node.events);
    let answered = blocking(move || -> Result<_, LogError> { Ok(log.answer(&question)?.encode()?) }).await;
    match answered {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(error)) => {
            tracing::error!(%error, "the event log cannot be read");
            None
        }
        Err(_) => None,
    }
}

/// What came of asking a peer.
#[derive(Clone, Copy, Debug, Default)]
struct PeerAsked {
    /// It sent something that was not known here.
    news: bool,
    /// It answered, and has nothing more to send.
    whole: bool,
}

/// Asks one peer until it has no more events to send. What it says is gone goes to `claims`.
async fn ask(node: &Context, peer: &str, claims: &mut FloorClaims) -> PeerAsked {
    let mut asked = PeerAsked::default();
    loop {
        let log = Arc::clone(&node.events);
        let question = blocking(move || -> Result<_, LogError> { Ok(log.question()?.encode()?) });
        let Ok(Ok(question)) = question.await else { return asked };
        let answer = match node.p2p.request(Class::Control, peer, question, WAIT).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(peer, %error, "no answer about events");
                return asked;
            }
        };
        let RepairAnswer { events, floors, more, proofs, .. } =
            match RepairAnswer::decode(&answer, i64::try_from(now_ms()).unwrap_or(i64::MAX)) {
                Ok(answer) => answer,
                Err(refused) => {
                    refuse(node, peer, &refused);
                    return asked;
                }
            };
        let kept = match events.is_empty() {
            true => Some(Received::default()),
            false => keep(node, peer, move |log, is_member| log.receive(&events, false, is_member)).await,
        };
        let Some(kept) = kept else { return asked };
        asked.news |= kept.new > 0;
        let (own, from) = (Arc::clone(node), peer.to_owned());
        // The floors come after the events, because they prove how far their origins came.
        let judged = blocking(move || -> Result<_, LogError> {
            shun::accuse(&own, &from, &proofs)?;
            if floors.is_empty() { Ok(Vec::new()) } else { own.events.proven_floors(&floors) }
        });
        match judged.await {
            Ok(Ok(floors)) => give_up(node, claims.hear(peer, floors, node.raft.local().nodes.len())).await,
            Ok(Err(error)) => {
                tracing::error!(%error, "what a peer says is gone cannot be judged");
                return asked;
            }
            Err(_) => return asked,
        }
        asked.whole = !more;
        if !more || kept.new == 0 || kept.full {
            return asked;
        }
    }
}

/// Lets this node tell others of what it emits, once enough of them have answered what they know of it: under
/// its epoch if all have, and else under a new one.
async fn tell(node: &Context, answered: &Answered, connected: &[(String, u64)]) {
    let members = node.raft.local().nodes.len();
    let connected = connected.iter().map(|(peer, _)| peer.as_str());
    if node.events.may_tell() || !answered.is_enough(connected, members, Instant::now()) {
        return;
    }
    // A restored state may not know all members, so the one that is decided now counts.
    let all = match node.raft.linearizable().await {
        Ok(state) => {
            let (me, nodes) = (node.p2p.peer_id(), state.nodes.values());
            let others = nodes.map(|it| it.peer_id.as_str()).filter(|it| *it != me);
            answered.is_all(others.filter(|it| !node.events.is_shunned(it)))
        }
        Err(_) => false,
    };
    let log = Arc::clone(&node.events);
    if let Ok(Err(error)) = blocking(move || if all { log.tell() } else { log.tell_anew() }).await {
        tracing::error!(%error, "others are not told of new events yet");
    }
}

/// Passes over what enough members say is gone.
async fn give_up(node: &Context, floors: Vec<Floor>) {
    if floors.is_empty() {
        return;
    }
    let log = Arc::clone(&node.events);
    match blocking(move || log.give_up(&floors).map(|count| (count, floors))).await {
        Ok(Ok((0, _))) | Err(_) => {}
        Ok(Ok((_, floors))) => tracing::warn!(?floors, "missed events are gone; the state has to do"),
        Ok(Err(error)) => tracing::error!(%error, "missed events cannot be given up"),
    }
}

/// One round of the log's own upkeep. Returns whether there is more to do.
async fn maintain(node: &Context) -> bool {
    let log = Arc::clone(&node.events);
    match blocking(move || log.maintain()).await {
        Ok(Ok(more)) => more,
        Ok(Err(error)) => {
            tracing::error!(%error, "no upkeep of the event log");
            false
        }
        Err(_) => false,
    }
}

/// Asks one peer at a time, all of them in a random order and then again, until the shutdown.
pub(crate) async fn repair(node: Context, gap: Arc<Notify>) {
    let mut peers = node.p2p.peers();
    let mut known: BTreeSet<(String, u64)> = BTreeSet::new();
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let (mut claims, mut answered) = (FloorClaims::default(), Answered::default());
    let mut upkeep = tokio::time::Instant::now() + UPKEEP;
    loop {
        let connected: Vec<(String, u64)> =
            peers.borrow_and_update().iter().map(|peer| (peer.peer_id.clone(), peer.boot)).collect();
        // A peer that just connected comes first, then any peer that was not asked in this round.
        if connected.iter().all(|(peer, _)| asked.contains(peer)) {
            asked.clear();
        }
        let due: Vec<&(String, u64)> = connected.iter().filter(|(peer, _)| !asked.contains(peer)).collect();
        let fresh = connected.iter().find(|peer| !known.contains(*peer));
        let chosen = fresh.or_else(|| due.choose(&mut rand::rng()).copied()).cloned();
        known.retain(|peer| connected.contains(peer));
        let (mut came, mut news) = (false, false);
        if let Some(peer) = chosen {
            match node.shutdown.run_until_cancelled(ask(&node, &peer.0, &mut claims)).await {
                Some(told) => {
                    news = told.news;
                    if told.whole && !node.events.may_tell() {
                        answered.note(&peer.0, Instant::now());
                    }
                }
                None => return,
            }
            tell(&node, &answered, &connected).await;
            asked.insert(peer.0.clone());
            came = known.insert(peer) && known.len() < connected.len();
        }
        if tokio::time::Instant::now() >= upkeep {
            let more = maintain(&node).await;
            // The rest waits only for the next peer; otherwise the log would grow faster than it is pruned.
            upkeep = tokio::time::Instant::now() + if more { Duration::ZERO } else { UPKEEP };
        }
        if came {
            continue;
        }
        let pause = if news { SOON } else { EVERY }.mul_f64(rand::random_range(0.7..1.3));
        tokio::select! {
            () = node.shutdown.cancelled() => return,
            // Missing events usually arrive shortly after the event that overtook them.
            () = gap.notified() => tokio::time::sleep(GRACE).await,
            changed = peers.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Passes Raft's writes and pardons to the log, and to the handlers whether there is a quorum.
pub(crate) async fn follow(node: Context, quorum: watch::Sender<bool>) {
    let (mut state, mut metrics) = (node.raft.applied(), node.raft.metrics());
    let mut pardons = Arc::default();
    loop {
        let current = Arc::clone(&state.borrow_and_update());
        node.events.touch();
        if !Arc::ptr_eq(&pardons, &current.pardons) {
            // What fails is tried again with the next change.
            if shun::pardon(&node, &current).await {
                pardons = Arc::clone(&current.pardons);
            }
        }
        let led = metrics.borrow_and_update().leader.is_some();
        quorum.send_if_modified(|known| std::mem::replace(known, led) != led);
        tokio::select! {
            () = node.shutdown.cancelled() => return,
            changed = state.changed() => if changed.is_err() { return },
            changed = metrics.changed() => if changed.is_err() { return },
        }
    }
}
