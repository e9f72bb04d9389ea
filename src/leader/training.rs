//! TrainingCoordinator, the leader's half: who trains, and when. The holder's half is
//! [`crate::daemons::trainer`].
//!
//! Invariant: a training is granted only while nothing pauses training, and every pause ends by itself.
//! Training alone decides the learning rate.

use super::placement::{FirstSeen, LEASE_TTL, RetryPauses, choose_worker};
use crate::{
    api::health::ClusterView,
    api::work::{PauseCause, TrainingPause},
    events::{ChampionRegression, EvaluationBackpressure, Event, Logged, envelope::RAFT},
    text::clip,
};
use cluster_state::{
    ClusterState, Command, ConfigState, EndCause, LeaseKind, ModelId, Severity, Steering, TEXT_BYTES_MAX,
    TriggerId,
    command::{CancelLease, GrantLease, ReportRegression, Rollback, SetBackpressure, SetLearningRate},
};
use std::time::Duration;
use wire::Hash;

/// Candidates that may wait for their verdict before training pauses. A second one would learn from games of
/// the same champion as the first, in time that the verdict needs: on two cores it was trained for longer
/// than all else together, and rejected.
pub const CANDIDATES_WAITING_MAX: usize = 1;

/// How long training stays paused after a rollback, or after a critical regression that leaves nothing to go
/// back to: long enough to be seen, and for the nodes to have loaded the champion that came back.
const SETTLE: Duration = Duration::from_secs(2);

/// The factor of the learning rate while a champion is worse than the one before: it was trained too far from
/// that one. After a critical regression training pauses anyway; whatever trains before the rollback is
/// careful too.
const REGRESSED: f64 = 0.5;
/// The least factor of the learning rate in the settings, whatever feedback asks. A tenth still learns;
/// beyond twice the setting training begins to diverge.
const SCALE_MIN: f64 = 0.1;
/// The upper bound, as [`SCALE_MIN`] is the lower one.
const SCALE_MAX: f64 = 2.0;

/// The learning rate as a factor of the setting, and why: training alone decides it, feedback asks.
#[must_use]
pub fn learning_rate(steering: &Steering) -> (f64, String) {
    let requested = steering.feedback.learning_rate;
    // Once the champion before is back, nothing has regressed any more.
    let regressed = steering.regression.as_ref().filter(|regression| !regression.rolled_back);
    let factor = if regressed.is_some() { REGRESSED } else { 1.0 };
    let mut reasons = Vec::new();
    if let Some(regression) = regressed {
        reasons.push(format!("{} regression: x {REGRESSED}", regression.severity.as_str()));
    }
    if requested != 1.0 {
        reasons.push(format!("feedback asks for x {requested:.2}: {}", steering.feedback.reason));
    }
    let wanted = requested * factor;
    let scale = wanted.clamp(SCALE_MIN, SCALE_MAX);
    if scale != wanted {
        reasons.push(format!("held at x {scale}"));
    }
    let reason = if reasons.is_empty() { "as set".to_owned() } else { reasons.join(", ") };
    (scale, clip(&reason, TEXT_BYTES_MAX).to_owned())
}

/// Why no training of a configuration starts, as a node sees it whose view of the cluster is `view`.
#[must_use]
pub fn pauses(config: &ConfigState, view: &ClusterView) -> Vec<TrainingPause> {
    let steering = &config.steering;
    let regression = steering.regression.as_ref().filter(|it| it.severity == Severity::Critical);
    let regression = regression.map(|it| TrainingPause {
        cause: PauseCause::RegressionCritical,
        reason: it.reason.clone(),
        since_ms: it.since_ms,
    });
    let backpressure = steering.backpressure.map(|it| TrainingPause {
        cause: PauseCause::EvaluationBackpressure,
        reason: format!("{} candidates wait", it.depth),
        since_ms: it.since_ms,
    });
    let unhealthy = view.unhealthy.as_ref().map(|reason| TrainingPause {
        cause: PauseCause::ClusterUnhealthy,
        reason: reason.clone(),
        since_ms: view.since_ms,
    });
    regression.into_iter().chain(backpressure).chain(unhealthy).collect()
}

/// What the leader remembers.
#[derive(Debug, Default)]
pub struct TrainingDecider {
    retries: RetryPauses,
    regressions: FirstSeen<Option<(ModelId, Severity, bool)>>,
}

impl TrainingDecider {
    /// The way out of a critical regression: the running job stops, the champion before comes back, and once
    /// that has settled training goes on. Also where nothing was before.
    fn recover(&mut self, config: &ConfigState, at_ms: u64) -> Vec<Command> {
        let key = &config.config_key;
        let regression = config.steering.regression.as_ref();
        let seen = regression.map(|it| (it.champion, it.severity, it.rolled_back));
        let age_ms = self.regressions.age_ms(key, seen, at_ms);
        let Some(regression) = regression.filter(|it| it.severity == Severity::Critical) else {
            return Vec::new();
        };
        let mut commands = Vec::new();
        if let Some(lease) = &config.training.live {
            commands.push(Command::CancelLease(CancelLease {
                kind: LeaseKind::Training,
                config_key: key.clone(),
                epoch: lease.epoch,
                cause: EndCause::Regressed,
                reason: "the champion regressed".to_owned(),
                at_ms,
            }));
        }
        if !regression.rolled_back && config.fallback().is_some() {
            commands.push(Command::Rollback(Rollback {
                config_key: key.clone(),
                expected_champion: Some(regression.champion),
                reason: regression.reason.clone(),
                triggered_by: "regression".to_owned(),
                trigger: None,
                at_ms,
            }));
        } else if u128::from(age_ms) >= SETTLE.as_millis() {
            commands.push(Command::ReportRegression(ReportRegression {
                config_key: key.clone(),
                champion: Some(config.champion),
                severity: None,
                elo_drop: 0.0,
                games: 0,
                reason: if regression.rolled_back {
                    "the champion before has settled".to_owned()
                } else {
                    "there is no champion before to go back to".to_owned()
                },
                trigger: None,
                at_ms,
            }));
        }
        commands
    }

    /// The trainings that are due, and the way out of a regression.
    pub fn decide(&mut self, state: &ClusterState, view: &ClusterView, at_ms: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        for config in state.configs.values() {
            let key = &config.config_key;
            commands.extend(adjust(config, at_ms));
            commands.extend(self.recover(config, at_ms));
            let due = config.crossings > config.consumed
                && config.training.live.is_none()
                && config.candidates.len() < CANDIDATES_WAITING_MAX
                && config.champion_games >= config.threshold;
            if !due
                || !pauses(config, view).is_empty()
                || !self.retries.allows(key, config.training.failures, at_ms)
            {
                continue;
            }
            if let Some(node) = choose_worker(state, LeaseKind::Training, key) {
                commands.push(Command::GrantLease(GrantLease {
                    kind: LeaseKind::Training,
                    config_key: key.clone(),
                    node,
                    subject: None,
                    ttl_ms: LEASE_TTL.as_millis() as u64,
                    at_ms,
                }));
            }
        }
        commands
    }
}

/// The learning rate that a configuration should have, if it has another.
fn adjust(config: &ConfigState, at_ms: u64) -> Option<Command> {
    let (scale, reason) = learning_rate(&config.steering);
    (scale != config.steering.learning_rate).then(|| {
        Command::SetLearningRate(SetLearningRate {
            config_key: config.config_key.clone(),
            scale,
            reason,
            at_ms,
        })
    })
}

/// The hash of an event's id. Whoever proposes a command for the same event names the same hash, and the
/// state machine counts the first. None for an event that no operator emitted: of this kind, such an event
/// tells of an applied command, and there is nothing to propose.
fn trigger(logged: &Logged) -> Option<TriggerId> {
    let Logged { origin, epoch, sequence, injected, .. } = logged;
    let asks = *injected && origin != RAFT;
    asks.then(|| TriggerId(Hash::of(format!("{origin}/{epoch}/{sequence}").as_bytes())))
}

/// The command that an operator's event asks for, if all must agree on it. The node that emitted the event
/// proposes it, and the leader when the event reaches it.
#[must_use]
pub fn requested_command(logged: &Logged, at_ms: u64) -> Option<Command> {
    let trigger = Some(trigger(logged)?);
    let regressed = |event: &ChampionRegression, severity| {
        Command::ReportRegression(ReportRegression {
            config_key: event.config_key.clone(),
            champion: event.model_id,
            severity,
            elo_drop: event.elo_drop,
            games: event.games_played,
            reason: reason_or_source(&event.reason, &event.node_id),
            trigger,
            at_ms,
        })
    };
    let pressed = |event: &EvaluationBackpressure, active| {
        Command::SetBackpressure(SetBackpressure {
            config_key: event.config_key.clone(),
            active,
            depth: event.queue_depth,
            threshold: event.threshold,
            release_threshold: event.release_threshold,
            trigger,
            at_ms,
        })
    };
    let event = &logged.event;
    if let Event::RegressionDetected(event) = event {
        Some(regressed(event, Some(Severity::Minor)))
    } else if let Event::RegressionCritical(event) = event {
        Some(regressed(event, Some(Severity::Critical)))
    } else if let Event::RegressionCleared(event) = event {
        Some(regressed(event, None))
    } else if let Event::EvaluationBackpressure(event) = event {
        Some(pressed(event, true))
    } else if let Event::EvaluationBackpressureReleased(event) = event {
        Some(pressed(event, false))
    } else if let Event::TrainingRollbackNeeded(event) = event {
        Some(Command::Rollback(Rollback {
            config_key: event.config_key.clone(),
            expected_champion: event.model_id,
            reason: reason_or_source(&event.reason, &event.node_id),
            triggered_by: "operator".to_owned(),
            trigger,
            at_ms,
        }))
    } else {
        None
    }
}

/// The reason of an event, or at least who emitted it, as much as a command may carry.
fn reason_or_source(reason: &str, node: &str) -> String {
    let reason = if reason.is_empty() { format!("told by {node}") } else { reason.to_owned() };
    clip(&reason, TEXT_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World, hash};
    use crate::events::{Component, EventKind, HandlingMode};
    use cluster_state::{Feedback, NodeId, command::FailLease};
    use std::collections::BTreeSet;

    #[test]
    fn one_node_trains_when_there_is_something_to_train_on() {
        let mut world = World::with_nodes(3);
        let mut training = TrainingDecider::default();
        assert_eq!(training.decide(&world.state, &ClusterView::default(), 0), []);
        world.play(500);
        world.cross();
        let granted = training.decide(&world.state, &ClusterView::default(), 0);
        assert!(matches!(
            &granted[..],
            [Command::GrantLease(GrantLease { kind: LeaseKind::Training, subject: None, .. })]
        ));
        let epoch = world.grant(LeaseKind::Training, 2, None);
        assert_eq!(training.decide(&world.state, &ClusterView::default(), 0), []);
        world.apply(Command::FailLease(FailLease {
            kind: LeaseKind::Training,
            config_key: KEY.into(),
            epoch,
            node: NodeId(2),
            error: "disk full".into(),
            at_ms: 0,
        }));
        assert_eq!(training.decide(&world.state, &ClusterView::default(), 100), [], "a failure waits");
        assert_eq!(training.decide(&world.state, &ClusterView::default(), 2_000).len(), 1);
    }

    #[test]
    fn waiting_candidates_pause_training() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        world.play(500);
        world.cross();
        assert_eq!(TrainingDecider::default().decide(&world.state, &ClusterView::default(), 0), []);
    }

    #[test]
    fn feedback_asks_and_training_decides() {
        let table = [
            (1.0, None, 1.0, "as set"),
            (1.0, Some(Severity::Minor), 0.5, "minor regression"),
            (1.0, Some(Severity::Critical), 0.5, "critical regression"),
            (0.7, None, 0.7, "feedback asks for x 0.70: plateau"),
            (1.5, Some(Severity::Minor), 0.75, "minor regression: x 0.5, feedback asks for x 1.50"),
            (0.15, Some(Severity::Minor), SCALE_MIN, "held at x 0.1"),
            (50.0, None, SCALE_MAX, "held at x 2"),
        ];
        for (asked, severity, expected, why) in table {
            let mut steering = Steering {
                feedback: Feedback { learning_rate: asked, reason: "plateau".into(), ..Feedback::default() },
                ..Steering::default()
            };
            steering.regression = severity.map(|severity| cluster_state::Regression {
                champion: hash("a"),
                severity,
                elo_drop: 1.0,
                reason: String::new(),
                rolled_back: false,
                since_ms: 0,
            });
            let (scale, reason) = learning_rate(&steering);
            assert!((scale - expected).abs() < 1e-9 && reason.contains(why), "{scale} {reason}");
            if let Some(regression) = &mut steering.regression {
                regression.rolled_back = true;
                assert_eq!(learning_rate(&steering).0, asked, "the one before is back");
            }
        }
        let feedback = Feedback { learning_rate: 0.5, reason: "é".repeat(200), ..Feedback::default() };
        let (_, reason) = learning_rate(&Steering { feedback, ..Steering::default() });
        assert!(reason.len() <= TEXT_BYTES_MAX);
    }

    fn report(world: &mut World, severity: Option<Severity>) {
        world.apply(Command::ReportRegression(ReportRegression {
            config_key: KEY.into(),
            champion: None,
            severity,
            elo_drop: 90.0,
            games: 50,
            reason: "worse".into(),
            trigger: Some(hash(&format!("event at {}", world.now))),
            at_ms: world.now + 3_600_000, // by a clock that is an hour ahead
        }));
    }

    /// Applies what is proposed at this time, and gives the names of it.
    fn turn(training: &mut TrainingDecider, world: &mut World, passed_ms: u64) -> Vec<&'static str> {
        world.now += passed_ms;
        let commands = training.decide(&world.state, &ClusterView::default(), world.now);
        let names = commands.iter().map(Command::name).collect();
        commands.into_iter().for_each(|command| drop(world.apply(command)));
        names
    }

    #[test]
    fn the_learning_rate_falls_while_a_champion_is_worse() {
        let (mut world, mut training) = (World::with_nodes(3), TrainingDecider::default());
        let scale = |world: &World| world.state.config(KEY).unwrap().steering.learning_rate;
        report(&mut world, Some(Severity::Minor));
        assert_eq!(turn(&mut training, &mut world, 1), ["SetLearningRate"]);
        assert_eq!((scale(&world), turn(&mut training, &mut world, 10_000).len()), (0.5, 0));
        report(&mut world, None);
        assert_eq!(turn(&mut training, &mut world, 1), ["SetLearningRate"]);
        assert_eq!(scale(&world), 1.0);
    }

    #[test]
    fn a_critical_regression_stops_training_and_brings_the_champion_before_back_once() {
        let (mut world, mut training) = (World::with_nodes(3), TrainingDecider::default());
        world.train("a", 2);
        world.evaluate("a", 3, true);
        (1..=3).for_each(|node| world.held("a", node));
        world.promote("a");
        world.play(500);
        world.cross();
        assert_eq!(turn(&mut training, &mut world, 0), ["GrantLease"]);
        report(&mut world, Some(Severity::Critical));
        let config = |world: &World| world.state.config(KEY).unwrap().clone();
        assert_eq!(turn(&mut training, &mut world, 0), ["SetLearningRate", "CancelLease", "Rollback"]);
        let settling = config(&world);
        assert_eq!((settling.champion, settling.training.live), (hash("untrained"), None));
        let paused = |world: &World| pauses(&config(world), &ClusterView::default()).len();
        assert_eq!(turn(&mut training, &mut world, 0), ["SetLearningRate"]);
        assert_eq!((turn(&mut training, &mut world, 1_999).len(), paused(&world)), (0, 1));
        // Another leader begins to count anew.
        let mut training = TrainingDecider::default();
        assert_eq!(turn(&mut training, &mut world, 1_000).len(), 0);
        assert_eq!(turn(&mut training, &mut world, 2_000), ["ReportRegression"]);
        assert_eq!(paused(&world), 0);
        // The crossing is still there, and so are the first champion's games.
        assert_eq!(turn(&mut training, &mut world, 0), ["GrantLease"]);
        assert_eq!(config(&world).history.len(), 2);
    }

    #[test]
    fn where_nothing_was_before_training_goes_on_after_a_while() {
        let (mut world, mut training) = (World::with_nodes(3), TrainingDecider::default());
        report(&mut world, Some(Severity::Critical));
        assert_eq!(turn(&mut training, &mut world, 0), ["SetLearningRate"]);
        assert_eq!(turn(&mut training, &mut world, 2_000), ["ReportRegression"]);
        assert_eq!(turn(&mut training, &mut world, 0), ["SetLearningRate"]);
        assert!(world.state.config(KEY).unwrap().history.is_empty());
    }

    #[test]
    fn events_from_elsewhere_ask_and_those_of_applied_commands_do_not() {
        let logged = |origin: &str, name: &str, payload: serde_json::Value| Logged {
            position: 1,
            origin: origin.into(),
            epoch: 3,
            sequence: 4,
            at_ms: 5,
            flow: KEY.into(),
            flow_previous: None,
            causes: Vec::new(),
            subject: None,
            injected: true,
            event: Event::from_operator(name, payload, "node-1", 1.5).unwrap(),
        };
        let worse = || serde_json::json!({"config_key": KEY, "elo_drop": 150, "reason": "é".repeat(300)});
        let pressed = || serde_json::json!({"config_key": KEY, "queue_depth": 9});
        let back = || serde_json::json!({"config_key": KEY});
        let table = [
            ("REGRESSION_DETECTED", worse(), "ReportRegression"),
            ("REGRESSION_CRITICAL", worse(), "ReportRegression"),
            ("REGRESSION_CLEARED", worse(), "ReportRegression"),
            ("EVALUATION_BACKPRESSURE", pressed(), "SetBackpressure"),
            ("EVALUATION_BACKPRESSURE_RELEASED", pressed(), "SetBackpressure"),
            ("TRAINING_ROLLBACK_NEEDED", back(), "Rollback"),
        ];
        let proposes =
            |kind: &&EventKind| kind.handled_by(Component::Training) == Some(HandlingMode::Proposes);
        let said: BTreeSet<&str> = EventKind::ALL.iter().filter(proposes).map(|kind| kind.name()).collect();
        assert_eq!(said, table.iter().map(|(name, ..)| *name).collect(), "as the table of events says");
        for (name, payload, expected) in table {
            let command = requested_command(&logged("peer", name, payload.clone()), 7).unwrap();
            assert_eq!(command.name(), expected);
            assert_eq!(cluster_state::state_machine::check(&command), Ok(()), "{name}");
            let again = requested_command(&logged("peer", name, payload.clone()), 8).unwrap();
            let trigger = |command: &Command| match command {
                Command::ReportRegression(ReportRegression { trigger, .. })
                | Command::SetBackpressure(SetBackpressure { trigger, .. })
                | Command::Rollback(Rollback { trigger, .. }) => *trigger,
                other => panic!("{other}"),
            };
            assert!(trigger(&command).is_some() && trigger(&command) == trigger(&again));
            let untold = Logged { injected: false, ..logged("peer", name, payload.clone()) };
            assert_eq!(requested_command(&untold, 7), None, "{name}: no operator asked for it");
            assert_eq!(requested_command(&logged(RAFT, name, payload), 7), None, "{name}");
        }
        let other = serde_json::json!({"node_id": "node-2"});
        assert_eq!(requested_command(&logged("peer", "HOST_OFFLINE", other), 7), None);
    }

    #[test]
    fn a_new_champion_plays_before_training_goes_on() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        world.play(900);
        world.cross();
        world.evaluate("a", 3, true);
        (1..=3).for_each(|node| world.held("a", node));
        world.promote("a");
        let due =
            |world: &World| TrainingDecider::default().decide(&world.state, &ClusterView::default(), 0).len();
        world.play(499);
        assert_eq!(due(&world), 0, "the 900 games are by its predecessor");
        world.play(1);
        assert_eq!(due(&world), 1);
    }
}
