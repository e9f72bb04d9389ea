//! Lies about events: what is gone, how much there is to say, and what was said.

use super::{Found, arrives, emit, name, position};
use crate::{
    liar::{
        games::key,
        member::{Liar, now_ms},
    },
    support::{Cluster, Peer, SOON, until, when},
};
use ringrift::{
    events::{
        Event,
        envelope::{Envelope, EventId, RAFT},
        repair::Floor,
    },
    peer::EVENTS_TOPIC,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The epoch of the events that the liar signs.
const EPOCH: i64 = 77;
/// What one author may say at once and in a second, in messages, before the others take no more of it.
const BURST: f64 = 8_000.0;
const RATE: f64 = 2_000.0;
/// How many events the liar signs for its flood, and for how long it floods at most.
const FLOOD: u64 = 30_000;
const FLOODS: Duration = Duration::from_secs(40);

/// An event that nobody acts on.
fn event(liar: &Liar, note: &str) -> Event {
    let model = "00000000000000000000000000000000000000000000000000000000000000bb";
    let payload = json!({"config_key": key(), "model_id": model, "model_path": note, "target_hosts": []});
    Event::from_operator("MODEL_DISTRIBUTION_STARTED", payload, &name(liar), 1.5).unwrap()
}

fn envelope(liar: &Liar, sequence: i64, note: &str) -> Envelope {
    let id = EventId { origin: liar.signer.peer_id(), epoch: EPOCH, sequence };
    let at_ms = now_ms() as i64;
    Envelope { id, at_ms, flow_previous: None, causes: vec![], injected: false, event: event(liar, note) }
}

/// From now on the liar answers whoever asks it for missing events that all events of all others are gone.
pub(in crate::liar) fn false_floors_begin(cluster: &mut Cluster, liar: &Liar) {
    let mut sources = BTreeSet::from([(RAFT.to_owned(), 0)]);
    for peer in &mut cluster.peers {
        emit(peer, &format!("{} before the floors", peer.name));
        let id = peer.address().rsplit('/').next().unwrap().to_owned();
        let answer = until("an honest node answers", SOON, || liar.questions(&id).ok_or("no answer".into()));
        let opened = answer.events.iter().filter_map(|signed| signed.open(now_ms() as i64).ok());
        sources.extend(opened.map(|envelope| (envelope.id.origin, envelope.id.epoch)));
    }
    assert!(sources.len() > 1, "{sources:?}");
    let floor = |(origin, epoch)| Floor { origin, epoch, lost_to: 1 << 40 };
    *liar.says.floors.lock() = sources.into_iter().map(floor).collect();
}

/// Whether all honest nodes have the same events of honest nodes, each source's in its order.
pub(in crate::liar) fn false_floors(cluster: &Cluster, liar: &Liar) -> Found {
    let asked = liar.says.questions.load(Ordering::Relaxed);
    for (number, peer) in cluster.peers.iter().enumerate() {
        emit(peer, &format!("event {number} in spite of floors"));
    }
    let before = until("everybody asks the liar", SOON, || {
        let now = liar.says.questions.load(Ordering::Relaxed);
        when(now >= asked + 3 * cluster.peers.len(), now, || format!("{now} questions"))
    });
    let me = liar.signer.peer_id();
    let count = until("all have the same events", SOON, || {
        let mut all: Vec<BTreeSet<(String, i64, i64)>> = Vec::new();
        for peer in &cluster.peers {
            let mut last = BTreeMap::new();
            let mut ids = BTreeSet::new();
            for logged in peer.logged()?.into_iter().filter(|logged| logged.origin != me) {
                let flow = (logged.origin.clone(), logged.epoch, logged.flow.clone());
                let before = last.insert(flow, logged.sequence);
                assert!(before < Some(logged.sequence), "{}: {logged:?} after {before:?}", peer.name);
                ids.insert((logged.origin, logged.epoch, logged.sequence));
            }
            all.push(ids);
        }
        let same = all.iter().all(|ids| *ids == all[0]);
        when(same, all[0].len(), || format!("{:?} events", all.iter().map(BTreeSet::len).collect::<Vec<_>>()))
    });
    for peer in &cluster.peers {
        assert!(!peer.log().contains("missed events are gone"), "{} gave events up", peer.name);
    }
    Found {
        lie: "false floors",
        how: format!("{before} false answers; all {count} events of others at every node, in their order"),
    }
}

/// Has the liar gossip events with valid signatures, each a new one, until the task is ended.
fn begin_flood(liar: &Liar, sent: &Arc<AtomicU64>) -> tokio::task::JoinHandle<()> {
    let (signer, base) = (liar.signer.clone(), envelope(liar, 0, "flood"));
    let (p2p, sent) = (liar.p2p.clone(), Arc::clone(sent));
    liar.beside(async move {
        for sequence in 1.. {
            let id = EventId { sequence, ..base.id.clone() };
            let envelope = Envelope { id, at_ms: now_ms() as i64, ..base.clone() };
            let message = envelope.sign(&signer).unwrap().encode().unwrap();
            while p2p.publish(EVENTS_TOPIC, message.clone()).is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await; // its own node is busy
            }
            sent.fetch_add(1, Ordering::Relaxed);
        }
    })
}

/// How many events of the liar a peer has in its log after position `after`.
fn taken(peer: &Peer, liar: &Liar, mut after: i64) -> Result<u64, String> {
    let (client, me, mut count) = (peer.client()?, liar.signer.peer_id(), 0);
    loop {
        let page = client.events(after, 500).map_err(|error| error.to_string())?;
        let Some(last) = page.last() else { return Ok(count) };
        after = last.position;
        count += page.iter().filter(|logged| logged.origin == me).count() as u64;
    }
}

/// The liar gossips more than anybody may, with valid signatures, then what is malformed.
pub(in crate::liar) fn flood(cluster: &Cluster, liar: &Liar) -> Found {
    let after: Vec<i64> = cluster.peers.iter().map(position).collect();
    let (sent, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let flooding = begin_flood(liar, &sent);
    // While it goes on, an event of an honest node is at all the others within seconds.
    let (mut slowest, mut rounds) = (Duration::ZERO, 0);
    while rounds < 4 || (sent.load(Ordering::Relaxed) < FLOOD && began.elapsed() < FLOODS) {
        let (reason, begun) = (format!("in the flood {rounds}"), Instant::now());
        emit(&cluster.peers[rounds % cluster.peers.len()], &reason);
        cluster.peers.iter().zip(&after).for_each(|(peer, after)| arrives(peer, &reason, *after));
        slowest = slowest.max(begun.elapsed());
        rounds += 1;
    }
    flooding.abort();
    let sent = sent.load(Ordering::Relaxed);
    let mut most = 0;
    for (peer, after) in cluster.peers.iter().zip(&after) {
        let taken = until("its log can be read", SOON, || taken(peer, liar, *after));
        let bound = BURST + RATE * began.elapsed().as_secs_f64();
        assert!((taken as f64) <= bound.min(sent as f64), "{}: {taken} of {sent}, {bound}", peer.name);
        most = most.max(taken);
    }
    let unheard = malformed(cluster, liar);
    Found {
        lie: "a flood of gossip",
        how: format!(
            "{sent} events, at most {most} taken; {rounds} honest ones everywhere within {slowest:.1?}; unheard \
             after {unheard} malformed ones"
        ),
    }
}

/// What is malformed costs the liar its hearing: in the end nobody even counts what it gossips. Returns how
/// many messages that took.
fn malformed(cluster: &Cluster, liar: &Liar) -> u64 {
    let counted = |peer: &Peer| -> Result<u64, String> {
        Ok(peer.status()?.events.refused.get("malformed").copied().unwrap_or_default())
    };
    let mut number = 0;
    for peer in &cluster.peers {
        until(&format!("{} hears the liar no more", peer.name), SOON, || {
            let before = counted(peer)?;
            for _ in 0..50 {
                number += 1;
                let _ = liar.p2p.publish(EVENTS_TOPIC, format!("nonsense {number}").into_bytes());
            }
            std::thread::sleep(Duration::from_millis(500));
            let now = counted(peer)?;
            when(now > 0 && now == before, (), || format!("{before} {now}"))
        });
    }
    number
}

/// The liar signs two events under one number, and gives both to whoever asks it.
pub(in crate::liar) fn equivocation(cluster: &Cluster, liar: &Liar) -> Found {
    let number = 1 << 30;
    let signed = |note: &str| envelope(liar, number, note).sign(&liar.signer).unwrap();
    *liar.says.events.lock() = vec![signed("one story"), signed("another")];
    for peer in &cluster.peers {
        until(&format!("{} shuns the liar", peer.name), SOON, || {
            let shunned = peer.status()?.events.shunned;
            let named = shunned.iter().any(|it| it.node_id == name(liar) && it.sequence == number);
            when(named, (), || format!("{shunned:?}"))
        });
    }
    until("nobody is connected to it", SOON, || liar.is_alone());
    let after = position(&cluster.peers[3]);
    emit(&cluster.peers[0], "after all lies");
    arrives(&cluster.peers[3], "after all lies", after);
    let (code, status) = cluster.peers[2].ask(&["status"]);
    assert_eq!(code, Some(0), "{status}");
    Found {
        lie: "two stories under one number",
        how: "shunned by all four, on proof; cut off from all".to_owned(),
    }
}
