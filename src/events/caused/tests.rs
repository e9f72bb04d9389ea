//! One cluster's life, command by command, and the events of each.

mod admissions;
mod life;
mod payloads;

use super::*;
use cluster_state::command::{
    AddSegmentHolder, Appoint, CancelLease, CompleteEvaluation, ExpireLease, FailLease, ModelHeld, Reject,
    RenewLease, ReportForgery, ReportRegression, Rollback, SetBackpressure, SetCurriculum, SetDraining,
    SetFeedback, SetLeader, SetLearningRate, SetOnline, SetTarget, ThresholdReached,
};
use cluster_state::{
    DrainCause, EndCause, Feedback, ModelId, Refusal, SegmentId, SelfplayTarget, Severity, Source, samples,
};
use life::{KEY, Life, hash, started};
use std::collections::BTreeSet;

#[test]
fn every_command_causes_its_events_once() {
    let mut life = started();
    let target = SelfplayTarget { simulations: 32, ..SelfplayTarget::default() };
    life.check(Command::SetTarget(SetTarget { config_key: KEY.into(), target, at_ms: 1 }), &[]);

    // Two leases that end badly, then one that does not.
    life.segment("games-0", Source::Selfplay, &["NEW_GAMES_AVAILABLE"]);
    let games = SegmentId(hash("games-0"));
    let signature = samples::signature(3, &life.state.segments.get(&games).unwrap().facts(games));
    let holder = AddSegmentHolder { hash: games, node: NodeId(3), signature, at_ms: 1 };
    life.check(Command::AddSegmentHolder(holder), &[]);
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
    let last_renewed_ms = Some(5_200);
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
    let (state, index) = (life.state.clone(), life.index);
    admissions::admissions(&mut life);
    (life.state, life.index) = (state, index);
    forged(&mut life);

    let all = BTreeSet::from([
        "ReportForgery",
        "SetSecret",
        "IssueTicket",
        "RevokeTicket",
        "RemoveNode",
        "SetOperators",
        "PardonNode",
        "ReportRegression",
        "Rollback",
        "SetBackpressure",
        "SetFeedback",
        "SetLearningRate",
        "SetCurriculum",
        "CancelLease",
        "SetDraining",
        "Appoint",
        "ConfirmEvidence",
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
        Command::SetDraining(SetDraining {
            node: NodeId(4),
            draining: true,
            cause: DrainCause::Ordered,
            reason: reason(),
            at_ms: 1,
        }),
        &[],
    );
}

/// Node 2 has played the games, and others find one of them forged.
fn forged(life: &mut Life) {
    let report = |node| {
        let segment = SegmentId(hash("games-0"));
        Command::ReportForgery(ReportForgery { node: NodeId(node), segment, game: 1, ply: 2, at_ms: 11_000 })
    };
    life.check(report(3), &[]);
    life.check(report(1), &["FORGERY_FOUND"]);
    life.check(report(4), &[]);
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
    life.segment("games-6", Source::Selfplay, &["NEW_GAMES_AVAILABLE"]);
    let command =
        Command::ThresholdReached(ThresholdReached { config_key: key(), crossing: 6, at_ms: 4_000 });
    life.check(command, &["TRAINING_THRESHOLD_REACHED", "WORK_QUEUED"]);
    let kind = LeaseKind::Training;
    let epoch = life.grant(kind, None, 10_050, "TRAINING_STARTED");
    let reason = "a drill".to_owned();
    let cancel = Command::CancelLease(CancelLease {
        kind,
        config_key: key(),
        epoch,
        cause: EndCause::Ordered,
        reason,
        at_ms: 10_060,
    });
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
    let evidence = life.played(samples::evidence_of((hash("b"), hash("a")), [10, 10, 5]));
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
