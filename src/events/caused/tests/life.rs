//! A small cluster whose commands are applied one by one, with the events of each.

use crate::events::Event;
use crate::events::caused::*;
use cluster_state::command::{
    CompleteEvaluation, CompleteTraining, GrantLease, InitConfig, ModelHeld, Promote, RegisterNode,
    RegisterSegment, SetLeader, ThresholdReached,
};
use cluster_state::{
    Evidence, ModelId, ModelInfo, SegmentId, SelfplayTarget, Source, TrainingReport, samples,
    state_machine::apply,
};
use std::collections::BTreeSet;
use wire::Hash;

pub(super) const KEY: &str = "hex8_2p";

pub(super) fn hash<Id: From<Hash>>(name: &str) -> Id {
    Hash::of(name.as_bytes()).into()
}

/// Applies commands and collects the names of what they caused.
#[derive(Default)]
pub(super) struct Life {
    pub(super) state: ClusterState,
    pub(super) index: u64,
    pub(super) commands: BTreeSet<&'static str>,
}

impl Life {
    pub(super) fn events(&mut self, command: &Command) -> (Response, Vec<Event>) {
        self.index += 1;
        self.commands.insert(command.name());
        let before = self.state.clone();
        let response = apply(&mut self.state, self.index, command);
        let applied = AppliedCommand {
            response: &response,
            before: &before,
            state: &self.state,
            games_planned: GAMES_PLANNED,
        };
        let events = caused(command, &applied);
        (response, events)
    }

    /// The command causes these events, and nothing when it is applied again.
    pub(super) fn check(&mut self, command: Command, expected: &[&str]) {
        let (response, events) = self.events(&command);
        assert!(!matches!(response, Response::Refused(_)), "{command:?}: {response:?}");
        assert_eq!(events.iter().map(Event::name).collect::<Vec<_>>(), expected, "{command:?}");
        for event in &events {
            let json = serde_json::to_value(event).unwrap();
            assert_eq!(json[event.name()]["timestamp"], seconds(command.at_ms()), "{event:?}");
        }
        let (response, events) = self.events(&command);
        assert_eq!(events, [], "again: {command:?}: {response:?}");
    }

    pub(super) fn register(&mut self, id: u64) {
        let command = Command::RegisterNode(RegisterNode {
            peer_id: samples::peer_id(id),
            name: format!("host-{id}"),
            addrs: vec![],
            http: String::new(),
            version: String::new(),
            boot: id,
            admission: cluster_state::Admission::Known,
            at_ms: 1_000 + id,
        });
        self.check(command, &["HOST_ONLINE"]);
    }

    pub(super) fn segment(&mut self, name: &str, source: Source, expected: &[&str]) {
        let command = RegisterSegment {
            hash: SegmentId(hash(name)),
            config_key: KEY.into(),
            games: 600,
            samples: 6000,
            bytes: 60_000,
            source,
            model: ModelId(hash("untrained")),
            receipts: vec![],
            at_ms: 3_000,
        };
        self.check(Command::RegisterSegment(samples::signed_by(command, [2, 1])), expected);
    }

    pub(super) fn grant(
        &mut self,
        kind: LeaseKind,
        subject: Option<ModelId>,
        at_ms: u64,
        expected: &str,
    ) -> u64 {
        let command = Command::GrantLease(GrantLease {
            kind,
            config_key: KEY.into(),
            node: NodeId(2),
            subject,
            ttl_ms: 10,
            at_ms,
        });
        self.check(command, &[expected, "WORK_CLAIMED"]);
        self.state.config(KEY).unwrap().lease(kind).epoch
    }

    pub(super) fn train(&mut self, crossing: u64, candidate: &str) {
        self.segment(&format!("games-{crossing}"), Source::Selfplay, &["NEW_GAMES_AVAILABLE"]);
        let command =
            Command::ThresholdReached(ThresholdReached { config_key: KEY.into(), crossing, at_ms: 4_000 });
        self.check(command, &["TRAINING_THRESHOLD_REACHED", "WORK_QUEUED"]);
        let epoch = self.grant(LeaseKind::Training, None, 5_000 + crossing, "TRAINING_STARTED");
        let parent = self.state.config(KEY).unwrap().newest;
        let command = Command::CompleteTraining(CompleteTraining {
            config_key: KEY.into(),
            epoch,
            node: NodeId(2),
            model: ModelInfo {
                hash: ModelId(hash(candidate)),
                size: 1,
                parent,
                step: crossing,
                generation: crossing,
            },
            report: TrainingReport {
                epochs_trained: 1,
                final_loss: 0.5,
                val_loss: 0.6,
                samples: 9,
                seconds: 1.0,
            },
            at_ms: 6_000,
        });
        self.check(command, &["TRAINING_COMPLETED", "WORK_COMPLETED", "WORK_QUEUED"]);
    }

    /// The evidence, whose games are registered.
    pub(super) fn played(&mut self, evidence: Evidence) -> Evidence {
        let hash = SegmentId(hash(&format!("evaluation {}", self.index)));
        let evidence = Evidence { segments: vec![hash], ..evidence };
        let games = samples::signed_by(samples::games_of(&evidence, KEY), [2, 1]);
        self.check(Command::RegisterSegment(RegisterSegment { at_ms: 7_500, ..games }), &[]);
        evidence
    }

    pub(super) fn evaluate(&mut self, candidate: &str) {
        let subject = Some(hash(candidate));
        let epoch = self.grant(LeaseKind::Evaluation, subject, 7_000 + self.index, "EVALUATION_STARTED");
        let champion = self.state.config(KEY).unwrap().champion;
        let evidence = self.played(samples::evidence(ModelId(hash(candidate)), champion));
        let command = Command::CompleteEvaluation(CompleteEvaluation {
            config_key: KEY.into(),
            epoch,
            node: NodeId(2),
            evidence,
            at_ms: 8_000,
        });
        self.check(command, &["EVALUATION_COMPLETED", "WORK_COMPLETED"]);
        let model = self.state.models.get(&hash(candidate)).unwrap().clone();
        for node in self.state.verifiers(&model, model.review.as_ref()).collect::<Vec<_>>() {
            let evidence = model.evidence.as_ref().unwrap();
            self.check(samples::confirmation(hash(candidate), epoch, node.0, evidence), &[]);
        }
    }

    pub(super) fn held(&mut self, model: &str, node: NodeId, expected: &[&str]) {
        self.check(
            Command::ModelHeld(ModelHeld { model: ModelId(hash(model)), node, at_ms: 8_500 }),
            expected,
        );
    }

    pub(super) fn promote(&mut self, candidate: &str, expected: &[&str]) {
        let command = Command::Promote(Promote {
            config_key: KEY.into(),
            candidate: ModelId(hash(candidate)),
            expected_champion: self.state.config(KEY).unwrap().champion,
            elo_delta_min: 25.0,
            at_ms: 9_000,
        });
        self.check(command, expected);
    }
}

pub(super) fn started() -> Life {
    let mut life = Life::default();
    (1..=3).for_each(|id| life.register(id));
    life.check(Command::SetLeader(SetLeader { node: NodeId(1), term: 1, at_ms: 2_000 }), &["LEADER_ELECTED"]);
    let target = SelfplayTarget::default();
    let champion = hash("untrained");
    let command = Command::InitConfig(InitConfig {
        config_key: KEY.into(),
        champion: ModelId(champion),
        size: 1,
        threshold: 500,
        target,
        at_ms: 1,
    });
    life.check(command, &[]);
    life
}
