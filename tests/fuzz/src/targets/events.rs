//! What the rooms of events read: gossip, the log, repair, and what an operator emits.

use crate::{
    bounds::bounded,
    frames::{frame, framed},
    seeds,
};
use p2p::Signer;
use ringrift::{
    api::events::Injection,
    events::{
        Event,
        envelope::{Envelope, EventId, Signed},
        repair::{Floor, RepairAnswer, RepairQuestion, Sample},
        vector::{self, VersionEntry, VersionVector},
    },
    fuzzing::{self as node, frames},
};
use std::{collections::BTreeSet, sync::LazyLock};

const NOW_MS: i64 = 1_000_000;

/// A key that is made for this process.
pub(super) static SIGNER: LazyLock<Signer> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder for a key");
    Signer::load(&folder.path().join("key")).expect("a key can be made")
});

/// A gossip message.
pub(super) fn signed(bytes: &[u8]) {
    let decode = |bytes: &[u8]| {
        let signed = Signed::decode(bytes).ok()?;
        let _ = signed.open(NOW_MS);
        Some(move || signed.encode().expect("it was as large before"))
    };
    framed(frames::SIGNED, bytes, decode);
}

pub(super) fn signed_seeds() -> Vec<Vec<u8>> {
    let envelopes = envelope_seeds().into_iter().map(|body| frame(frames::ENVELOPE.0, &body));
    seeds::bodies(envelopes.map(|envelope| (envelope, vec![7u8; 64])))
}

/// An envelope that its origin really signed.
pub(super) fn envelope(bytes: &[u8]) {
    let (kind, limit) = frames::ENVELOPE;
    let framed = frame(kind, bytes);
    let Some(mut envelope) = bounded(limit, || node::envelope(&framed)) else { return };
    envelope.id.origin = SIGNER.peer_id();
    let Ok(signed) = envelope.sign(&SIGNER) else { return };
    let message = signed.encode().expect("an envelope of bounded size fits");
    let signed = Signed::decode(&message).expect("what is written can be read");
    if let Ok(opened) = bounded(limit, || signed.open(NOW_MS)) {
        assert_eq!(opened, envelope);
        let json = serde_json::to_value(&opened.event).expect("a checked event has a JSON form");
        assert_eq!(serde_json::from_value::<Event>(json).expect("and is read back"), opened.event);
    }
}

pub(super) fn envelope_seeds() -> Vec<Vec<u8>> {
    // The event is the end of the body.
    let head = (("peer", 7i64, 3i64), 5i64, Some(2i64), vec![("raft", 0i64, 80i64)], false);
    let head = seeds::bodies([head]).swap_remove(0);
    seeds::events().iter().map(|event| [&head[..], event].concat()).collect()
}

/// An event that an operator emits.
pub(super) fn injection(bytes: &[u8]) {
    let read = || node::order::<Injection>(bytes);
    let Some(Injection { event, payload }) = bounded(node::BODY_BYTES_MAX, read) else { return };
    let read = || Event::from_operator(&event, payload, "node-1", 1.5);
    let Ok(event) = bounded(node::BODY_BYTES_MAX, read) else { return };
    let envelope = Envelope {
        id: EventId { origin: SIGNER.peer_id(), epoch: 1, sequence: 1 },
        at_ms: 5,
        flow_previous: None,
        causes: Vec::new(),
        injected: true,
        event,
    };
    if let Ok(signed) = envelope.sign(&SIGNER) {
        assert_eq!(signed.open(NOW_MS).expect("an event of an operator is one"), envelope);
    }
}

pub(super) fn injection_seeds() -> Vec<Vec<u8>> {
    let events: Vec<serde_json::Map<String, serde_json::Value>> =
        serde_json::from_str(seeds::EVENTS_JSON).expect("golden JSON");
    let bodies = events.into_iter().flatten().map(|(event, payload)| Injection { event, payload });
    seeds::texts(bodies.map(|body| serde_json::to_string(&body).expect("plain data")))
}

pub(super) fn question(bytes: &[u8]) {
    let decode = |bytes: &[u8]| {
        let question = RepairQuestion::decode(bytes).ok()?;
        let ours =
            VersionVector::from([(("peer".to_owned(), 1), VersionEntry { watermark: 9, beyond: vec![] })]);
        for (_, ranges) in vector::missing(&ours, &question.vector) {
            assert!(ranges.iter().all(|range| range.start() <= range.end()));
        }
        for (_, ranges) in vector::missing(&question.vector, &ours) {
            assert!(ranges.iter().all(|range| range.start() <= range.end()));
        }
        Some(move || question.encode().expect("it was as large before"))
    };
    framed(frames::QUESTION, bytes, decode);
}

pub(super) fn question_seeds() -> Vec<Vec<u8>> {
    let entry = |watermark, beyond| VersionEntry { watermark, beyond };
    let one = VersionVector::from([(("peer".to_owned(), 1), entry(4, vec![(6, 9)]))]);
    let two = VersionVector::from([
        (("a".to_owned(), 1), entry(0, vec![])),
        (("raft".to_owned(), 0), entry(80, vec![])),
    ]);
    let id = EventId { origin: "peer".into(), epoch: 1, sequence: 3 };
    let (shunned, samples) = (BTreeSet::from(["liar".to_owned()]), vec![Sample { id, hash: 5 }]);
    let full = |vector| RepairQuestion { vector, shunned: shunned.clone(), samples: samples.clone() };
    seeds::bodies([RepairQuestion { vector: two, ..RepairQuestion::default() }, full(one)])
}

pub(super) fn answer(bytes: &[u8]) {
    let decode = |bytes: &[u8]| {
        let answer = RepairAnswer::decode(bytes, NOW_MS).ok()?;
        Some(move || answer.encode().expect("it was as large before"))
    };
    framed(frames::ANSWER, bytes, decode);
}

pub(super) fn answer_seeds() -> Vec<Vec<u8>> {
    let body = envelope_seeds().swap_remove(0);
    let envelope = node::envelope(&frame(frames::ENVELOPE.0, &body)).expect("golden bytes");
    let signed = Envelope { id: EventId { origin: SIGNER.peer_id(), ..envelope.id.clone() }, ..envelope };
    let floor = Floor { origin: "peer".into(), epoch: 1, lost_to: 7 };
    let events = vec![signed.sign(&SIGNER).expect("it is small")];
    let floors = vec![floor];
    let proofs = proof_seeds().iter().filter_map(|body| node::proof(&frame(frames::PROOF.0, body))).collect();
    seeds::bodies([RepairAnswer { now_ms: NOW_MS, events, floors, more: true, proofs }])
}

/// A proof that an origin lies.
pub(super) fn proof(bytes: &[u8]) {
    let decode = |bytes: &[u8]| {
        let proof = node::proof(bytes)?;
        let _ = proof.check();
        Some(move || proof.encode().expect("it was as large before"))
    };
    framed(frames::PROOF, bytes, decode);
}

pub(super) fn proof_seeds() -> Vec<Vec<u8>> {
    let one = signed_seeds().swap_remove(0);
    vec![[&one[..], &one[..]].concat()]
}
