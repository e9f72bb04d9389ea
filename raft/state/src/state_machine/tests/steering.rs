//! Regression, rollback, the watch of a champion, and what else steers a configuration.

use super::*;
use crate::command::{
    Appoint, CancelLease, ConfirmEvidence, ModelHeld, ReportRegression, Rollback, SetBackpressure,
    SetCurriculum, SetDraining, SetFeedback, SetLearningRate, ThresholdReached,
};
use crate::{samples::evidence_of, steering::Backpressure};

fn report(champion: Option<u8>, severity: Option<Severity>, trigger: Option<u8>, at_ms: u64) -> Command {
    Command::ReportRegression(ReportRegression {
        config_key: CONFIG.into(),
        champion: champion.map(hash),
        severity,
        elo_drop: 80.0,
        games: 50,
        reason: "worse".into(),
        trigger: trigger.map(hash),
        at_ms,
    })
}

fn rollback(expected: Option<u8>, trigger: Option<u8>) -> Command {
    Command::Rollback(Rollback {
        config_key: CONFIG.into(),
        expected_champion: expected.map(hash),
        reason: "worse".into(),
        triggered_by: "test".into(),
        trigger: trigger.map(hash),
        at_ms: 500,
    })
}

fn appoint(model: u8, expected: u8) -> Command {
    Command::Appoint(Appoint {
        config_key: CONFIG.into(),
        model: hash(model),
        expected_champion: hash(expected),
        reason: "r".into(),
        at_ms: 90,
    })
}

/// A world where 1 was the first champion, then 9, then 10.
fn third_champion() -> World {
    let mut world = World::three().with_candidate(9);
    world.accept(promote(9, 1, 0.0));
    let mut world = world.with_candidate(10);
    world.accept(promote(10, 9, 0.0));
    world
}

fn severity(world: &World) -> Option<(Severity, bool)> {
    world.config().steering.regression.as_ref().map(|known| (known.severity, known.rolled_back))
}

const MINOR: Option<Severity> = Some(Severity::Minor);
const CRITICAL: Option<Severity> = Some(Severity::Critical);

#[test]
fn reports_of_a_regression() {
    let mut world = third_champion();
    world.refuse(report(Some(9), MINOR, None, 1), &Refusal::ChampionMoved(hash(10)));
    assert_eq!(world.accept(report(None, None, None, 1)), Response::Unchanged, "nothing was amiss");
    let table = [
        (report(None, MINOR, Some(1), 1), Response::Done, Some((Severity::Minor, false))),
        (report(None, MINOR, Some(1), 2), Response::Unchanged, Some((Severity::Minor, false))), // another node
        (report(None, MINOR, Some(2), 3), Response::Noted, Some((Severity::Minor, false))), // another emitter
        (report(Some(10), MINOR, None, 4), Response::Unchanged, Some((Severity::Minor, false))),
        (report(None, CRITICAL, Some(3), 5), Response::Done, Some((Severity::Critical, false))),
        (report(None, MINOR, Some(4), 6), Response::Noted, Some((Severity::Critical, false))), // it is known to be worse
        (report(None, None, Some(5), 7), Response::Done, None),
        (report(None, CRITICAL, Some(3), 8), Response::Unchanged, None), // a node that is late
        (report(None, MINOR, Some(2), 9), Response::Unchanged, None),
    ];
    for (command, answer, state) in table {
        assert_eq!(world.accept(command.clone()), answer, "{command:?}");
        assert_eq!(severity(&world), state, "{command:?}");
    }
}

#[test]
fn a_rollback_happens_once_and_takes_along_what_came_of_the_champion() {
    let mut world = third_champion().with_candidate(11);
    world.accept(segment(60, 10, &[1, 2]));
    world.accept(Command::ThresholdReached(ThresholdReached {
        config_key: CONFIG.into(),
        crossing: 4,
        at_ms: 0,
    }));
    let training = world.lease(LeaseKind::Training, None);
    let evaluation = world.lease(LeaseKind::Evaluation, Some(hash(11)));
    world.refuse(rollback(None, None), &Refusal::Invalid("rollback of no champion, for no event".into()));
    world.refuse(rollback(Some(9), None), &Refusal::ChampionMoved(hash(10)));
    world.accept(report(None, CRITICAL, Some(1), 400));
    let Response::RolledBack { promotion, versions, distributed } = world.accept(rollback(Some(10), None))
    else {
        panic!()
    };
    assert_eq!((promotion.model, promotion.previous, promotion.generation), (hash(9), hash(10), 3));
    let gain = evidence(hash(9), hash(1)).elo_delta;
    assert_eq!(promotion.new_elo, ELO_INITIAL + gain);
    assert!((promotion.elo_delta + gain).abs() < 1e-9, "{promotion:?}");
    assert_eq!((versions, distributed), ((2, 1), true));
    let config = world.config();
    assert_eq!((config.champion, config.newest, config.elo), (hash(9), hash(9), ELO_INITIAL + gain));
    assert_eq!((config.training.live.as_ref(), config.training.failures), (None, 0));
    assert!(config.candidates.is_empty() && config.evaluation.live.is_none());
    assert_eq!(severity(&world), Some((Severity::Critical, true)), "until it has settled");
    for n in [10, 11] {
        let status = &world.state.models.get(&hash(n)).unwrap().status;
        assert!(matches!(status, ModelStatus::Rejected { .. }), "{n}: {status:?}");
    }
    // The work that was going on does not count any more.
    let stale = |epoch| Refusal::StaleEpoch { current: epoch, epoch };
    world.refuse(trained(&training, model(hash(12), hash(10))), &stale(training.epoch));
    let late = evidence_of((hash(11), hash(10)), [1, 10, 20]);
    world.refuse(evaluated(&evaluation, late), &stale(evaluation.epoch));

    // The rollback is repeated: by the leader, by its successor, by a second emitter of the event, and by a
    // command that names no champion.
    let before = world.config().clone();
    assert_eq!(world.accept(rollback(Some(10), None)), Response::Unchanged);
    assert_eq!(world.accept(rollback(Some(10), Some(7))), Response::Unchanged);
    assert_eq!(world.accept(rollback(None, Some(8))), Response::Noted);
    assert_eq!(world.accept(report(None, CRITICAL, Some(2), 600)), Response::Noted);
    assert_eq!(*world.config(), before);
    assert_eq!(world.accept(report(Some(9), None, None, 700)), Response::Done, "it has settled");
    assert_eq!(world.accept(rollback(None, Some(8))), Response::Unchanged, "a node that comes late");
    assert_eq!(severity(&world), None);

    // The champion before that is next; then there is none.
    let back = world.accept(rollback(None, Some(20)));
    assert!(matches!(back, Response::RolledBack { versions: (3, 0), .. }), "{back:?}");
    assert_eq!((world.config().champion, world.config().elo), (hash(1), ELO_INITIAL));
    assert_eq!(severity(&world), None, "nobody said that it regressed: no pause");
    world.refuse(rollback(None, Some(21)), &Refusal::NothingBefore);
}

#[test]
fn a_champion_that_comes_back_has_its_games_again() {
    let mut world = World::three();
    world.accept(segment(50, 6, &[1, 2])); // games by 1
    assert_eq!(world.config().champion_games, 6);
    let mut world = world.with_candidate(9); // 10 more games by 1
    world.accept(promote(9, 1, 0.0));
    assert_eq!(world.config().champion_games, 0);
    world.accept(segment(51, 5, &[1, 2])); // late games by 1
    assert_eq!((world.config().champion_games, world.config().games_total), (0, 21));
    world.accept(rollback(Some(9), None));
    assert_eq!(world.config().champion_games, 21);
}

#[test]
fn an_appointed_champion_falls_back_to_the_one_it_replaced() {
    let mut world = third_champion();
    world.refuse(appoint(1, 9), &Refusal::ChampionMoved(hash(10)));
    world.refuse(appoint(77, 10), &Refusal::UnknownModel(hash(77)));
    world.refuse(appoint(1, 10), &Refusal::TooFewHolders { have: 0, need: 3 });
    for node in 1..=3 {
        world.accept(Command::ModelHeld(ModelHeld { model: hash(1), node: NodeId(node), at_ms: 0 }));
    }
    world.accept(report(None, MINOR, None, 5));
    let Response::Promoted { promotion, distributed: true } = world.accept(appoint(1, 10)) else { panic!() };
    assert_eq!((promotion.generation, promotion.elo_delta), (3, 0.0));
    assert_eq!(promotion.reason, "operator: r");
    assert_eq!(severity(&world), None, "that was said of the one before");
    assert_eq!(world.accept(appoint(1, 10)), Response::Unchanged);
    assert_eq!(world.config().fallback().unwrap().model, hash(10));
    world.accept(rollback(Some(1), None));
    assert_eq!((world.config().champion, world.config().generation), (hash(10), 4));
    // From here on the state is as if it had never been champion.
    assert_eq!(world.config().fallback().unwrap().model, hash(9));
    world.accept(rollback(Some(10), None));
    world.accept(rollback(Some(9), None));
    assert_eq!((world.config().champion, world.config().fallback()), (hash(1), None));
}

#[test]
fn a_champion_is_watched_against_the_one_before_it() {
    let first = World::three();
    first.refuse(
        grant(LeaseKind::Evaluation, 1, Some(hash(1)), 50),
        &Refusal::NotCandidate(hash(1)), // there was no champion before
    );
    let mut world = third_champion();
    let evidence_of = |world: &World| world.state.models.get(&hash(10)).unwrap().evidence.clone();
    let gauntlet = evidence_of(&world);
    let round = |world: &mut World, opponent: u8| {
        let lease = world.lease(LeaseKind::Evaluation, Some(hash(10)));
        world.evaluate(&lease, evidence(hash(10), hash(opponent)))
    };
    let done = round(&mut world, 9);
    assert_eq!(world.accept(done), Response::Unchanged, "said twice");
    confirm_round(&mut world, &[2, 3]);
    round(&mut world, 9);
    confirm_round(&mut world, &[2, 3]);
    let watch = world.state.watched(world.config()).unwrap();
    assert_eq!((watch.games, watch.wins, watch.losses, watch.rounds), (120, 100, 20, 2));
    round(&mut world, 1);
    assert_eq!(world.state.watched(world.config()), Some(watch), "of another pair");
    assert_eq!(evidence_of(&world), gauntlet, "what it was promoted for stays");
    assert!(world.config().evaluation.live.is_none() && world.config().candidates.is_empty());

    // The champion changes while it is watched.
    let lease = world.lease(LeaseKind::Evaluation, Some(hash(10)));
    for node in 1..=3 {
        world.accept(Command::ModelHeld(ModelHeld { model: hash(1), node: NodeId(node), at_ms: 0 }));
    }
    world.accept(appoint(1, 10));
    let watched = |world: &World| (world.config().steering.watch, world.config().steering.round.clone());
    assert_eq!(watched(&world), (None, None));
    world.evaluate(&lease, evidence(hash(10), hash(9)));
    assert_eq!((watched(&world), evidence_of(&world)), ((None, None), gauntlet));
    assert!(world.config().evaluation.live.is_none());
}

/// These nodes count the same as the latest round of the watch.
fn confirm_round(world: &mut World, nodes: &[u64]) {
    let round = world.config().steering.round.clone().unwrap();
    for node in nodes {
        let answer = confirmation(world.config().champion, round.review.epoch, *node, &round.evidence);
        assert_eq!(world.accept(answer), Response::Done);
    }
}

#[test]
fn one_evaluator_alone_says_nothing_of_a_champion() {
    let mut world = third_champion();
    (4..=5).for_each(|n| drop(world.accept(register(n, n))));
    let lose = |world: &mut World| {
        let lease = world.lease(LeaseKind::Evaluation, Some(hash(10)));
        world.evaluate(&lease, evidence_of((hash(10), hash(9)), [60, 0, 0]))
    };
    let lie = lose(&mut world);
    assert_eq!(world.state.watched(world.config()), None, "nobody has counted its games again");
    let standing = |world: &World| world.state.round_standing(world.config()).unwrap();
    assert_eq!((standing(&world).need, standing(&world).is_confirmed()), (2, false));
    let Command::CompleteEvaluation(CompleteEvaluation { evidence, epoch, .. }) = &lie else { panic!() };
    let answer = |epoch, node| confirmation(hash(10), epoch, node, evidence);
    world.refuse(answer(*epoch, 1), &Refusal::NotIndependent(NodeId(1)));
    world.refuse(answer(epoch + 1, 2), &Refusal::StaleEpoch { current: *epoch, epoch: epoch + 1 });
    world.accept(answer(*epoch, 2));
    assert_eq!(world.state.watched(world.config()), None, "one is not enough");
    // Two count otherwise, so it takes three.
    let denies = |node| {
        let counted = Some(evidence_of((hash(10), hash(9)), [0, 60, 0]).against);
        let (config_key, candidate) = (CONFIG.into(), hash(10));
        let (epoch, node) = (*epoch, NodeId(node));
        Command::ConfirmEvidence(ConfirmEvidence { config_key, candidate, epoch, node, counted, at_ms: 1 })
    };
    let mut denied = world.clone();
    denied.accept(denies(3));
    denied.accept(answer(*epoch, 4));
    assert!(denied.state.watched(denied.config()).is_some());
    denied.accept(denies(5));
    assert_eq!(denied.state.watched(denied.config()), None);
    lose(&mut denied);
    assert_eq!(denied.config().steering.watch, None, "a round that nobody confirms is dropped");
    world.accept(answer(*epoch, 3));
    let watch = world.state.watched(world.config()).unwrap();
    assert_eq!((watch.games, watch.wins, watch.rounds), (120, 0, 1));
    lose(&mut world);
    assert_eq!(
        (world.config().steering.watch, world.state.watched(world.config())),
        (Some(watch), Some(watch))
    );
    // Where nobody else is, it is as it was before.
    (2..=5).for_each(|n| drop(world.accept(online(n, false, n))));
    assert_eq!(world.state.watched(world.config()).unwrap().games, 240);
}

#[test]
fn cancelled_work_is_no_failure_and_does_not_count() {
    let mut world = World::three();
    world.accept(segment(50, 10, &[1, 2]));
    world.accept(Command::ThresholdReached(ThresholdReached {
        config_key: CONFIG.into(),
        crossing: 1,
        at_ms: 0,
    }));
    let lease = world.lease(LeaseKind::Training, None);
    let cancel = |epoch| {
        Command::CancelLease(CancelLease {
            kind: LeaseKind::Training,
            config_key: CONFIG.into(),
            epoch,
            cause: EndCause::Ordered,
            reason: "not wanted".into(),
            at_ms: 1,
        })
    };
    world.refuse(cancel(lease.epoch + 1), &Refusal::StaleEpoch { current: 1, epoch: 2 });
    assert_eq!(world.accept(cancel(lease.epoch)), Response::Done);
    assert_eq!(world.accept(cancel(lease.epoch)), Response::Unchanged);
    let slot = &world.config().training;
    let end = LeaseEnd { node: NodeId(1), cause: EndCause::Ordered, reason: "cancelled: not wanted".into() };
    assert_eq!((slot.failures, &slot.last_end), (0, &Some(end)));
    world.refuse(trained(&lease, model(hash(9), hash(1))), &Refusal::StaleEpoch { current: 1, epoch: 1 });
    // The crossing was not used up, so it can be trained for again.
    assert_eq!(world.lease(LeaseKind::Training, None).epoch, 2);
    world.refuse(cancel(lease.epoch), &Refusal::StaleEpoch { current: 2, epoch: 1 });
}

#[test]
fn what_steers_is_set_once() {
    let mut world = World::three();
    let pressure = |active, trigger: Option<u8>| {
        Command::SetBackpressure(SetBackpressure {
            config_key: CONFIG.into(),
            active,
            depth: 5,
            threshold: 4,
            release_threshold: 2,
            trigger: trigger.map(hash),
            at_ms: 30,
        })
    };
    let feedback = Feedback { learning_rate: 0.5, ..Feedback::default() };
    let reason = || "why".to_owned();
    let (config_key, at_ms) = (|| ConfigKey::from(CONFIG), 31);
    let draining = |draining| {
        Command::SetDraining(SetDraining {
            node: NodeId(2),
            draining,
            cause: DrainCause::Ordered,
            reason: reason(),
            at_ms,
        })
    };
    let curriculum = |weight, emergency| {
        Command::SetCurriculum(SetCurriculum {
            config_key: config_key(),
            weight,
            reason: reason(),
            emergency,
            at_ms,
        })
    };
    let table = [
        (pressure(false, None), Response::Unchanged),
        (pressure(true, Some(1)), Response::Done),
        (pressure(true, Some(1)), Response::Unchanged),
        (pressure(true, Some(2)), Response::Noted),
        (pressure(true, None), Response::Unchanged),
        (pressure(false, None), Response::Done),
        (pressure(true, Some(1)), Response::Unchanged), // a node that is late
        (pressure(true, None), Response::Done),
        (Command::SetFeedback(SetFeedback { config_key: config_key(), feedback, at_ms }), Response::Done),
        (
            Command::SetLearningRate(SetLearningRate {
                config_key: config_key(),
                scale: 0.5,
                reason: reason(),
                at_ms,
            }),
            Response::Done,
        ),
        (curriculum(0.5, true), Response::Done),
        (curriculum(0.5, false), Response::Done),
        (draining(true), Response::Done),
    ];
    for (command, answer) in table {
        assert_eq!(world.accept(command.clone()), answer, "{command:?}");
        let again = world.accept(command.clone());
        assert_eq!(again, Response::Unchanged, "{command:?}");
    }
    let steering = &world.config().steering;
    let expected = Backpressure { depth: 5, release_threshold: 2, since_ms: 30 };
    assert_eq!(steering.backpressure, Some(expected));
    assert_eq!((steering.learning_rate, steering.weight, steering.emergency), (0.5, 0.5, false));
    world.refuse(curriculum(0.0, false), &Refusal::Invalid("factor".into()));
    world.refuse(curriculum(f64::NAN, false), &Refusal::Invalid("factor".into()));

    // A node that leaves gets no work until it starts again or is wanted back.
    world.accept(segment(50, 10, &[1, 2]));
    world.accept(Command::ThresholdReached(ThresholdReached {
        config_key: config_key(),
        crossing: 1,
        at_ms: 0,
    }));
    world.refuse(grant(LeaseKind::Training, 2, None, 50), &Refusal::Draining(NodeId(2)));
    world.accept(register(2, 2));
    world.refuse(grant(LeaseKind::Training, 2, None, 50), &Refusal::Draining(NodeId(2)));
    let mut wanted = world.clone();
    wanted.accept(draining(false));
    wanted.accept(grant(LeaseKind::Training, 2, None, 50));
    world.accept(register(2, 3));
    world.accept(grant(LeaseKind::Training, 2, None, 50));
}

#[test]
fn the_memory_of_events_is_bounded() {
    let mut world = World::three();
    for n in 0..400u32 {
        let Command::SetBackpressure(SetBackpressure {
            config_key, depth, threshold, release_threshold, ..
        }) = super::sequences::steering_of(0, 0)
        else {
            panic!()
        };
        let trigger = Some(TriggerId(Hash::of(&n.to_le_bytes())));
        let command = Command::SetBackpressure(SetBackpressure {
            config_key,
            active: true,
            depth,
            threshold,
            release_threshold,
            trigger,
            at_ms: 0,
        });
        world.accept(command);
    }
    assert_eq!(world.state.triggers.len(), 256);
    assert_eq!(
        world.state.triggers.last(),
        Some(&TriggerId(Hash::of(&399u32.to_le_bytes()))),
        "the newest stay"
    );
}
