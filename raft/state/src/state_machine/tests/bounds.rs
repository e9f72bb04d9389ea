//! Commands that are refused before the state is looked at.

use super::*;
use crate::command::{
    AddSegmentHolder, CompleteEvaluation, CompleteTraining, InitConfig, ModelHeld, Reject, SetLeader,
    SetOnline, SetTarget,
};
use crate::samples::signature;

#[test]
fn what_is_too_large_or_senseless_is_refused_unseen() {
    let world = World::three();
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let cases: Vec<Command> = vec![
        Command::InitConfig(InitConfig {
            config_key: "".into(),
            champion: hash(2),
            size: 1,
            threshold: 1,
            target: target(),
            at_ms: 1,
        }),
        Command::InitConfig(InitConfig {
            config_key: "Hex8".into(),
            champion: hash(2),
            size: 1,
            threshold: 1,
            target: target(),
            at_ms: 1,
        }),
        Command::InitConfig(InitConfig {
            config_key: "x".repeat(33).as_str().into(),
            champion: hash(2),
            size: 1,
            threshold: 1,
            target: target(),
            at_ms: 1,
        }),
        Command::InitConfig(InitConfig {
            config_key: "x".into(),
            champion: hash(2),
            size: 1,
            threshold: 0,
            target: target(),
            at_ms: 1,
        }),
        Command::SetTarget(SetTarget {
            config_key: CONFIG.into(),
            target: SelfplayTarget { weight: -1.0, ..target() },
            at_ms: 1,
        }),
        Command::SetTarget(SetTarget {
            config_key: CONFIG.into(),
            target: SelfplayTarget { weight: f64::INFINITY, ..target() },
            at_ms: 1,
        }),
        Command::SetTarget(SetTarget {
            config_key: CONFIG.into(),
            target: SelfplayTarget { reason: long.clone(), ..target() },
            at_ms: 1,
        }),
        Command::SetOnline(SetOnline {
            node: NodeId(1),
            online: false,
            reason: long.clone(),
            observed_boot: 1,
            at_ms: 1,
        }),
        Command::Reject(Reject { config_key: CONFIG.into(), candidate: hash(1), reason: long, at_ms: 1 }),
        segment(60, 1, &[1; 65]),
        Command::CompleteEvaluation(CompleteEvaluation {
            config_key: CONFIG.into(),
            epoch: 1,
            node: NodeId(1),
            evidence: Evidence { wins: 61, ..evidence(hash(2), hash(1)) },
            at_ms: 1,
        }),
        Command::CompleteEvaluation(CompleteEvaluation {
            config_key: CONFIG.into(),
            epoch: 1,
            node: NodeId(1),
            evidence: Evidence { elo_delta: 1e6, ..evidence(hash(2), hash(1)) },
            at_ms: 1,
        }),
        Command::CompleteEvaluation(CompleteEvaluation {
            config_key: CONFIG.into(),
            epoch: 1,
            node: NodeId(1),
            evidence: Evidence { elo_error: f64::NAN, ..evidence(hash(2), hash(1)) },
            at_ms: 1,
        }),
        Command::CompleteEvaluation(CompleteEvaluation {
            config_key: CONFIG.into(),
            epoch: 1,
            node: NodeId(1),
            evidence: Evidence { segments: vec![hash(1); 257], ..evidence(hash(2), hash(1)) },
            at_ms: 1,
        }),
        Command::CompleteTraining(CompleteTraining {
            config_key: CONFIG.into(),
            epoch: 1,
            node: NodeId(1),
            model: model(hash(3), hash(1)),
            report: TrainingReport { val_loss: f64::NAN, ..report() },
            at_ms: 1,
        }),
        // No clock shows these times, up to those that neither SQLite nor an event can hold.
        Command::SetLeader(SetLeader { node: NodeId(1), term: 9, at_ms: 253_402_300_800_000 }),
        Command::SetLeader(SetLeader { node: NodeId(1), term: 9, at_ms: i64::MAX as u64 + 1 }),
        Command::SetOnline(SetOnline {
            node: NodeId(1),
            online: false,
            reason: "x".into(),
            observed_boot: 1,
            at_ms: u64::MAX,
        }),
        Command::ModelHeld(ModelHeld { model: hash(1), node: NodeId(2), at_ms: u64::MAX }),
        Command::AddSegmentHolder(AddSegmentHolder {
            hash: hash(1),
            node: NodeId(2),
            signature: signature(2, &unsigned(1, 1).facts()),
            at_ms: u64::MAX,
        }),
        Command::RegisterSegment(signed_by(RegisterSegment { bytes: 0, ..unsigned(60, 1) }, [1, 2])),
        Command::RegisterSegment(signed_by(
            RegisterSegment { bytes: (64 << 20) + 1, ..unsigned(60, 1) },
            [1, 2],
        )),
        Command::CompleteTraining(CompleteTraining {
            config_key: CONFIG.into(),
            epoch: 1,
            node: NodeId(1),
            model: ModelInfo { size: (1 << 30) + 1, ..model(hash(3), hash(1)) },
            report: report(),
            at_ms: 1,
        }),
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
