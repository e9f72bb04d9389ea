//! Tables for every command and refusal, and properties of any sequence of commands.

use super::*;
use crate::{
    command::{Feedback, LeaseKind, Severity, Sprt},
    rows,
    samples::{CONFIG, commands, evidence, hash, model, register, report, target},
    state::Lease,
};
use proptest::prelude::*;

mod steering;

/// A state and its log.
#[derive(Clone, Default)]
struct World {
    state: ClusterState,
    index: u64,
}

impl World {
    fn apply(&mut self, command: &Command) -> Response {
        self.index += 1;
        apply(&mut self.state, self.index, command)
    }

    /// Applies what must be accepted.
    fn accept(&mut self, command: Command) -> Response {
        let response = self.apply(&command);
        assert!(!matches!(response, Response::Refused(_)), "{command:?}: {response:?}");
        response
    }

    fn config(&self) -> &ConfigState {
        self.state.config(CONFIG).unwrap()
    }

    /// Applies what must be refused, and change nothing.
    fn refuse(&self, command: Command, expected: &Refusal) {
        let mut after = self.clone();
        let response = after.apply(&command);
        assert_eq!(response, Response::Refused(expected.clone()), "{command:?}");
        assert_eq!(after.state.applied, self.index + 1);
        after.state.applied = self.state.applied;
        assert_eq!(after.state, self.state, "{command:?}");
    }

    /// Three nodes, one configuration, a threshold of 10 games.
    fn three() -> Self {
        let mut world = Self::default();
        for n in 1..=3 {
            assert_eq!(world.accept(register(n, n)), Response::Node { id: n, came_online: true });
        }
        world.accept(init(hash(1)));
        world
    }

    /// A candidate that was evaluated and is held everywhere.
    fn with_candidate(mut self, candidate: u8) -> Self {
        let (champion, crossing) = (self.config().champion, self.config().crossings + 1);
        self.accept(segment(candidate.wrapping_add(100), 10, &[1, 2]));
        self.accept(Command::ThresholdReached { config_key: CONFIG.into(), crossing, at_ms: 0 });
        let training = self.lease(LeaseKind::Training, None);
        self.accept(trained(&training, model(hash(candidate), champion)));
        let evaluation = self.lease(LeaseKind::Evaluation, Some(hash(candidate)));
        self.accept(evaluated(&evaluation, evidence(hash(candidate), champion)));
        for node in 1..=3 {
            self.accept(Command::ModelHeld { model: hash(candidate), node, at_ms: 0 });
        }
        self
    }

    fn lease(&mut self, kind: LeaseKind, subject: Option<Hash>) -> Lease {
        let response = self.accept(grant(kind, 1, subject, 50));
        let Response::Lease(lease) = response else { panic!("{response:?}") };
        lease
    }
}

fn init(champion: Hash) -> Command {
    Command::InitConfig {
        config_key: CONFIG.into(),
        champion,
        size: 1,
        threshold: 10,
        target: target(),
        at_ms: 1,
    }
}

fn segment(n: u8, games: u64, holders: &[NodeId]) -> Command {
    Command::RegisterSegment {
        hash: hash(n),
        config_key: CONFIG.into(),
        games,
        samples: 3,
        source: SELFPLAY_SOURCE.into(),
        model: hash(1),
        holders: holders.to_vec(),
        at_ms: 7,
    }
}

fn grant(kind: LeaseKind, node: NodeId, subject: Option<Hash>, at_ms: u64) -> Command {
    Command::GrantLease { kind, config_key: CONFIG.into(), node, subject, ttl_ms: 1000, at_ms }
}

fn trained(lease: &Lease, model: ModelInfo) -> Command {
    let (epoch, node) = (lease.epoch, lease.node);
    Command::CompleteTraining { config_key: CONFIG.into(), epoch, node, model, report: report(), at_ms: 60 }
}

fn evaluated(lease: &Lease, evidence: crate::Evidence) -> Command {
    let (epoch, node) = (lease.epoch, lease.node);
    Command::CompleteEvaluation { config_key: CONFIG.into(), epoch, node, evidence, at_ms: 70 }
}

fn promote(candidate: u8, expected: u8, elo_delta_min: f64) -> Command {
    Command::Promote {
        config_key: CONFIG.into(),
        candidate: hash(candidate),
        expected_champion: hash(expected),
        elo_delta_min,
        at_ms: 80,
    }
}

fn online(node: NodeId, online: bool, observed_boot: u64) -> Command {
    Command::SetOnline { node, online, reason: "seen".into(), observed_boot, at_ms: 9 }
}

#[test]
fn nodes() {
    let mut world = World::three();
    // The same start again is no news; another one is, and keeps the id.
    assert_eq!(world.accept(register(2, 2)), Response::Node { id: 2, came_online: false });
    assert_eq!(world.accept(register(2, 9)), Response::Node { id: 2, came_online: true });
    assert_eq!(world.accept(online(2, true, 9)), Response::Unchanged);
    assert_eq!(world.accept(online(2, false, 9)), Response::Online { distributed: vec![] });
    assert_eq!(world.state.online().count(), 2);
    assert_eq!(world.accept(register(2, 9)), Response::Node { id: 2, came_online: true });
    world.refuse(online(2, false, 2), &Refusal::StaleBoot { current: 9, observed: 2 });
    world.refuse(online(7, false, 2), &Refusal::UnknownNode(7));
    let leader = |node, term| Command::SetLeader { node, term, at_ms: 1 };
    assert_eq!(world.accept(leader(1, 5)), Response::Done);
    assert_eq!(world.accept(leader(1, 5)), Response::Unchanged);
    world.refuse(leader(2, 5), &Refusal::StaleTerm { current: 5, term: 5 });
    world.refuse(leader(2, 4), &Refusal::StaleTerm { current: 5, term: 4 });
    world.refuse(leader(9, 6), &Refusal::UnknownNode(9));
    assert_eq!(world.accept(leader(2, 6)), Response::Done);
    assert_eq!(world.state.leader.as_ref().unwrap().elections, 2);
    for n in 4..=NODES_MAX as u64 {
        world.accept(register(n, 1));
    }
    world.refuse(register(5000, 1), &Refusal::Full("nodes".into()));
}

#[test]
fn configurations_and_targets() {
    let mut world = World::three();
    assert_eq!(world.accept(init(hash(1))), Response::Unchanged);
    world.refuse(init(hash(2)), &Refusal::ConfigExists(hash(1)));
    let other = |key: &str, champion| Command::InitConfig {
        config_key: key.into(),
        champion,
        size: 1,
        threshold: 1,
        target: target(),
        at_ms: 1,
    };
    world.refuse(other("square8_2p", hash(1)), &Refusal::ModelExists(hash(1)));
    let aim = |key: &str, target| Command::SetTarget { config_key: key.into(), target, at_ms: 1 };
    assert_eq!(world.accept(aim(CONFIG, target())), Response::Unchanged);
    assert_eq!(world.accept(aim(CONFIG, SelfplayTarget::default())), Response::Done);
    world.refuse(aim("square8_2p", target()), &Refusal::UnknownConfig("square8_2p".into()));
    for n in 1..CONFIGS_MAX {
        world.accept(other(&format!("c{n}"), Hash::of(&n.to_le_bytes())));
    }
    world.refuse(other("more", hash(200)), &Refusal::Full("configurations".into()));
}

#[test]
fn segments_and_thresholds() {
    let mut world = World::three();
    let counts = |total, since| Response::Segment { games_total: total, games_since_training: since };
    assert_eq!(world.accept(segment(50, 6, &[1, 2])), counts(6, 6));
    assert_eq!(world.accept(segment(50, 6, &[3])), Response::Duplicate);
    assert_eq!(world.state.segments.get(&hash(50)).unwrap().holders, BTreeSet::from([1, 2, 3]));
    let Command::RegisterSegment { config_key, games, samples, model, holders, at_ms, .. } =
        segment(51, 5, &[1, 2])
    else {
        panic!()
    };
    let evaluation = Command::RegisterSegment {
        hash: hash(51),
        config_key,
        games,
        samples,
        source: "evaluation".into(),
        model,
        holders,
        at_ms,
    };
    assert_eq!(world.accept(evaluation), counts(6, 6));
    world.refuse(segment(52, 1, &[1]), &Refusal::TooFewHolders { have: 1, need: 2 });
    world.refuse(segment(52, 1, &[]), &Refusal::TooFewHolders { have: 0, need: 2 });
    world.refuse(segment(52, 1, &[1, 9]), &Refusal::UnknownNode(9));
    world.refuse(segment(52, 0, &[1, 2]), &Refusal::Invalid("segment".into()));
    world.accept(online(2, false, 2));
    world.refuse(segment(52, 1, &[1, 2]), &Refusal::TooFewHolders { have: 1, need: 2 });
    world.accept(online(3, false, 3));
    assert_eq!(world.accept(segment(52, 1, &[1])), counts(7, 7)); // alone, one is enough
    let add = |n, node| Command::AddSegmentHolder { hash: hash(n), node, at_ms: 1 };
    assert_eq!(world.accept(add(52, 2)), Response::Done);
    assert_eq!(world.accept(add(52, 2)), Response::Unchanged);
    world.refuse(add(52, 9), &Refusal::UnknownNode(9));
    world.refuse(add(99, 1), &Refusal::UnknownSegment(hash(99)));
    let reached = |crossing| Command::ThresholdReached { config_key: CONFIG.into(), crossing, at_ms: 1 };
    world.refuse(reached(1), &Refusal::BelowThreshold { games: 7, threshold: 10 });
    world.refuse(reached(2), &Refusal::WrongCrossing { expected: 1, given: 2 });
    world.refuse(reached(0), &Refusal::WrongCrossing { expected: 1, given: 0 });
    assert_eq!(world.accept(segment(53, u64::MAX, &[1])), counts(u64::MAX, u64::MAX)); // no overflow
    assert_eq!(world.accept(reached(1)), Response::Done);
    assert_eq!(world.accept(reached(1)), Response::Unchanged);
    assert_eq!((world.config().games_since_training, world.config().crossings), (0, 1));
    // Holders are bounded, so that a row is.
    for n in 4..=100 {
        world.accept(register(n, 1));
    }
    for node in 3..=64 {
        world.accept(add(52, node));
    }
    world.refuse(add(52, 65), &Refusal::Full("holders".into()));
    let many: Vec<NodeId> = (30..=90).collect();
    assert_eq!(world.accept(segment(50, 6, &many)), Response::Duplicate);
    assert_eq!(world.state.segments.get(&hash(50)).unwrap().holders.len(), HOLDERS_MAX);
}

#[test]
fn leases() {
    let mut world = World::three();
    let training = LeaseKind::Training;
    world.refuse(grant(training, 1, None, 5), &Refusal::NothingToTrain);
    world.refuse(grant(training, 9, None, 5), &Refusal::UnknownNode(9));
    world.accept(segment(50, 10, &[1, 2]));
    world.accept(Command::ThresholdReached { config_key: CONFIG.into(), crossing: 1, at_ms: 0 });
    world.refuse(grant(training, 1, Some(hash(1)), 5), &Refusal::WrongSubject);
    world.refuse(grant(LeaseKind::Evaluation, 1, None, 5), &Refusal::WrongSubject);
    world.refuse(grant(LeaseKind::Evaluation, 1, Some(hash(8)), 5), &Refusal::NotCandidate(hash(8)));
    let first = world.lease(training, None);
    assert_eq!((first.epoch, first.crossing, first.renewed_ms), (1, 1, 50));
    assert_eq!(world.accept(grant(training, 1, None, 50)), Response::Lease(first.clone())); // said twice
    world.refuse(grant(training, 2, None, 51), &Refusal::LeaseHeld { kind: training, node: 1, epoch: 1 });
    world.refuse(grant(training, 1, None, 51), &Refusal::LeaseHeld { kind: training, node: 1, epoch: 1 });
    let renew = |epoch, node, at_ms| Command::RenewLease {
        kind: training,
        config_key: CONFIG.into(),
        epoch,
        node,
        at_ms,
    };
    let renewed = |at| Response::Lease(Lease { renewed_ms: at, ..first.clone() });
    assert_eq!(world.accept(renew(1, 1, 70)), renewed(70));
    assert_eq!(world.accept(renew(1, 1, 60)), renewed(70)); // a clock that goes back renews nothing
    world.refuse(renew(1, 2, 80), &Refusal::NotHolder(1));
    world.refuse(renew(2, 1, 80), &Refusal::StaleEpoch { current: 1, epoch: 2 });
    let expire = |epoch, seen| Command::ExpireLease {
        kind: training,
        config_key: CONFIG.into(),
        epoch,
        last_renewed_ms: seen,
        reason: "silent".into(),
        at_ms: 90,
    };
    world.refuse(expire(1, 50), &Refusal::RenewedSince { renewed_ms: 70 });
    assert_eq!(world.accept(expire(1, 70)), Response::Done);
    assert_eq!(world.config().training.last_error.as_deref(), Some("expired: silent"));
    world.refuse(expire(1, 70), &Refusal::StaleEpoch { current: 1, epoch: 1 });
    world.refuse(renew(1, 1, 99), &Refusal::StaleEpoch { current: 1, epoch: 1 });
    let late = trained(&first, model(hash(9), hash(1)));
    world.refuse(late, &Refusal::StaleEpoch { current: 1, epoch: 1 });
    let second = world.lease(training, None);
    assert_eq!(second.epoch, 2);
    let fail = |epoch, node| Command::FailLease {
        kind: training,
        config_key: CONFIG.into(),
        epoch,
        node,
        error: "no memory".into(),
        at_ms: 1,
    };
    world.refuse(fail(2, 3), &Refusal::NotHolder(1));
    assert_eq!(world.accept(fail(2, 1)), Response::Done);
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
    let done = evaluated(&evaluation, evidence(hash(9), hash(1)));
    assert_eq!(world.accept(done.clone()), Response::Done);
    assert_eq!(world.accept(done), Response::Unchanged);
}

#[test]
fn promotion() {
    let world = World::three().with_candidate(9);
    world.refuse(promote(9, 2, 0.0), &Refusal::ChampionMoved(hash(1)));
    world.refuse(promote(8, 1, 0.0), &Refusal::UnknownModel(hash(8)));
    world.refuse(promote(1, 1, 0.0), &Refusal::NotCandidate(hash(1)));
    world.refuse(promote(9, 1, 101.0), &Refusal::EloTooLow { delta: 100.0, min: 101.0 });
    world.refuse(promote(9, 1, f64::NAN), &Refusal::Invalid("number".into()));
    let with = |change: &dyn Fn(&mut crate::Evidence)| {
        let mut world = world.clone();
        let mut changed = evidence(hash(9), hash(1));
        change(&mut changed);
        let lease = world.lease(LeaseKind::Evaluation, Some(hash(9)));
        world.accept(evaluated(&lease, changed));
        world
    };
    with(&|e| e.champion = hash(5)).refuse(promote(9, 1, 0.0), &Refusal::NoEvidence);
    let short = with(&|e| (e.games, e.wins, e.losses) = (15, 15, 0));
    short.refuse(promote(9, 1, 0.0), &Refusal::ShortEvidence { games: 15, need: EVIDENCE_GAMES_MIN });
    with(&|e| e.passed_gauntlet = false).refuse(promote(9, 1, 0.0), &Refusal::GauntletFailed);
    with(&|e| e.sprt = Sprt::Inconclusive).refuse(promote(9, 1, 0.0), &Refusal::NotAccepted);
    with(&|e| e.sprt = Sprt::Reject).refuse(promote(9, 1, 0.0), &Refusal::NotAccepted);
    let mut lonely = World::three();
    lonely.accept(segment(50, 10, &[1, 2]));
    lonely.accept(Command::ThresholdReached { config_key: CONFIG.into(), crossing: 1, at_ms: 0 });
    let lease = lonely.lease(LeaseKind::Training, None);
    lonely.accept(trained(&lease, model(hash(9), hash(1))));
    lonely.refuse(promote(9, 1, 0.0), &Refusal::NoEvidence);
    let lease = lonely.lease(LeaseKind::Evaluation, Some(hash(9)));
    lonely.accept(evaluated(&lease, evidence(hash(9), hash(1))));
    lonely.refuse(promote(9, 1, 0.0), &Refusal::TooFewHolders { have: 1, need: 3 });

    let mut world = world;
    let Response::Promoted { promotion, distributed: true } = world.accept(promote(9, 1, 50.0)) else {
        panic!()
    };
    assert_eq!((promotion.generation, promotion.new_elo), (1, ELO_INITIAL + 100.0));
    assert_eq!(world.accept(promote(9, 1, 50.0)), Response::Unchanged);
    let status = |world: &World, n| world.state.models.get(&hash(n)).unwrap().status.clone();
    assert_eq!((status(&world, 9), status(&world, 1)), (ModelStatus::Champion, ModelStatus::Retired));
    assert!(world.config().candidates.is_empty());
    world.refuse(promote(1, 9, 0.0), &Refusal::NotCandidate(hash(1)));
    let reject =
        |n| Command::Reject { config_key: CONFIG.into(), candidate: hash(n), reason: "r".into(), at_ms: 1 };
    world.refuse(reject(9), &Refusal::NotCandidate(hash(9)));
    world.refuse(reject(1), &Refusal::NotCandidate(hash(1)));
    world.refuse(reject(77), &Refusal::UnknownModel(hash(77)));
    let mut world = world.with_candidate(10);
    assert_eq!(world.accept(reject(10)), Response::Done);
    assert_eq!(world.accept(reject(10)), Response::Unchanged);
    world.refuse(promote(10, 9, 0.0), &Refusal::NotCandidate(hash(10)));
    world.refuse(Command::ModelHeld { model: hash(99), node: 1, at_ms: 1 }, &Refusal::UnknownModel(hash(99)));
    world.refuse(Command::ModelHeld { model: hash(9), node: 99, at_ms: 1 }, &Refusal::UnknownNode(99));
}

#[test]
fn distribution_is_told_once() {
    let mut world = World::three().with_candidate(9);
    world.accept(register(4, 4)); // came after the others had it
    let Response::Promoted { distributed: false, .. } = world.accept(promote(9, 1, 0.0)) else { panic!() };
    // The one that lacks it goes.
    let gone = world.clone().accept(online(4, false, 4));
    let told = crate::Distributed { config_key: CONFIG.into(), model: hash(9) };
    assert_eq!(gone, Response::Online { distributed: vec![told] });
    // Or gets it.
    let held = |node| Command::ModelHeld { model: hash(9), node, at_ms: 1 };
    assert_eq!(world.accept(held(4)), Response::Held { distributed: true });
    assert_eq!(world.accept(held(4)), Response::Unchanged);
    world.accept(register(5, 5));
    assert_eq!(world.accept(held(5)), Response::Held { distributed: false });
}

#[test]
fn what_is_too_large_or_senseless_is_refused_unseen() {
    let world = World::three();
    let long = "x".repeat(TEXT_MAX + 1);
    let cases: Vec<Command> = vec![
        Command::InitConfig {
            config_key: String::new(),
            champion: hash(2),
            size: 1,
            threshold: 1,
            target: target(),
            at_ms: 1,
        },
        Command::InitConfig {
            config_key: "Hex8".into(),
            champion: hash(2),
            size: 1,
            threshold: 1,
            target: target(),
            at_ms: 1,
        },
        Command::InitConfig {
            config_key: "x".repeat(33),
            champion: hash(2),
            size: 1,
            threshold: 1,
            target: target(),
            at_ms: 1,
        },
        Command::InitConfig {
            config_key: "x".into(),
            champion: hash(2),
            size: 1,
            threshold: 0,
            target: target(),
            at_ms: 1,
        },
        Command::SetTarget {
            config_key: CONFIG.into(),
            target: SelfplayTarget { weight: -1.0, ..target() },
            at_ms: 1,
        },
        Command::SetTarget {
            config_key: CONFIG.into(),
            target: SelfplayTarget { weight: f64::INFINITY, ..target() },
            at_ms: 1,
        },
        Command::SetTarget {
            config_key: CONFIG.into(),
            target: SelfplayTarget { reason: long.clone(), ..target() },
            at_ms: 1,
        },
        Command::SetOnline { node: 1, online: false, reason: long.clone(), observed_boot: 1, at_ms: 1 },
        Command::Reject { config_key: CONFIG.into(), candidate: hash(1), reason: long, at_ms: 1 },
        segment(60, 1, &[1; 65]),
        Command::CompleteEvaluation {
            config_key: CONFIG.into(),
            epoch: 1,
            node: 1,
            evidence: crate::Evidence { wins: 41, ..evidence(hash(2), hash(1)) },
            at_ms: 1,
        },
        Command::CompleteEvaluation {
            config_key: CONFIG.into(),
            epoch: 1,
            node: 1,
            evidence: crate::Evidence { elo_delta: 1e6, ..evidence(hash(2), hash(1)) },
            at_ms: 1,
        },
        Command::CompleteEvaluation {
            config_key: CONFIG.into(),
            epoch: 1,
            node: 1,
            evidence: crate::Evidence { elo_error: f64::NAN, ..evidence(hash(2), hash(1)) },
            at_ms: 1,
        },
        Command::CompleteEvaluation {
            config_key: CONFIG.into(),
            epoch: 1,
            node: 1,
            evidence: crate::Evidence { segments: vec![hash(1); 257], ..evidence(hash(2), hash(1)) },
            at_ms: 1,
        },
        Command::CompleteTraining {
            config_key: CONFIG.into(),
            epoch: 1,
            node: 1,
            model: model(hash(3), hash(1)),
            report: crate::TrainingReport { val_loss: f64::NAN, ..report() },
            at_ms: 1,
        },
    ];
    for command in cases {
        let mut after = world.clone();
        let response = after.apply(&command);
        assert!(matches!(response, Response::Refused(Refusal::Invalid(_))), "{command:?}: {response:?}");
        after.state.applied = world.state.applied;
        assert_eq!(after.state, world.state);
    }
    assert!(commands().iter().all(|command| check(command).is_ok()));
}

const TEXT_MAX: usize = crate::command::TEXT_BYTES_MAX;

/// A command that fits the state more or less, so that sequences of them get somewhere.
fn sensible(state: &ClusterState, choice: u8, n: u8) -> Command {
    let config_key = || CONFIG.to_owned();
    let node = 1 + u64::from(n % 4);
    let at_ms = u64::from(n);
    let Some(config) = state.config(CONFIG) else {
        return if choice.is_multiple_of(2) { init(hash(1)) } else { register(node, at_ms % 3) };
    };
    let kind = if choice.is_multiple_of(2) { LeaseKind::Training } else { LeaseKind::Evaluation };
    let candidate = config.candidates.get(usize::from(n) % config.candidates.len().max(1)).copied();
    let slot = config.lease(kind);
    match choice % 15 {
        0 => register(node, at_ms % 3),
        1 => online(node, !n.is_multiple_of(3), state.nodes.get(&node).map_or(0, |node| node.boot)),
        2 => segment(n, u64::from(n % 16), &[1, 2, node]),
        3 => Command::ThresholdReached { config_key: config_key(), crossing: config.crossings + 1, at_ms },
        4 | 5 => {
            let subject = candidate.or(Some(config.champion)).filter(|_| kind == LeaseKind::Evaluation);
            grant(kind, node, subject, at_ms)
        }
        6 | 7 => match (kind, &slot.live) {
            (LeaseKind::Training, Some(lease)) => trained(lease, model(hash(n), config.champion)),
            (LeaseKind::Evaluation, Some(lease)) => {
                let watched = lease.subject == Some(config.champion);
                let before = config.fallback().filter(|_| watched).map(|before| before.model);
                evaluated(
                    lease,
                    evidence(lease.subject.unwrap_or(hash(n)), before.unwrap_or(config.champion)),
                )
            }
            (_, None) => {
                Command::RenewLease { kind, config_key: config_key(), epoch: slot.epoch, node, at_ms }
            }
        },
        8 => match &slot.live {
            Some(lease) if n.is_multiple_of(2) => Command::ExpireLease {
                kind,
                config_key: config_key(),
                epoch: lease.epoch,
                last_renewed_ms: lease.renewed_ms,
                reason: "r".into(),
                at_ms,
            },
            Some(lease) => Command::RenewLease {
                kind,
                config_key: config_key(),
                epoch: lease.epoch,
                node: lease.node,
                at_ms,
            },
            None => Command::FailLease {
                kind,
                config_key: config_key(),
                epoch: slot.epoch,
                node,
                error: "e".into(),
                at_ms,
            },
        },
        9 => Command::ModelHeld { model: candidate.unwrap_or(config.champion), node, at_ms },
        10 => Command::Promote {
            config_key: config_key(),
            candidate: candidate.unwrap_or(hash(n)),
            expected_champion: config.champion,
            elo_delta_min: 10.0,
            at_ms,
        },
        11 => regression(choice, n, config),
        12 => steering_of(choice, n),
        13 => Command::Appoint {
            config_key: config_key(),
            model: candidate.unwrap_or(config.initial),
            expected_champion: config.champion,
            reason: "r".into(),
            at_ms,
        },
        _ => match n % 4 {
            0 => Command::Reject {
                config_key: config_key(),
                candidate: candidate.unwrap_or(hash(n)),
                reason: "r".into(),
                at_ms,
            },
            1 => Command::SetLeader { node, term: at_ms, at_ms },
            2 => Command::AddSegmentHolder { hash: hash(n), node, at_ms },
            _ => Command::SetTarget {
                config_key: config_key(),
                target: SelfplayTarget { weight: f64::from(n), ..target() },
                at_ms,
            },
        },
    }
}

/// A champion that regresses, is rolled back, and settles.
fn regression(choice: u8, n: u8, config: &ConfigState) -> Command {
    let (config_key, at_ms) = (CONFIG.to_owned(), u64::from(n));
    let trigger = n.is_multiple_of(2).then(|| hash(n));
    let named = trigger.is_none() || n.is_multiple_of(3);
    let champion = named.then_some(config.champion);
    match choice % 3 {
        0 => Command::Rollback {
            config_key,
            expected_champion: champion,
            reason: "r".into(),
            triggered_by: "t".into(),
            trigger,
            at_ms,
        },
        _ => Command::ReportRegression {
            config_key,
            champion,
            severity: [Some(Severity::Minor), Some(Severity::Critical), None][usize::from(n % 3)],
            elo_drop: f64::from(n),
            games: 50,
            reason: "r".into(),
            trigger,
            at_ms,
        },
    }
}

/// What else the leader's daemons set.
fn steering_of(choice: u8, n: u8) -> Command {
    let (config_key, at_ms, reason) = (CONFIG.to_owned(), u64::from(n), "r".to_owned());
    let factor = 0.5 + f64::from(n % 4);
    match choice % 5 {
        0 => Command::SetBackpressure {
            config_key,
            active: n.is_multiple_of(2),
            depth: 3,
            threshold: 2,
            release_threshold: 1,
            trigger: n.is_multiple_of(3).then(|| hash(n)),
            at_ms,
        },
        1 => Command::SetFeedback {
            config_key,
            feedback: Feedback { exploration: factor, ..Feedback::default() },
            at_ms,
        },
        2 => Command::SetLearningRate { config_key, scale: factor, reason, at_ms },
        3 => Command::SetCurriculum { config_key, weight: factor, reason, emergency: n > 200, at_ms },
        _ => Command::SetDraining { node: 1 + u64::from(n % 4), draining: n > 200, reason, at_ms },
    }
}

/// Steps of a sequence: mostly sensible commands, some from nowhere.
fn steps() -> impl Strategy<Value = Vec<(bool, u8, u8)>> {
    prop::collection::vec((prop::bool::weighted(0.9), any::<u8>(), any::<u8>()), 0..250)
}

fn command_of(state: &ClusterState, (fits, choice, n): (bool, u8, u8)) -> Command {
    let samples = commands();
    if fits { sensible(state, choice, n) } else { samples[usize::from(choice) % samples.len()].clone() }
}

/// What holds in every state, and between a state and the next.
fn invariants(before: &ClusterState, after: &ClusterState) {
    assert!(after.last_node_id >= before.last_node_id && after.nodes.len() as u64 == after.last_node_id);
    for (key, config) in after.configs.iter() {
        let mut champion = config.initial;
        let mut elo = ELO_INITIAL;
        for (generation, promotion) in (1..).zip(&config.history) {
            assert_eq!((promotion.generation, promotion.previous), (generation, champion));
            assert_eq!(promotion.previous_elo.to_bits(), elo.to_bits());
            (champion, elo) = (promotion.model, promotion.new_elo);
        }
        assert_eq!((config.champion, config.generation), (champion, config.history.len() as u64));
        assert!(config.consumed <= config.crossings && config.games_since_training <= config.games_total);
        let champions =
            after.models.iter().filter(|(_, m)| m.config_key == *key && m.status == ModelStatus::Champion);
        assert_eq!(champions.map(|(hash, _)| *hash).collect::<Vec<_>>(), [champion]);
        let candidates =
            after.models.iter().filter(|(_, m)| m.config_key == *key && m.status == ModelStatus::Candidate);
        let listed: BTreeSet<Hash> = config.candidates.iter().copied().collect();
        let played = after.segments.iter().map(|(_, segment)| segment).filter(|segment| {
            segment.config_key == *key && segment.model == champion && segment.source == SELFPLAY_SOURCE
        });
        assert_eq!(config.champion_games, played.map(|segment| segment.games).sum::<u64>());
        let steering = &config.steering;
        assert!(steering.regression.as_ref().is_none_or(|regression| regression.champion == champion));
        let before_it = config.fallback();
        assert!(before_it.is_none_or(|back| back.model != champion && back.generation < config.generation));
        assert!(
            steering.watch.is_none_or(|watch| before_it.is_some_and(|back| back.model == watch.opponent))
        );
        assert!(steering.watch.is_none_or(|watch| watch.wins + watch.losses <= watch.games));
        assert_eq!(candidates.map(|(hash, _)| *hash).collect::<BTreeSet<_>>(), listed);
        for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
            let slot = config.lease(kind);
            assert!(slot.live.as_ref().is_none_or(|lease| lease.epoch == slot.epoch && lease.kind == kind));
        }
        if let Some(old) = before.configs.get(key) {
            for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
                let (old, new) = (old.lease(kind), config.lease(kind));
                assert!(new.epoch == old.epoch || (new.epoch == old.epoch + 1 && old.live.is_none()));
            }
            assert!(config.crossings >= old.crossings && config.games_total >= old.games_total);
            assert!(config.history.starts_with(&old.history), "history was rewritten");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_sequence(steps in steps()) {
        let mut world = World::default();
        let mut kept = std::collections::BTreeMap::new();
        for step in steps {
            let command = command_of(&world.state, step);
            let before = world.clone();
            let mut twin = world.clone();
            let response = world.apply(&command);
            prop_assert_eq!(&twin.apply(&command), &response, "not deterministic: {:?}", command);
            prop_assert_eq!(&twin.state, &world.state);
            invariants(&before.state, &world.state);
            // What changed is what is written; a refusal writes nothing.
            let changes = rows::changes(&before.state, &world.state).unwrap();
            if matches!(response, Response::Refused(_) | Response::Unchanged) {
                twin.state.applied = before.state.applied;
                prop_assert_eq!(&twin.state, &before.state, "{:?} changed something", command);
                prop_assert!(changes.is_empty(), "{:?} wrote {:?}", command, changes);
            }
            for row in changes {
                kept.insert((row.kind, row.key.clone()), row);
            }
            // Said twice, done once.
            let mut again = world.clone();
            again.apply(&command);
            again.state.applied = world.state.applied;
            prop_assert_eq!(&again.state, &world.state, "{:?} is not idempotent", command);
        }
        let restored = rows::restore(kept.into_values(), world.state.applied).unwrap();
        prop_assert_eq!(&restored, &world.state);
        let all = rows::rows(&world.state).unwrap();
        prop_assert_eq!(&rows::restore(all, world.state.applied).unwrap(), &world.state);
    }
}

/// The sequences above are worth something: they reach promotions.
#[test]
fn sequences_get_somewhere() {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(5);
    let (mut promotions, mut rollbacks, mut watched) = (0, 0, 0);
    for _ in 0..40 {
        let mut world = World::default();
        for _ in 0..250 {
            let command = command_of(&world.state, (rng.random_bool(0.9), rng.random(), rng.random()));
            rollbacks += u32::from(matches!(world.apply(&command), Response::RolledBack { .. }));
        }
        let config = world.state.config(CONFIG);
        promotions += config.map_or(0, |config| config.history.len());
        watched += u32::from(config.is_some_and(|config| config.steering.watch.is_some()));
    }
    assert!(promotions >= 8 && rollbacks >= 2 && watched >= 1, "{promotions} {rollbacks} {watched}");
}
