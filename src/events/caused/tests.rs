//! One cluster's life, command by command, and the events of each.

use super::{
    super::{
        EvaluationStarted, Event, Games, TrainingThresholdReached, Work,
        envelope::{Envelope, EventId},
    },
    *,
};
use cluster_state::ModelId;
use cluster_state::SegmentId;
use cluster_state::command::{
    AddSegmentHolder, Appoint, CancelLease, CompleteEvaluation, CompleteTraining, ExpireLease, FailLease,
    GrantLease, InitConfig, ModelHeld, Promote, RegisterNode, RegisterSegment, Reject, RenewLease,
    ReportRegression, Rollback, SetBackpressure, SetCurriculum, SetDraining, SetFeedback, SetLeader,
    SetLearningRate, SetOnline, SetTarget, ThresholdReached,
};
use cluster_state::{
    Evidence, Feedback, ModelInfo, Refusal, SelfplayTarget, Severity, Sprt, TrainingReport,
    state_machine::apply,
};
use std::collections::BTreeSet;
use wire::Hash;

const KEY: &str = "hex8_2p";

fn hash<Id: From<Hash>>(name: &str) -> Id {
    Hash::of(name.as_bytes()).into()
}

/// Applies commands and collects the names of what they caused.
#[derive(Default)]
struct Life {
    state: ClusterState,
    index: u64,
    commands: BTreeSet<&'static str>,
}

impl Life {
    fn events(&mut self, command: &Command) -> (Response, Vec<Event>) {
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
    fn check(&mut self, command: Command, expected: &[&str]) {
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

    fn register(&mut self, id: u64) {
        let command = Command::RegisterNode(RegisterNode {
            peer_id: format!("peer-{id}"),
            name: format!("host-{id}"),
            addrs: vec![],
            http: String::new(),
            version: String::new(),
            boot: id,
            at_ms: 1_000 + id,
        });
        self.check(command, &["HOST_ONLINE"]);
    }

    fn segment(&mut self, name: &str, source: &str, expected: &[&str]) {
        let command = Command::RegisterSegment(RegisterSegment {
            hash: SegmentId(hash(name)),
            config_key: KEY.into(),
            games: 600,
            samples: 6000,
            source: source.into(),
            model: ModelId(hash("untrained")),
            holders: vec![NodeId(2), NodeId(1)],
            at_ms: 3_000,
        });
        self.check(command, expected);
    }

    fn grant(&mut self, kind: LeaseKind, subject: Option<ModelId>, at_ms: u64, expected: &str) -> u64 {
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

    fn train(&mut self, crossing: u64, candidate: &str) {
        self.segment(&format!("games-{crossing}"), "selfplay", &["NEW_GAMES_AVAILABLE"]);
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

    fn evaluate(&mut self, candidate: &str) {
        let subject = Some(hash(candidate));
        let epoch = self.grant(LeaseKind::Evaluation, subject, 7_000 + self.index, "EVALUATION_STARTED");
        let evidence = Evidence {
            candidate: ModelId(hash(candidate)),
            champion: self.state.config(KEY).unwrap().champion,
            games: 100,
            wins: 70,
            losses: 30,
            elo_delta: 45.0,
            elo_error: 9.0,
            sprt: Sprt::Accept,
            win_rate_vs_random: 0.9,
            win_rate_vs_heuristic: 0.6,
            passed_gauntlet: true,
            segments: vec![],
        };
        let command = Command::CompleteEvaluation(CompleteEvaluation {
            config_key: KEY.into(),
            epoch,
            node: NodeId(2),
            evidence,
            at_ms: 8_000,
        });
        self.check(command, &["EVALUATION_COMPLETED", "WORK_COMPLETED"]);
    }

    fn held(&mut self, model: &str, node: NodeId, expected: &[&str]) {
        self.check(
            Command::ModelHeld(ModelHeld { model: ModelId(hash(model)), node, at_ms: 8_500 }),
            expected,
        );
    }

    fn promote(&mut self, candidate: &str, expected: &[&str]) {
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

fn started() -> Life {
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

#[test]
fn every_command_causes_its_events_once() {
    let mut life = started();
    life.segment("matches", "evaluation", &[]);
    life.check(
        Command::AddSegmentHolder(AddSegmentHolder {
            hash: SegmentId(hash("matches")),
            node: NodeId(3),
            at_ms: 1,
        }),
        &[],
    );
    let target = SelfplayTarget { simulations: 32, ..SelfplayTarget::default() };
    life.check(Command::SetTarget(SetTarget { config_key: KEY.into(), target, at_ms: 1 }), &[]);

    // Two leases that end badly, then one that does not.
    life.segment("games-0", "selfplay", &["NEW_GAMES_AVAILABLE"]);
    let command =
        Command::ThresholdReached(ThresholdReached { config_key: KEY.into(), crossing: 1, at_ms: 4_000 });
    life.check(command, &["TRAINING_THRESHOLD_REACHED", "WORK_QUEUED"]);
    let kind = LeaseKind::Training;
    let epoch = life.grant(kind, None, 5_000, "TRAINING_STARTED");
    let config_key = || KEY.into();
    life.check(
        Command::RenewLease(RenewLease {
            kind,
            config_key: config_key(),
            epoch,
            node: NodeId(2),
            at_ms: 5_100,
        }),
        &[],
    );
    let error = "full disk".to_owned();
    let command = Command::FailLease(FailLease {
        kind,
        config_key: config_key(),
        epoch,
        node: NodeId(2),
        error,
        at_ms: 1,
    });
    life.check(command, &["TRAINING_FAILED", "WORK_FAILED"]);
    let epoch = life.grant(kind, None, 5_200, "TRAINING_STARTED");
    let reason = "silent".to_owned();
    let last_renewed_ms = 5_200;
    let command = Command::ExpireLease(ExpireLease {
        kind,
        config_key: config_key(),
        epoch,
        last_renewed_ms,
        reason,
        at_ms: 1,
    });
    life.check(command, &["TRAINING_FAILED", "WORK_TIMEOUT"]);

    // Every online node holds the first champion when it is promoted.
    life.train(2, "a");
    life.evaluate("a");
    life.held("a", NodeId(1), &[]);
    life.held("a", NodeId(3), &[]);
    life.promote("a", &["MODEL_PROMOTED", "MODEL_DISTRIBUTION_COMPLETE"]);
    // A fourth node lacks the second one, and fetches it.
    life.register(4);
    life.train(3, "b");
    life.evaluate("b");
    life.held("b", NodeId(1), &[]);
    life.held("b", NodeId(3), &[]);
    life.promote("b", &["MODEL_PROMOTED", "MODEL_DISTRIBUTION_STARTED"]);
    life.held("b", NodeId(4), &["MODEL_DISTRIBUTION_COMPLETE"]);
    // It lacks the third one too, and goes away.
    life.train(4, "c");
    life.evaluate("c");
    life.held("c", NodeId(1), &[]);
    life.held("c", NodeId(3), &[]);
    life.promote("c", &["MODEL_PROMOTED", "MODEL_DISTRIBUTION_STARTED"]);
    let online = |online, observed_boot, at_ms| {
        Command::SetOnline(SetOnline {
            node: NodeId(4),
            online,
            reason: "no heartbeat".into(),
            observed_boot,
            at_ms,
        })
    };
    life.check(online(false, 4, 9_100), &["HOST_OFFLINE", "MODEL_DISTRIBUTION_COMPLETE"]);
    life.check(online(true, 4, 9_200), &["HOST_ONLINE"]);

    life.train(5, "d");
    let reason = "weaker".to_owned();
    let command =
        Command::Reject(Reject { config_key: KEY.into(), candidate: ModelId(hash("d")), reason, at_ms: 1 });
    life.check(command, &["PROMOTION_REJECTED"]);

    steered(&mut life);
    regressed(&mut life);

    let all = BTreeSet::from([
        "ReportRegression",
        "Rollback",
        "SetBackpressure",
        "SetFeedback",
        "SetLearningRate",
        "SetCurriculum",
        "CancelLease",
        "SetDraining",
        "Appoint",
        "RegisterNode",
        "SetOnline",
        "SetLeader",
        "InitConfig",
        "RegisterSegment",
        "AddSegmentHolder",
        "ThresholdReached",
        "GrantLease",
        "RenewLease",
        "ExpireLease",
        "FailLease",
        "CompleteTraining",
        "CompleteEvaluation",
        "Promote",
        "Reject",
        "ModelHeld",
        "SetTarget",
    ]);
    assert_eq!(life.commands, all);
}

/// What holds a configuration back or drives it on; an event that asked for it is not told again.
fn steered(life: &mut Life) {
    let key = || KEY.into();
    let reason = || "why".to_owned();
    let pressure = |active, trigger: Option<&str>| {
        Command::SetBackpressure(SetBackpressure {
            config_key: key(),
            active,
            depth: 5,
            threshold: 4,
            release_threshold: 2,
            trigger: trigger.map(hash),
            at_ms: 1,
        })
    };
    life.check(pressure(true, None), &["EVALUATION_BACKPRESSURE"]);
    life.check(pressure(false, None), &["EVALUATION_BACKPRESSURE_RELEASED"]);
    life.check(pressure(true, Some("event 1")), &[]);
    life.check(pressure(true, Some("event 2")), &[]);
    life.check(pressure(false, Some("event 3")), &[]);
    let feedback = Feedback { learning_rate: 0.5, ..Feedback::default() };
    life.check(Command::SetFeedback(SetFeedback { config_key: key(), feedback, at_ms: 1 }), &[]);
    let slower = Command::SetLearningRate(SetLearningRate {
        config_key: key(),
        scale: 0.5,
        reason: reason(),
        at_ms: 1,
    });
    life.check(slower, &[]);
    let weight = |emergency| {
        Command::SetCurriculum(SetCurriculum {
            config_key: key(),
            weight: 0.25,
            reason: reason(),
            emergency,
            at_ms: 1,
        })
    };
    life.check(weight(true), &["CURRICULUM_EMERGENCY_UPDATE"]);
    life.check(weight(false), &[]);
    life.check(
        Command::SetDraining(SetDraining { node: NodeId(4), draining: true, reason: reason(), at_ms: 1 }),
        &[],
    );
}

/// `c` is champion, after `b` and `a`: it regresses, and more than once.
fn regressed(life: &mut Life) {
    let key = || KEY.into();
    let report = |champion: Option<&str>, severity, trigger: Option<&str>| {
        Command::ReportRegression(ReportRegression {
            config_key: key(),
            champion: champion.map(hash),
            severity,
            elo_drop: 80.0,
            games: 50,
            reason: "worse".into(),
            trigger: trigger.map(hash),
            at_ms: 10_000,
        })
    };
    let rollback = |expected: Option<&str>, trigger: Option<&str>| {
        Command::Rollback(Rollback {
            config_key: key(),
            expected_champion: expected.map(hash),
            reason: "worse".into(),
            triggered_by: "regression".into(),
            trigger: trigger.map(hash),
            at_ms: 10_100,
        })
    };
    let (minor, critical) = (Some(Severity::Minor), Some(Severity::Critical));
    life.check(report(Some("c"), minor, None), &["REGRESSION_DETECTED"]);
    life.check(report(Some("c"), None, None), &["REGRESSION_CLEARED"]);
    life.check(report(None, minor, Some("event 4")), &[]);
    life.check(report(Some("c"), critical, None), &["REGRESSION_CRITICAL", "TRAINING_ROLLBACK_NEEDED"]);

    // A rollback ends the work that was going on, which a cancelled lease also does.
    life.segment("games-6", "selfplay", &["NEW_GAMES_AVAILABLE"]);
    let command =
        Command::ThresholdReached(ThresholdReached { config_key: key(), crossing: 6, at_ms: 4_000 });
    life.check(command, &["TRAINING_THRESHOLD_REACHED", "WORK_QUEUED"]);
    let kind = LeaseKind::Training;
    let epoch = life.grant(kind, None, 10_050, "TRAINING_STARTED");
    let reason = "a drill".to_owned();
    let cancel = Command::CancelLease(CancelLease { kind, config_key: key(), epoch, reason, at_ms: 10_060 });
    let granted = life.state.config(KEY).unwrap().training.live.as_ref().unwrap().id;
    assert_eq!(follows(&cancel, &life.state), Some(granted));
    life.check(cancel, &["TRAINING_FAILED", "WORK_CANCELLED"]);
    life.grant(kind, None, 10_070, "TRAINING_STARTED");
    // Node 4 lacks the one that comes back.
    life.check(
        rollback(Some("c"), None),
        &["PROMOTION_ROLLED_BACK", "MODEL_DISTRIBUTION_COMPLETE", "TRAINING_FAILED", "WORK_CANCELLED"],
    );
    life.check(rollback(Some("c"), Some("event 5")), &[]);
    life.check(report(None, critical, Some("event 6")), &[]);
    life.check(report(Some("b"), None, None), &["REGRESSION_CLEARED"]);

    // The champion is watched, which says nothing of candidates.
    let watch = life.grant(LeaseKind::Evaluation, Some(hash("b")), 10_200, "EVALUATION_STARTED");
    let evidence = Evidence {
        candidate: ModelId(hash("b")),
        champion: ModelId(hash("a")),
        games: 50,
        wins: 20,
        losses: 30,
        elo_delta: -70.0,
        elo_error: 40.0,
        sprt: Sprt::Inconclusive,
        win_rate_vs_random: 0.0,
        win_rate_vs_heuristic: 0.0,
        passed_gauntlet: false,
        segments: vec![],
    };
    let command = Command::CompleteEvaluation(CompleteEvaluation {
        config_key: key(),
        epoch: watch,
        node: NodeId(2),
        evidence,
        at_ms: 1,
    });
    life.check(command, &["EVALUATION_COMPLETED", "WORK_COMPLETED"]);

    // An injected one: what the event told already is not told again. Another champion settles it.
    life.check(report(None, critical, Some("event 7")), &["TRAINING_ROLLBACK_NEEDED"]);
    let appoint = Command::Appoint(Appoint {
        config_key: key(),
        model: ModelId(hash("c")),
        expected_champion: ModelId(hash("b")),
        reason: "better than it looked".into(),
        at_ms: 10_300,
    });
    life.check(appoint, &["MODEL_PROMOTED", "MODEL_DISTRIBUTION_STARTED", "REGRESSION_CLEARED"]);
}

#[test]
fn a_refused_command_causes_nothing() {
    let mut life = started();
    let commands = [
        Command::SetLeader(SetLeader { node: NodeId(9), term: 2, at_ms: 1 }),
        Command::ThresholdReached(ThresholdReached { config_key: KEY.into(), crossing: 1, at_ms: 1 }),
        Command::ModelHeld(ModelHeld { model: ModelId(hash("unknown")), node: NodeId(1), at_ms: 1 }),
        Command::SetOnline(SetOnline {
            node: NodeId(9),
            online: false,
            reason: String::new(),
            observed_boot: 1,
            at_ms: 1,
        }),
    ];
    for command in commands {
        let (response, events) = life.events(&command);
        assert!(matches!(response, Response::Refused(_)), "{response:?}");
        assert_eq!(events, [], "{command:?}");
    }
    let (response, _) = life.events(&Command::ModelHeld(ModelHeld {
        model: ModelId(hash("unknown")),
        node: NodeId(1),
        at_ms: 1,
    }));
    assert_eq!(response, Response::Refused(Refusal::UnknownModel(ModelId(hash("unknown")))));
}

#[test]
fn payloads_say_what_the_state_says() {
    let mut life = started();
    let command = Command::RegisterSegment(RegisterSegment {
        hash: SegmentId(hash("games")),
        config_key: KEY.into(),
        games: 600,
        samples: 6000,
        source: "selfplay".into(),
        model: ModelId(hash("untrained")),
        holders: vec![NodeId(2), NodeId(1)],
        at_ms: 3_500,
    });
    let (_, events) = life.events(&command);
    let expected = Games {
        config_key: KEY.into(),
        node_id: "node-2".into(),
        game_count: 600,
        total_games: 600,
        db_path: "data/games/canonical_hex8_2p.db".into(),
        segment: SegmentId(hash("games")),
        timestamp: 3.5,
    };
    assert_eq!(events, [Event::NewGamesAvailable(expected)]);

    let (_, events) = life.events(&Command::ThresholdReached(ThresholdReached {
        config_key: KEY.into(),
        crossing: 1,
        at_ms: 4_000,
    }));
    let expected = TrainingThresholdReached {
        config_key: KEY.into(),
        node_id: "node-1".into(),
        crossing: 1,
        game_count: 600,
        threshold: 500,
        timestamp: 4.0,
    };
    let queued = Work {
        config_key: KEY.into(),
        node_id: "node-1".into(),
        work_id: "training:hex8_2p:1".into(),
        work_type: "training".into(),
        error: String::new(),
        timestamp: 4.0,
    };
    assert_eq!(events, [Event::TrainingThresholdReached(expected), Event::WorkQueued(queued)]);

    life.train(2, "a");
    let kind = LeaseKind::Evaluation;
    let subject = Some(hash("a"));
    let command = Command::GrantLease(GrantLease {
        kind,
        config_key: KEY.into(),
        node: NodeId(3),
        subject,
        ttl_ms: 1,
        at_ms: 7_000,
    });
    let (_, events) = life.events(&command);
    let expected = EvaluationStarted {
        config_key: KEY.into(),
        node_id: "node-3".into(),
        job_id: "evaluation:hex8_2p:1".into(),
        model_id: ModelId(hash("a")),
        model_path: "models/candidate_hex8_2p.safetensors".into(),
        games_planned: 400,
        timestamp: 7.0,
    };
    assert_eq!(events[..1], [Event::EvaluationStarted(expected)]);
}

#[test]
fn in_the_largest_cluster_every_event_fits_its_envelope() {
    let mut life = started();
    let nodes = cluster_state::state_machine::NODES_MAX as u64;
    for id in 4..=nodes {
        let command = Command::RegisterNode(RegisterNode {
            peer_id: format!("peer-{id}"),
            name: "h".repeat(cluster_state::TEXT_BYTES_MAX),
            addrs: vec![],
            http: String::new(),
            version: String::new(),
            boot: id,
            at_ms: 1,
        });
        assert!(matches!(life.events(&command).0, Response::Node { .. }));
    }
    for node in 1..=nodes {
        life.events(&Command::ModelHeld(ModelHeld {
            model: ModelId(hash("untrained")),
            node: NodeId(node),
            at_ms: 1,
        }));
    }
    let fits = |event: &Event| {
        let id = EventId::raft(1, 0);
        let causes = vec![id.clone()];
        let event = event.clone();
        Envelope { id, at_ms: 1, flow_previous: None, causes, injected: false, event }.encode().is_ok()
    };
    fn now(state: &ClusterState) -> AppliedCommand<'_> {
        AppliedCommand { response: &Response::Done, before: state, state, games_planned: GAMES_PLANNED }
    }
    let started = promotion::moved(&KEY.into(), false, &now(&life.state), 1.0);
    assert!(started.len() == 1 && started.iter().all(fits), "{started:?}");
    // Who is away is named as such, and not among those that hold it.
    for node in 1..=nodes / 2 {
        let reason = "no heartbeat".to_owned();
        let observed_boot = node;
        life.events(&Command::SetOnline(SetOnline {
            node: NodeId(node),
            online: false,
            reason,
            observed_boot,
            at_ms: 1,
        }));
    }
    let complete = promotion::distributed(&KEY.into(), ModelId(hash("untrained")), &now(&life.state), 1.0);
    assert!(fits(&complete));
    let Event::ModelDistributionComplete(complete) = complete else { panic!("{complete:?}") };
    assert_eq!((complete.target_hosts.len(), complete.offline_hosts.len()), (HOSTS_MAX, HOSTS_MAX));
    assert_eq!(
        (complete.target_hosts[0].as_str(), complete.offline_hosts[0].as_str()),
        ("node-513", "node-1")
    );
}
