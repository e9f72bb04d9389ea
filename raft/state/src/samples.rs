//! One value of every type that is written or sent, for tests.

mod admissions;
mod bytes;
mod senders;

pub use admissions::{issue, join, remove};
pub use bytes::{body, frame, mutated};
pub use senders::{about, proposers};

use crate::command::{
    AddSegmentHolder, Appoint, CancelLease, CompleteEvaluation, CompleteTraining, ExpireLease, FailLease,
    GrantLease, InitConfig, ModelHeld, PardonNode, Promote, RegisterNode, RegisterSegment, Reject,
    RenewLease, ReportForgery, ReportRegression, Rollback, SetBackpressure, SetCurriculum, SetDraining,
    SetFeedback, SetLeader, SetLearningRate, SetOnline, SetTarget, ThresholdReached,
};
use crate::{
    admission::{self, Admission, NotAdmitted},
    cause::{DrainCause, EndCause, PromotionKind, Source},
    command::Command,
    config::Promotion,
    id::{ModelId, NodeId},
    key::ConfigKey,
    lease::LeaseKind,
    model::{ModelInfo, TrainingReport},
    response::{Refusal, Response},
    steering::{Feedback, SelfplayTarget, Severity},
};
use wire::Hash;

mod proofs;

pub use proofs::{
    TERMS, confirmation, evidence, evidence_of, games_of, peer_id, played, receipt, signature, signed_by,
};

/// Key of the one configuration.
pub const CONFIG: &str = "hex8_2p";

/// A test writes its keys as texts, also those that are none.
impl From<&str> for ConfigKey {
    fn from(text: &str) -> Self {
        Self::decoded(text)
    }
}

impl PartialEq<&str> for ConfigKey {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// A hash that is easy to distinguish from another, as an id of any kind.
pub fn hash<Id: From<Hash>>(n: u8) -> Id {
    Hash([n; 32]).into()
}

/// A target that differs from the default in every part.
pub fn target() -> SelfplayTarget {
    SelfplayTarget { weight: 0.5, simulations: 32, paused: true, reason: "why".into() }
}

/// A report with a different value in every field.
pub fn report() -> TrainingReport {
    TrainingReport { epochs_trained: 2, final_loss: 0.5, val_loss: 0.25, samples: 9, seconds: 1.5 }
}

/// A model trained from `parent`.
pub fn model(own: ModelId, parent: ModelId) -> ModelInfo {
    ModelInfo { hash: own, size: 5, parent, step: 6, generation: 1 }
}

/// The command by which peer `n` registers.
pub fn register(n: u64, boot: u64) -> Command {
    Command::RegisterNode(RegisterNode {
        peer_id: peer_id(n),
        name: "host".into(),
        addrs: vec!["/ip4/127.0.0.1/tcp/1".into()],
        http: "http://127.0.0.1:2".into(),
        version: "0.1.0".into(),
        boot,
        admission: Admission::Known,
        at_ms: 3,
    })
}

/// One value of each variant, in the order of the enum.
pub fn commands() -> Vec<Command> {
    [
        members(),
        segments(),
        leases(),
        models(),
        steering(),
        operator(),
        admissions::commands(),
        audit(),
        reviews(),
    ]
    .concat()
}

fn config_key() -> ConfigKey {
    ConfigKey::from(CONFIG)
}

fn members() -> Vec<Command> {
    vec![
        register(1, 2),
        Command::SetOnline(SetOnline {
            node: NodeId(1),
            online: true,
            reason: "r".into(),
            observed_boot: 2,
            at_ms: 3,
        }),
        Command::SetLeader(SetLeader { node: NodeId(1), term: 2, at_ms: 3 }),
    ]
}

fn segments() -> Vec<Command> {
    let segment = RegisterSegment {
        hash: hash(1),
        config_key: config_key(),
        games: 2,
        samples: 3,
        bytes: 8,
        source: Source::Selfplay,
        model: hash(4),
        receipts: vec![],
        at_ms: 7,
    };
    vec![
        Command::InitConfig(InitConfig {
            config_key: config_key(),
            champion: hash(1),
            size: 2,
            threshold: 3,
            target: target(),
            at_ms: 4,
        }),
        Command::RegisterSegment(signed_by(segment.clone(), [5, 6])),
        Command::AddSegmentHolder(AddSegmentHolder {
            hash: hash(1),
            node: NodeId(2),
            signature: signature(2, &segment.facts()),
            at_ms: 3,
        }),
        Command::ThresholdReached(ThresholdReached { config_key: config_key(), crossing: 1, at_ms: 2 }),
    ]
}

fn leases() -> Vec<Command> {
    let kind = LeaseKind::Evaluation;
    vec![
        Command::GrantLease(GrantLease {
            kind,
            config_key: config_key(),
            node: NodeId(1),
            subject: Some(hash(2)),
            ttl_ms: 3,
            at_ms: 4,
        }),
        Command::RenewLease(RenewLease {
            kind,
            config_key: config_key(),
            epoch: 1,
            node: NodeId(2),
            at_ms: 3,
        }),
        Command::ExpireLease(ExpireLease {
            kind,
            config_key: config_key(),
            epoch: 1,
            last_renewed_ms: Some(2),
            reason: "r".into(),
            at_ms: 3,
        }),
        Command::FailLease(FailLease {
            kind,
            config_key: config_key(),
            epoch: 1,
            node: NodeId(2),
            error: "e".into(),
            at_ms: 3,
        }),
        Command::CompleteTraining(CompleteTraining {
            config_key: config_key(),
            epoch: 1,
            node: NodeId(2),
            model: model(hash(3), hash(4)),
            report: report(),
            at_ms: 5,
        }),
        Command::CompleteEvaluation(CompleteEvaluation {
            config_key: config_key(),
            epoch: 1,
            node: NodeId(2),
            evidence: evidence(hash(3), hash(4)),
            at_ms: 5,
        }),
    ]
}

fn models() -> Vec<Command> {
    vec![
        Command::Promote(Promote {
            config_key: config_key(),
            candidate: hash(1),
            expected_champion: hash(2),
            elo_delta_min: 3.0,
            at_ms: 4,
        }),
        Command::Reject(Reject {
            config_key: config_key(),
            candidate: hash(1),
            reason: "r".into(),
            at_ms: 2,
        }),
        Command::ModelHeld(ModelHeld { model: hash(1), node: NodeId(2), at_ms: 3 }),
    ]
}

fn steering() -> Vec<Command> {
    vec![
        Command::SetTarget(SetTarget { config_key: config_key(), target: target(), at_ms: 1 }),
        Command::ReportRegression(ReportRegression {
            config_key: config_key(),
            champion: Some(hash(1)),
            severity: Some(Severity::Critical),
            elo_drop: 150.0,
            games: 2,
            reason: "r".into(),
            trigger: Some(hash(3)),
            at_ms: 4,
        }),
        Command::Rollback(Rollback {
            config_key: config_key(),
            expected_champion: Some(hash(1)),
            reason: "r".into(),
            triggered_by: "t".into(),
            trigger: None,
            at_ms: 2,
        }),
        Command::SetBackpressure(SetBackpressure {
            config_key: config_key(),
            active: true,
            depth: 1,
            threshold: 2,
            release_threshold: 3,
            trigger: None,
            at_ms: 4,
        }),
        Command::SetFeedback(SetFeedback {
            config_key: config_key(),
            feedback: Feedback { learning_rate: 0.5, exploration: 1.5, simulations: 2.0, reason: "r".into() },
            at_ms: 1,
        }),
        Command::SetLearningRate(SetLearningRate {
            config_key: config_key(),
            scale: 0.5,
            reason: "r".into(),
            at_ms: 1,
        }),
        Command::SetCurriculum(SetCurriculum {
            config_key: config_key(),
            weight: 0.5,
            reason: "r".into(),
            emergency: true,
            at_ms: 1,
        }),
    ]
}

/// What only operators ask for.
fn operator() -> Vec<Command> {
    let kind = LeaseKind::Evaluation;
    vec![
        Command::CancelLease(CancelLease {
            kind,
            config_key: config_key(),
            epoch: 1,
            cause: EndCause::Ordered,
            reason: "r".into(),
            at_ms: 2,
        }),
        Command::SetDraining(SetDraining {
            node: NodeId(1),
            draining: true,
            cause: DrainCause::Idle,
            reason: "r".into(),
            at_ms: 2,
        }),
        Command::Appoint(Appoint {
            config_key: config_key(),
            model: hash(1),
            expected_champion: hash(2),
            reason: "r".into(),
            at_ms: 3,
        }),
    ]
}

/// What the audit of games found, and what follows.
fn audit() -> Vec<Command> {
    vec![Command::ReportForgery(ReportForgery {
        node: NodeId(1),
        segment: hash(2),
        game: 3,
        ply: 4,
        at_ms: 5,
    })]
}

fn reviews() -> Vec<Command> {
    vec![
        confirmation(hash(3), 1, 2, &evidence(hash(3), hash(4))),
        Command::PardonNode(PardonNode { node: NodeId(1), epoch: Some(2), reason: "r".into(), at_ms: 3 }),
    ]
}

/// The responses that no sample of a reply carries and that were added after the first version.
pub fn responses() -> Vec<Response> {
    let promotion = Promotion {
        generation: 1,
        model: hash(1),
        previous: hash(2),
        previous_elo: 3.0,
        new_elo: 2.0,
        elo_delta: -1.0,
        kind: PromotionKind::RolledBack,
        reason: "r".into(),
        at_ms: 4,
        log_index: 5,
    };
    vec![
        Response::RolledBack { promotion, versions: (2, 1), distributed: true },
        Response::Noted,
        Response::Refused(Refusal::NothingBefore),
        Response::Refused(Refusal::Draining(NodeId(1))),
        Response::Refused(Refusal::NotAllowed("s".into())),
        Response::Removed { distributed: Vec::new() },
        Response::Refused(Refusal::NotAdmitted(NotAdmitted::Expired)),
        Response::Refused(Refusal::UnknownTicket(admission::ticket_id(&[2; 32]))),
        Response::Refused(Refusal::LastNode(NodeId(1))),
        Response::Refused(Refusal::StillNeeded(NodeId(1), "w".into())),
        Response::Refused(Refusal::NoReceipt(NodeId(1))),
        Response::Refused(Refusal::SegmentExists(hash(1))),
        Response::Refused(Refusal::NoEvidenceIn(hash(1))),
        Response::Refused(Refusal::OtherGames { held: 1, counted: 2 }),
        Response::Refused(Refusal::NotIndependent(NodeId(1))),
        Response::Refused(Refusal::Unconfirmed { confirmed: 1, denied: 2, need: 3 }),
        Response::Refused(Refusal::NotAsked(NodeId(1))),
    ]
}
