//! An origin that says two things under one number.

use super::*;
use crate::events::{equivocation::Equivocation, log::shun::Accused};

/// Another event under the number of the first, signed by the same hand.
fn contradicts(log: &EventLog, first: &Signed, event: Event) -> Signed {
    let envelope = Envelope { event, ..Envelope::decode(&first.envelope).unwrap() };
    envelope.sign(&log.signer).unwrap()
}

fn kinds(received: &Received) -> Vec<&'static str> {
    received.refused.iter().map(EventRefusal::kind).collect()
}

#[test]
fn a_second_event_under_one_number_is_refused_and_its_origin_shunned() {
    let folder = tempfile::tempdir().unwrap();
    let (liar, b) = (open(&folder, "a"), open(&folder, "b"));
    let first = emit(&liar, online("node-1"));
    let second = contradicts(&liar, &first, online("node-2"));
    receive(&b, &first);
    assert!(!b.is_shunned(&liar.origin));
    let mut told = b.shunned();
    let received = receive(&b, &second);
    assert_eq!((kinds(&received), received.proofs.len()), (vec!["conflict"], 1));
    assert!(told.has_changed().unwrap() && told.borrow_and_update().contains_key(&liar.origin));
    assert_eq!(events(&b), [online("node-1")], "what was taken stays");
    let next = emit(&liar, online("node-3"));
    assert_eq!(kinds(&receive(&b, &next)), ["shunned"]);
    assert_eq!(b.open_event(Some(&liar.origin), next, true, |_| true).unwrap_err().kind(), "shunned");
    // It is so after a restart, and only for that origin.
    drop(b);
    let b = open(&folder, "b");
    assert!(b.is_shunned(&liar.origin));
    assert_eq!(events(&b), [online("node-1")]);
    let c = open(&folder, "c");
    assert_eq!(receive(&b, &emit(&c, online("node-4"))).new, 1);
}

#[test]
fn a_proof_goes_to_whoever_lacks_it_and_needs_no_trust() {
    let folder = tempfile::tempdir().unwrap();
    let (liar, b, c) = (open(&folder, "a"), open(&folder, "b"), open(&folder, "c"));
    let first = emit(&liar, online("node-1"));
    let second = contradicts(&liar, &first, online("node-2"));
    // Two nodes have seen one each.
    receive(&b, &first);
    receive(&c, &second);
    let proof = receive(&b, &second).proofs.remove(0);
    let answer = b.answer(&c.question().unwrap()).unwrap();
    assert_eq!((&answer.proofs, answer.events.len()), (&vec![proof.clone()], 0), "nothing of it is served");
    let accuse = |log: &EventLog, proof: &Equivocation, member| {
        let Accused { new, refused } = log.accuse(std::slice::from_ref(proof), |_| member).unwrap();
        (new.len(), refused.iter().map(EventRefusal::kind).collect::<Vec<_>>())
    };
    let forged = Equivocation { second: Signed { signature: vec![7; 64], ..second }, ..proof.clone() };
    assert_eq!(accuse(&c, &forged, true), (0, vec!["forged"]));
    let same = Equivocation { second: first, ..proof.clone() };
    assert_eq!(accuse(&c, &same, true), (0, vec!["malformed"]));
    assert_eq!(accuse(&c, &proof, false), (0, vec!["stranger"]));
    assert!(!c.is_shunned(&liar.origin));
    assert_eq!(accuse(&c, &proof, true), (1, vec![]));
    assert_eq!(accuse(&c, &proof, true), (0, vec![]), "it is known");
    assert!(c.is_shunned(&liar.origin));
    assert_eq!(b.answer(&c.question().unwrap()).unwrap().proofs, []);
    assert_eq!([events(&b), events(&c)], [[online("node-1")], [online("node-2")]], "each keeps the first");
    // The liar hears of it, and goes on hearing itself.
    assert_eq!(accuse(&liar, &proof, true), (1, vec![]));
    assert!(!liar.is_shunned(&liar.origin) && liar.shunned().borrow().contains_key(&liar.origin));
}

#[test]
fn two_nodes_that_hold_different_events_under_one_number_find_out() {
    let folder = tempfile::tempdir().unwrap();
    let (liar, b, c) = (open(&folder, "a"), open(&folder, "b"), open(&folder, "c"));
    let first = emit(&liar, online("node-1"));
    receive(&b, &first);
    receive(&c, &contradicts(&liar, &first, online("node-2")));
    assert_eq!(b.vector().unwrap(), c.vector().unwrap(), "numbers do not show it");
    let answer = c.answer(&b.question().unwrap()).unwrap();
    assert_eq!(answer.events.len(), crate::events::repair::SAMPLES_MAX, "the only event, each time");
    let received = b.receive(&answer.events, false, |_| true).unwrap();
    assert_eq!((received.proofs.len(), kinds(&received)[0]), (1, "conflict"));
    assert!(b.is_shunned(&liar.origin));
    let answer = b.answer(&c.question().unwrap()).unwrap();
    assert_eq!((answer.proofs.len(), answer.events.len()), (1, 0));
}

#[test]
fn nobody_waits_for_events_of_a_shunned_origin() {
    let folder = tempfile::tempdir().unwrap();
    let (liar, b, c) = (open(&folder, "a"), open(&folder, "b"), open(&folder, "c"));
    let first = emit(&liar, cleared("square8_2p", 0.0));
    let (_, effect) = follows(&liar, &b);
    assert!(receive(&c, &effect).gap, "what the liar said first is missing");
    receive(&c, &first);
    receive(&c, &contradicts(&liar, &first, cleared("square8_2p", 9.0)));
    assert_eq!(events(&c), [cleared("square8_2p", 0.0), cleared("hex8_2p", 2.0)], "it goes on at once");
    emit(&liar, cleared("hex8_2p", 3.0));
    let (_, later) = follows(&liar, &b);
    assert!(!receive(&c, &later).gap, "and so does what comes later");
}

#[test]
fn the_table_of_the_shunned_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, "a");
    let most = crate::events::writer::shunned::SHUNNED_MAX;
    let empty = || Signed { envelope: vec![], signature: vec![] };
    for number in 0..most + 10 {
        let id = EventId { origin: format!("origin {number}"), epoch: 1, sequence: 1 };
        let proof = Equivocation { first: empty(), second: empty() };
        let at_ms = number as i64;
        let (shunned, _) = log
            .commits
            .write(at_ms, |writer| Ok((writer.shun(&id, &proof)?, writer.shun(&id, &proof)?)))
            .unwrap();
        assert_eq!(shunned, (true, false));
    }
    assert_eq!(rows(&log, "SELECT count(*) FROM event_shunned") as usize, most);
    assert_eq!(rows(&log, "SELECT MIN(at_ms) FROM event_shunned"), 10, "the newest stay");
}

#[test]
fn a_pardoned_origin_is_heard_again_under_a_new_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let (liar, b, c) = (open(&folder, "a"), open(&folder, "b"), open(&folder, "c"));
    let first = emit(&liar, online("node-1"));
    let second = contradicts(&liar, &first, online("node-2"));
    for log in [&b, &c] {
        receive(log, &first);
        receive(log, &second);
        assert!(log.is_shunned(&liar.origin));
    }
    emit(&liar, online("node-3"));
    let epoch = rows(&liar, "SELECT epoch FROM event_emitter");
    let pardons = [(liar.origin.clone(), epoch)];
    liar.pardon(&pardons).unwrap();
    assert_ne!(rows(&liar, "SELECT epoch FROM event_emitter"), epoch);
    b.pardon(&pardons).unwrap();
    assert!(!b.is_shunned(&liar.origin) && b.shunned().borrow().is_empty());
    // One that has not heard of the pardon yet brings the proof again.
    let answer = c.answer(&b.question().unwrap()).unwrap();
    assert_eq!(answer.proofs.len(), 1);
    assert!(b.accuse(&answer.proofs, |_| true).unwrap().new.is_empty());
    // Nothing more of the epoch is taken or served, and what waits for it goes on.
    assert_eq!(kinds(&receive(&b, &second)), ["shunned"]);
    let rest = b.answer(&RepairQuestion::default()).unwrap().events;
    assert!(rest.iter().all(|it| Envelope::decode(&it.envelope).unwrap().id.epoch != epoch));
    // It goes on under a new one, with what nobody took, also after a restart.
    drop(b);
    let b = open(&folder, "b");
    let answer = liar.answer(&b.question().unwrap()).unwrap();
    let received = b.receive(&answer.events, false, |_| true).unwrap();
    assert!(received.refused.is_empty(), "{received:?}");
    let heard = events(&b);
    assert!(heard.contains(&online("node-3")), "{heard:?}");
    // Whoever lies once more is shunned once more.
    let first = emit(&liar, online("node-4"));
    receive(&b, &first);
    receive(&b, &contradicts(&liar, &first, online("node-5")));
    assert!(b.is_shunned(&liar.origin));
}
