//! Tables for every command and refusal, and properties of any sequence of commands.

use super::*;
use crate::{
    cause::{DrainCause, EndCause, PromotionKind, Source},
    command::{
        CompleteEvaluation, CompleteTraining, GrantLease, HOLDERS_MAX, InitConfig, ModelHeld, Promote,
        RegisterSegment, SetOnline, TEXT_BYTES_MAX, ThresholdReached,
    },
    config::{ConfigState, ELO_INITIAL, Promotion},
    id::{ModelId, NodeId, TriggerId},
    key::ConfigKey,
    lease::{Lease, LeaseEnd, LeaseKind},
    model::{Evidence, ModelInfo, ModelStatus, TrainingReport},
    response::{Distributed, Refusal},
    rows,
    samples::{
        CONFIG, commands, confirmation, evidence, games_of, hash, model, register, report, signed_by, target,
    },
    steering::{Feedback, SelfplayTarget, Severity},
};
use std::collections::BTreeSet;
use wire::Hash;

mod admissions;
mod bounds;
mod causes;
mod forgery;
mod records;
mod reviews;
mod sequences;
mod steering;
mod work;

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

    /// Applies a command that must be accepted.
    fn accept(&mut self, command: Command) -> Response {
        let response = self.apply(&command);
        assert!(!matches!(response, Response::Refused(_)), "{command:?}: {response:?}");
        response
    }

    fn config(&self) -> &ConfigState {
        self.state.config(CONFIG).unwrap()
    }

    /// Applies a command that must be refused and must change nothing.
    fn refuse(&self, command: Command, expected: &Refusal) {
        let mut after = self.clone();
        let response = after.apply(&command);
        assert_eq!(response, Response::Refused(expected.clone()), "{command:?}");
        assert_eq!(after.state.applied, self.index + 1);
        after.state.applied = self.state.applied;
        assert_eq!(after.state, self.state, "{command:?}");
    }

    /// A world of three nodes, one configuration, and a threshold of 10 games.
    fn three() -> Self {
        let mut world = Self::default();
        for n in 1..=3 {
            assert_eq!(world.accept(register(n, n)), Response::Node { id: NodeId(n), came_online: true });
        }
        world.accept(init(hash(1)));
        world
    }

    /// Adds a candidate that was evaluated and that every node holds.
    fn with_candidate(mut self, candidate: u8) -> Self {
        let (champion, crossing) = (self.config().champion, self.config().crossings + 1);
        self.accept(segment(candidate.wrapping_add(100), 10, &[1, 2]));
        self.accept(Command::ThresholdReached(ThresholdReached {
            config_key: CONFIG.into(),
            crossing,
            at_ms: 0,
        }));
        let training = self.lease(LeaseKind::Training, None);
        self.accept(trained(&training, model(hash(candidate), champion)));
        let evaluation = self.lease(LeaseKind::Evaluation, Some(hash(candidate)));
        self.evaluate(&evaluation, evidence(hash(candidate), champion));
        self.confirm(candidate, &[2, 3]);
        for node in 1..=3 {
            self.accept(Command::ModelHeld(ModelHeld {
                model: hash(candidate),
                node: NodeId(node),
                at_ms: 0,
            }));
        }
        self
    }

    /// Registers the games of the evidence, and completes the evaluation with it. Returns that command.
    fn evaluate(&mut self, lease: &Lease, evidence: Evidence) -> Command {
        let evidence = fresh(lease, evidence);
        self.accept(Command::RegisterSegment(recorded_by(lease, games_of(&evidence, CONFIG))));
        let completed = evaluated(lease, evidence);
        assert_eq!(self.accept(completed.clone()), Response::Done);
        completed
    }

    /// These nodes count the same as the latest evaluation.
    fn confirm(&mut self, candidate: u8, nodes: &[u64]) {
        let model = self.state.models.get(&hash(candidate)).unwrap().clone();
        let (evidence, review) = (model.evidence.unwrap(), model.review.unwrap());
        for node in nodes {
            let answer = confirmation(hash(candidate), review.epoch, *node, &evidence);
            assert_eq!(self.accept(answer), Response::Done);
        }
    }

    fn lease(&mut self, kind: LeaseKind, subject: Option<ModelId>) -> Lease {
        let response = self.accept(grant(kind, 1, subject, 50));
        let Response::Lease(lease) = response else { panic!("{response:?}") };
        lease
    }
}

fn init(champion: ModelId) -> Command {
    Command::InitConfig(InitConfig {
        config_key: CONFIG.into(),
        champion,
        size: 1,
        threshold: 10,
        target: target(),
        at_ms: 1,
    })
}

fn segment(n: u8, games: u64, holders: &[u64]) -> Command {
    Command::RegisterSegment(signed_by(unsigned(n, games), holders.iter().copied()))
}

fn unsigned(n: u8, games: u64) -> RegisterSegment {
    RegisterSegment {
        hash: hash(n),
        config_key: CONFIG.into(),
        games,
        samples: 3,
        bytes: 9,
        source: Source::Selfplay,
        model: hash(1),
        receipts: vec![],
        at_ms: 7,
    }
}

fn grant(kind: LeaseKind, node: u64, subject: Option<ModelId>, at_ms: u64) -> Command {
    let node = NodeId(node);
    Command::GrantLease(GrantLease { kind, config_key: CONFIG.into(), node, subject, ttl_ms: 1000, at_ms })
}

fn trained(lease: &Lease, model: ModelInfo) -> Command {
    let (epoch, node) = (lease.epoch, lease.node);
    Command::CompleteTraining(CompleteTraining {
        config_key: CONFIG.into(),
        epoch,
        node,
        model,
        report: report(),
        at_ms: 60,
    })
}

fn evaluated(lease: &Lease, evidence: Evidence) -> Command {
    let (epoch, node) = (lease.epoch, lease.node);
    Command::CompleteEvaluation(CompleteEvaluation {
        config_key: CONFIG.into(),
        epoch,
        node,
        evidence,
        at_ms: 70,
    })
}

/// The registration of games by the holder of a lease and another node.
fn recorded_by(lease: &Lease, games: RegisterSegment) -> RegisterSegment {
    let holder = lease.node.0;
    signed_by(games, [holder, if holder == 1 { 2 } else { 1 }])
}

/// The evidence with a segment of its own for this evaluation.
fn fresh(lease: &Lease, evidence: Evidence) -> Evidence {
    Evidence { segments: vec![Hash::of(&lease.id.to_le_bytes()).into()], ..evidence }
}

fn promote(candidate: u8, expected: u8, elo_delta_min: f64) -> Command {
    Command::Promote(Promote {
        config_key: CONFIG.into(),
        candidate: hash(candidate),
        expected_champion: hash(expected),
        elo_delta_min,
        at_ms: 80,
    })
}

fn online(node: u64, online: bool, observed_boot: u64) -> Command {
    let node = NodeId(node);
    Command::SetOnline(SetOnline { node, online, reason: "seen".into(), observed_boot, at_ms: 9 })
}
