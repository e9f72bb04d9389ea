//! Leases, promotion and distribution.

use super::*;
use crate::{
    command::{
        EVIDENCE_SEGMENTS_MAX, ExpireLease, FailLease, ModelHeld, Reject, RenewLease, ThresholdReached,
    },
    evidence::{Tallies, Tally},
    id::SegmentId,
    samples::{evidence_of, played},
};

#[test]
fn leases() {
    let mut world = World::three();
    let training = LeaseKind::Training;
    world.refuse(grant(training, 1, None, 5), &Refusal::NothingToTrain);
    world.refuse(grant(training, 9, None, 5), &Refusal::UnknownNode(NodeId(9)));
    world.accept(segment(50, 10, &[1, 2]));
    world.accept(Command::ThresholdReached(ThresholdReached {
        config_key: CONFIG.into(),
        crossing: 1,
        at_ms: 0,
    }));
    world.refuse(grant(training, 1, Some(hash(1)), 5), &Refusal::WrongSubject);
    world.refuse(grant(LeaseKind::Evaluation, 1, None, 5), &Refusal::WrongSubject);
    world.refuse(grant(LeaseKind::Evaluation, 1, Some(hash(8)), 5), &Refusal::NotCandidate(hash(8)));
    let first = world.lease(training, None);
    assert_eq!((first.epoch, first.crossing, first.renewed_ms), (1, 1, 50));
    assert_eq!(world.accept(grant(training, 1, None, 50)), Response::Lease(first.clone())); // a repetition
    world.refuse(
        grant(training, 2, None, 51),
        &Refusal::LeaseHeld { kind: training, node: NodeId(1), epoch: 1 },
    );
    world.refuse(
        grant(training, 1, None, 51),
        &Refusal::LeaseHeld { kind: training, node: NodeId(1), epoch: 1 },
    );
    let renew = |epoch, node, at_ms| {
        Command::RenewLease(RenewLease { kind: training, config_key: CONFIG.into(), epoch, node, at_ms })
    };
    let renewed = |at| Response::Lease(Lease { renewed_ms: at, ..first.clone() });
    assert_eq!(world.accept(renew(1, NodeId(1), 70)), renewed(70));
    assert_eq!(world.accept(renew(1, NodeId(1), 60)), renewed(70)); // a clock set back renews nothing
    world.refuse(renew(1, NodeId(2), 80), &Refusal::NotHolder(NodeId(1)));
    world.refuse(renew(2, NodeId(1), 80), &Refusal::StaleEpoch { current: 1, epoch: 2 });
    let expire = |epoch, seen: Option<u64>| {
        Command::ExpireLease(ExpireLease {
            kind: training,
            config_key: CONFIG.into(),
            epoch,
            last_renewed_ms: seen,
            reason: "silent".into(),
            at_ms: 90,
        })
    };
    world.refuse(expire(1, Some(50)), &Refusal::RenewedSince { renewed_ms: 70 });
    assert_eq!(world.clone().accept(expire(1, None)), Response::Done, "it was held for too long");
    assert_eq!(world.accept(expire(1, Some(70))), Response::Done);
    let end = LeaseEnd { node: NodeId(1), cause: EndCause::Expired, reason: "expired: silent".into() };
    assert_eq!(world.config().training.last_end, Some(end));
    for seen in [Some(70), None] {
        world.refuse(expire(1, seen), &Refusal::StaleEpoch { current: 1, epoch: 1 });
    }
    world.refuse(renew(1, NodeId(1), 99), &Refusal::StaleEpoch { current: 1, epoch: 1 });
    let late = trained(&first, model(hash(9), hash(1)));
    world.refuse(late, &Refusal::StaleEpoch { current: 1, epoch: 1 });
    let second = world.lease(training, None);
    assert_eq!(second.epoch, 2);
    let fail = |epoch, node| {
        Command::FailLease(FailLease {
            kind: training,
            config_key: CONFIG.into(),
            epoch,
            node,
            error: "no memory".into(),
            at_ms: 1,
        })
    };
    world.refuse(fail(2, NodeId(3)), &Refusal::NotHolder(NodeId(1)));
    assert_eq!(world.accept(fail(2, NodeId(1))), Response::Done);
    assert_eq!(world.config().training.failures, 2);
    let third = world.lease(training, None);
    world.refuse(trained(&third, model(hash(9), hash(77))), &Refusal::UnknownModel(hash(77)));
    world.refuse(trained(&third, model(hash(1), hash(1))), &Refusal::ModelExists(hash(1)));
    let done = trained(&third, model(hash(9), hash(1)));
    assert_eq!(world.accept(done.clone()), Response::Done);
    assert_eq!(world.accept(done), Response::Unchanged);
    assert_eq!((world.config().training.failures, world.config().consumed), (0, 1));
    assert_eq!((world.config().newest, &world.config().candidates), (hash(9), &vec![hash(9)]));
    world.refuse(grant(training, 1, None, 5), &Refusal::NothingToTrain);

    let evaluation = world.lease(LeaseKind::Evaluation, Some(hash(9)));
    world.refuse(evaluated(&evaluation, evidence(hash(1), hash(1))), &Refusal::WrongSubject);
    world.refuse(evaluated(&evaluation, evidence(hash(88), hash(1))), &Refusal::UnknownModel(hash(88)));
    let found = evidence(hash(9), hash(1));
    let done = world.evaluate(&evaluation, found);
    assert_eq!(world.accept(done), Response::Unchanged);
}

#[test]
fn evidence_names_registered_games_of_this_evaluation() {
    let mut world = World::three().with_candidate(9);
    let found = evidence_of((hash(9), hash(1)), [0, 12, 20]);
    let games = found.against.games();
    let before = world.lease(LeaseKind::Evaluation, Some(hash(9)));
    let early = RegisterSegment { hash: hash(59), ..games_of(&found, CONFIG) };
    world.accept(Command::RegisterSegment(recorded_by(&before, early)));
    world.accept(Command::FailLease(FailLease {
        kind: LeaseKind::Evaluation,
        config_key: CONFIG.into(),
        epoch: before.epoch,
        node: NodeId(1),
        error: "e".into(),
        at_ms: 1,
    }));
    let lease = world.lease(LeaseKind::Evaluation, Some(hash(9)));
    let mut register = |n, change: &dyn Fn(&mut RegisterSegment)| -> SegmentId {
        let mut segment = RegisterSegment { hash: hash(n), ..games_of(&found, CONFIG) };
        change(&mut segment);
        world.accept(Command::RegisterSegment(signed_by(segment, [1, 2])));
        hash(n)
    };
    let good = register(60, &|_| {});
    let few = register(61, &|it| it.games -= 1);
    let one = register(62, &|it| it.games = 1);
    let played = register(63, &|it| it.source = Source::Selfplay);
    let with =
        |segments: &[SegmentId]| evaluated(&lease, Evidence { segments: segments.to_vec(), ..found.clone() });
    let none = Refusal::OtherGames { held: 0, counted: games };
    let table = [
        (&[][..], none),
        (&[hash(99)], Refusal::UnknownSegment(hash(99))),
        (&[few], Refusal::OtherGames { held: games - 1, counted: games }),
        (&[good, one], Refusal::OtherGames { held: games + 1, counted: games }),
        (&[one, one], Refusal::NoEvidenceIn(one)),
        (&[hash(59)], Refusal::NoEvidenceIn(hash(59))),
        (&[played], Refusal::NoEvidenceIn(played)),
    ];
    for (segments, refusal) in &table {
        world.refuse(with(segments), refusal);
    }
    assert_eq!(world.clone().accept(with(&[good])), Response::Done);
    assert_eq!(world.accept(with(&[few, one])), Response::Done);
}

#[test]
fn games_of_an_evaluation_are_those_that_a_lease_asks_for() {
    let mut world = World::three().with_candidate(9);
    let found = evidence_of((hash(9), hash(1)), [0, 12, 20]);
    let games = |n: u8, model: u8, source: &str, holders: &[u64]| {
        let (hash, model, source) = (Hash([n; 32]).into(), hash(model), Source::of(source));
        let segment = RegisterSegment { hash, model, source, ..games_of(&found, CONFIG) };
        Command::RegisterSegment(signed_by(segment, holders.iter().copied()))
    };
    let sources = ["evaluation", "of a later version"];
    for source in sources {
        world.refuse(games(60, 9, source, &[1, 2]), &Refusal::NotAsked(NodeId(1)));
    }
    world.accept(grant(LeaseKind::Evaluation, 2, Some(hash(9)), 50));
    for source in sources {
        world.refuse(games(60, 9, source, &[1, 2]), &Refusal::NotAsked(NodeId(1)));
        world.refuse(games(60, 1, source, &[2, 1]), &Refusal::NotAsked(NodeId(2)));
    }
    let repeated = Refusal::Invalid("receipts: a node gives one".into());
    world.refuse(games(60, 9, "evaluation", &[2, 1, 2]), &repeated);
    world.refuse(games(60, 1, "selfplay", &[2; HOLDERS_MAX]), &repeated);
    let register = |world: &mut World, n: usize| {
        let segment = RegisterSegment {
            hash: Hash::of(format!("games {n}").as_bytes()).into(),
            ..games_of(&found, CONFIG)
        };
        world.apply(&Command::RegisterSegment(signed_by(segment, [2, 1])))
    };
    let selfplay = world.config().games_total;
    for n in 0..EVIDENCE_SEGMENTS_MAX {
        assert!(matches!(register(&mut world, n), Response::Segment { .. }), "{n}");
    }
    assert_eq!(world.config().games_total, selfplay, "they do not count as games to learn from");
    assert_eq!(register(&mut world, 0), Response::Duplicate, "one that is known counts once");
    let full = Response::Refused(Refusal::Full("segments of one evaluation".into()));
    assert_eq!(register(&mut world, 1_000), full);
}

#[test]
fn games_that_come_to_no_verdict_are_no_evidence() {
    let mut world = World::three();
    world.accept(segment(50, 10, &[1, 2]));
    let crossed = ThresholdReached { config_key: CONFIG.into(), crossing: 1, at_ms: 0 };
    world.accept(Command::ThresholdReached(crossed));
    let training = world.lease(LeaseKind::Training, None);
    world.accept(trained(&training, model(hash(9), hash(1))));
    let lease = world.lease(LeaseKind::Evaluation, Some(hash(9)));
    let pair = (hash(9), hash(1));
    let tally = |sets: [u32; 3]| Tally::of(sets.into()).unwrap();
    // Sets against the champion and against random play, and which games are missing; none if it counts.
    let table = [
        ([0, 0, 0], [0, 0, 0], Some((0, 40))),
        ([0, 0, 0], [9, 0, 0], Some((18, 40))),
        ([60, 0, 0], [0, 0, 0], Some((0, 40))),
        ([0, 0, 7], [0, 0, 20], Some((14, 400))),
        ([10, 10, 10], [0, 0, 20], Some((60, 400))),
        // It lost so many that it would not have won enough, whatever it had won after them.
        ([0, 0, 0], [10, 0, 0], None),
        ([0, 0, 0], [20, 0, 0], None),
        ([60, 0, 0], [0, 0, 20], None),
        ([0, 10, 20], [0, 0, 20], None),
    ];
    for (champion, random, missing) in table {
        let (champion, random) = (tally(champion), tally(random));
        let against = Tallies { champion, random, heuristic: Tally::new(2) };
        let found = fresh(&lease, played(pair, against));
        let completed = evaluated(&lease, found.clone());
        let mut world = world.clone();
        if found.against.games() > 0 {
            world.accept(Command::RegisterSegment(recorded_by(&lease, games_of(&found, CONFIG))));
        }
        match missing {
            Some((games, need)) => world.refuse(completed, &Refusal::ShortEvidence { games, need }),
            None => assert_eq!(world.accept(completed), Response::Done),
        }
    }
}

#[test]
fn promotion() {
    let world = World::three().with_candidate(9);
    world.refuse(promote(9, 2, 0.0), &Refusal::ChampionMoved(hash(1)));
    world.refuse(promote(8, 1, 0.0), &Refusal::UnknownModel(hash(8)));
    world.refuse(promote(1, 1, 0.0), &Refusal::NotCandidate(hash(1)));
    let delta = evidence(hash(9), hash(1)).elo_delta;
    world.refuse(promote(9, 1, delta + 1.0), &Refusal::EloTooLow { delta, min: delta + 1.0 });
    world.refuse(promote(9, 1, f64::NAN), &Refusal::Invalid("number".into()));
    let with = |found: Evidence| {
        let mut world = world.clone();
        let lease = world.lease(LeaseKind::Evaluation, Some(hash(9)));
        world.evaluate(&lease, found);
        world.confirm(9, &[2, 3]);
        world
    };
    let pair = (hash(9), hash(1));
    with(evidence(hash(9), hash(5))).refuse(promote(9, 1, 0.0), &Refusal::NoEvidence);
    let mut weak = evidence(hash(9), hash(1)).against;
    weak.random = Tally::of(vec![20, 0, 0]).unwrap();
    with(played(pair, weak)).refuse(promote(9, 1, 0.0), &Refusal::GauntletFailed);
    for sets in [[50, 100, 50], [200, 0, 0]] {
        with(evidence_of(pair, sets)).refuse(promote(9, 1, 0.0), &Refusal::NotAccepted);
    }
    let mut lonely = World::three();
    lonely.accept(segment(50, 10, &[1, 2]));
    lonely.accept(Command::ThresholdReached(ThresholdReached {
        config_key: CONFIG.into(),
        crossing: 1,
        at_ms: 0,
    }));
    let lease = lonely.lease(LeaseKind::Training, None);
    lonely.accept(trained(&lease, model(hash(9), hash(1))));
    lonely.refuse(promote(9, 1, 0.0), &Refusal::NoEvidence);
    let lease = lonely.lease(LeaseKind::Evaluation, Some(hash(9)));
    lonely.evaluate(&lease, evidence(hash(9), hash(1)));
    lonely.refuse(promote(9, 1, 0.0), &Refusal::Unconfirmed { confirmed: 0, denied: 0, need: 2 });
    lonely.confirm(9, &[2, 3]);
    lonely.refuse(promote(9, 1, 0.0), &Refusal::TooFewHolders { have: 1, need: 3 });

    let mut world = world;
    let Response::Promoted { promotion, distributed: true } = world.accept(promote(9, 1, 50.0)) else {
        panic!()
    };
    assert_eq!((promotion.generation, promotion.new_elo), (1, ELO_INITIAL + delta));
    assert_eq!(world.accept(promote(9, 1, 50.0)), Response::Unchanged);
    let status = |world: &World, n| world.state.models.get(&hash(n)).unwrap().status.clone();
    assert_eq!((status(&world, 9), status(&world, 1)), (ModelStatus::Champion, ModelStatus::Retired));
    assert!(world.config().candidates.is_empty());
    world.refuse(promote(1, 9, 0.0), &Refusal::NotCandidate(hash(1)));
    let reject = |n| {
        Command::Reject(Reject {
            config_key: CONFIG.into(),
            candidate: hash(n),
            reason: "r".into(),
            at_ms: 1,
        })
    };
    world.refuse(reject(9), &Refusal::NotCandidate(hash(9)));
    world.refuse(reject(1), &Refusal::NotCandidate(hash(1)));
    world.refuse(reject(77), &Refusal::UnknownModel(hash(77)));
    let mut world = world.with_candidate(10);
    assert_eq!(world.accept(reject(10)), Response::Done);
    assert_eq!(world.accept(reject(10)), Response::Unchanged);
    world.refuse(promote(10, 9, 0.0), &Refusal::NotCandidate(hash(10)));
    world.refuse(
        Command::ModelHeld(ModelHeld { model: hash(99), node: NodeId(1), at_ms: 1 }),
        &Refusal::UnknownModel(hash(99)),
    );
    world.refuse(
        Command::ModelHeld(ModelHeld { model: hash(9), node: NodeId(99), at_ms: 1 }),
        &Refusal::UnknownNode(NodeId(99)),
    );
}

#[test]
fn training_continues_from_the_champion_after_rejections_in_a_row() {
    let mut world = World::three();
    let reject = |world: &mut World, n| {
        let (config_key, candidate) = (CONFIG.into(), hash(n));
        world.accept(Command::Reject(Reject { config_key, candidate, reason: "r".into(), at_ms: 1 }));
    };
    for n in 9..15 {
        world = world.with_candidate(n);
        reject(&mut world, n);
        let expected = if (n - 8) % 3 == 0 { hash(1) } else { hash(n) };
        assert_eq!(world.config().newest, expected, "{n}");
    }
    world = world.with_candidate(20);
    reject(&mut world, 20);
    world = world.with_candidate(21);
    world.accept(promote(21, 1, 0.0));
    for n in [22, 23] {
        world = world.with_candidate(n);
        reject(&mut world, n);
        assert_eq!(world.config().newest, hash(n), "a promotion begins anew");
    }
}

#[test]
fn distribution_is_told_once() {
    let mut world = World::three().with_candidate(9);
    world.accept(register(4, 4)); // registered after the others held it
    let Response::Promoted { distributed: false, .. } = world.accept(promote(9, 1, 0.0)) else { panic!() };
    // The node that lacks the model goes offline.
    let gone = world.clone().accept(online(4, false, 4));
    let told = Distributed { config_key: CONFIG.into(), model: hash(9) };
    assert_eq!(gone, Response::Online { distributed: vec![told] });
    // Or the node gets the model.
    let held = |node| Command::ModelHeld(ModelHeld { model: hash(9), node, at_ms: 1 });
    assert_eq!(world.accept(held(NodeId(4))), Response::Held { distributed: true });
    assert_eq!(world.accept(held(NodeId(4))), Response::Unchanged);
    world.accept(register(5, 5));
    assert_eq!(world.accept(held(NodeId(5))), Response::Held { distributed: false });
}
