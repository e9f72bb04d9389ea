//! Takes what other nodes gossip: events, proofs against origins that lie, announcements of models.
//!
//! Invariant: a message goes on to other peers only after it was judged, and it is judged without the disk.
//! What is lost here, a later question brings ([`super::exchange`]).

use super::{
    announcements::{AnnouncementFollower, MODELS_TOPIC},
    context::Context,
    exchange::refuse,
    quota::UnregisteredQuota,
    shun,
};
use crate::events::{
    envelope::{EventRefusal, Signed},
    equivocation::{self, Equivocation},
    log::Opened,
};
use p2p::{DropReason, GossipMessage, Judgement};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, mpsc};

/// Maximum number of gossiped events in one transaction.
const BATCH: usize = 256;
/// Maximum number of events that wait to be kept.
const JUDGED_MAX: usize = 1024;

/// Keeps what is gossiped: what goes on to other peers, and what comes directly from its author. `gap` is
/// notified when events are missing before it. It ends with the peers. A panic loses the messages in hand,
/// whose events a later question brings; `panicked` is given how long it ran before.
///
/// One thread judges a message as soon as it comes, so that it goes on to other peers without waiting for
/// this node's disk; another one keeps the events. Nobody waits for the verdict on a direct message, so one
/// thread judges and keeps those: the event is there without a detour.
pub(crate) async fn listen(
    node: Context,
    (mut gossip, mut direct): (mpsc::Receiver<GossipMessage>, mpsc::Receiver<GossipMessage>),
    gap: Arc<Notify>,
    quota: Arc<UnregisteredQuota>,
    panicked: impl Fn(Duration) + Send + Sync + 'static,
) {
    let (judged, mut opened) = mpsc::channel(JUDGED_MAX);
    let panicked = Arc::new(move |ran| {
        tracing::error!("hearing gossip panicked and goes on");
        panicked(ran);
    });
    let on_thread = |mut work: Box<dyn FnMut() + Send>| {
        let panicked = Arc::clone(&panicked);
        // The work mostly waits, for the next message or for the disk.
        tokio::task::spawn_blocking(move || persist(&mut work, |ran| panicked(ran)))
    };
    let [judging, taking, (keeping, told)] = [(); 3].map(|()| (Arc::clone(&node), Arc::clone(&gap)));
    let threads = [
        on_thread(Box::new(move || judge_all(&judging.0, &mut gossip, &judged, &quota))),
        on_thread(Box::new(move || take_direct(&taking.0, &mut direct, &taking.1))),
        on_thread(Box::new(move || keep_judged(&keeping, &mut opened, &told))),
    ];
    for thread in threads {
        if let Err(error) = thread.await {
            tracing::error!(%error, "gossip is not heard any more");
        }
    }
}

/// Runs `work` until it returns, and again after a panic. `panicked` is given how long it ran.
fn persist(mut work: impl FnMut(), mut panicked: impl FnMut(Duration)) {
    loop {
        let began = Instant::now();
        match catch_unwind(AssertUnwindSafe(&mut work)) {
            Ok(()) => return,
            Err(_) => panicked(began.elapsed()),
        }
    }
}

/// What other peers should make of an event that is refused here. A node that lags behind, has another time
/// or runs a newer program does no wrong, and neither does who passes its events on.
fn blame(refused: &EventRefusal) -> Judgement {
    match refused {
        EventRefusal::Malformed(_)
        | EventRefusal::Event(_)
        | EventRefusal::Forged(_)
        | EventRefusal::Replayed { .. } => Judgement::Reject,
        EventRefusal::Stranger(_)
        | EventRefusal::Clock(_)
        | EventRefusal::Conflict(_)
        | EventRefusal::Shunned(_)
        | EventRefusal::Newer(_) => Judgement::Ignore,
    }
}

/// Judges gossip as it comes. Events go on to `judged`.
fn judge_all(
    node: &Context,
    gossip: &mut mpsc::Receiver<GossipMessage>,
    judged: &mpsc::Sender<Heard>,
    quota: &Arc<UnregisteredQuota>,
) {
    let mut follower = AnnouncementFollower::new(Arc::clone(quota));
    while let Some(message) = gossip.blocking_recv() {
        if message.topic == MODELS_TOPIC {
            let judgement = follower.hear(node, message.from.clone(), &message.bytes);
            if judgement != Judgement::Accept {
                node.p2p.drops().count(DropReason::GossipAnnouncement);
            }
            message.judge(judgement);
        } else if let Some(heard) = judge(node, &message)
            && judged.blocking_send(heard).is_err()
        {
            return;
        }
    }
}

/// Judges one message about events: shape, membership and signature, and nothing that needs the disk.
fn judge(node: &Context, message: &GossipMessage) -> Option<Heard> {
    if !node.settings.events.gossip {
        message.judge(Judgement::Ignore);
        return None;
    }
    if wire::kind(&message.bytes) == Some(equivocation::PROOF) {
        let (judgement, proof) = shun::judge(node, &message.from, &message.bytes);
        message.judge(judgement);
        return proof.map(|proof| Heard::Proof(Box::new(proof)));
    }
    let state = node.raft.local();
    let is_member = |origin: &str| state.node_of_peer(origin).is_some();
    let opened = Signed::decode(&message.bytes)
        .and_then(|signed| node.events.open_event(Some(&message.from), signed, true, is_member));
    match opened {
        Ok(event) => {
            message.judge(Judgement::Accept);
            Some(Heard::Event(Box::new(event)))
        }
        Err(refused) => {
            message.judge(blame(&refused));
            refuse(node, &message.from, &refused);
            None
        }
    }
}

/// What gossip brought, judged.
#[derive(Debug)]
enum Heard {
    Event(Box<Opened>),
    Proof(Box<Equivocation>),
}

/// Judges and keeps what comes directly from its author.
fn take_direct(node: &Context, direct: &mut mpsc::Receiver<GossipMessage>, gap: &Notify) {
    let mut messages = Vec::with_capacity(BATCH);
    while direct.blocking_recv_many(&mut messages, BATCH) > 0 {
        keep(node, messages.drain(..).filter_map(|message| judge(node, &message)), gap);
    }
}

/// Keeps what was judged.
fn keep_judged(node: &Context, judged: &mut mpsc::Receiver<Heard>, gap: &Notify) {
    let mut heard = Vec::with_capacity(BATCH);
    while judged.blocking_recv_many(&mut heard, BATCH) > 0 {
        keep(node, heard.drain(..), gap);
    }
}

/// Keeps events, and proofs against their origins.
fn keep(node: &Context, heard: impl Iterator<Item = Heard>, gap: &Notify) {
    let (mut events, mut proofs) = (Vec::new(), Vec::new());
    for heard in heard {
        match heard {
            Heard::Event(event) => events.push(*event),
            Heard::Proof(proof) => proofs.push(*proof),
        }
    }
    let kept = node.events.keep_opened(&events).map(|received| {
        received.refused.iter().for_each(|refused| refuse(node, "gossip", refused));
        shun::tell(node, &received.proofs);
        if received.gap {
            gap.notify_one();
        }
    });
    if let Err(error) = kept.and_then(|()| shun::accuse(node, "gossip", &proofs)) {
        tracing::error!(%error, "others' events cannot be kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_what_is_in_hand_and_not_the_rest() {
        let (mut left, mut heard, mut panics) = (vec![1, 13, 2, 13, 3], Vec::new(), 0);
        left.reverse();
        let hear = || {
            while let Some(message) = left.pop() {
                assert_ne!(message, 13);
                heard.push(message);
            }
        };
        persist(hear, |_| panics += 1);
        assert_eq!((heard, panics), (vec![1, 2, 3], 2));
    }
}
