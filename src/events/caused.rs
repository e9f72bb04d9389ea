//! Which events an applied command is.
//!
//! Invariant: pure. Every node applies the same commands and so writes the same events for itself; none of them is
//! ever sent. A command that changed nothing is no event.

use super::{
    CurriculumEmergencyUpdate, EvaluationBackpressure, EvaluationCompleted, EvaluationFailed,
    EvaluationStarted, Event, Games, HostOffline, HostOnline, LeaderElected, ModelDistributionComplete,
    ModelDistributionStarted, ModelPromoted, PromotionRejected, PromotionRolledBack, Regression,
    TrainingCompleted, TrainingFailed, TrainingRollbackNeeded, TrainingStarted, TrainingThresholdReached,
    Work,
};
use crate::{learner::evaluation::WATCH_GAMES, store::paths};
use cluster_state::command::{
    Appoint, CancelLease, CompleteEvaluation, CompleteTraining, ExpireLease, FailLease, GrantLease,
    ModelHeld, Promote, RegisterNode, RegisterSegment, Reject, ReportRegression, Rollback, SetBackpressure,
    SetCurriculum, SetLeader, SetOnline, ThresholdReached,
};
use cluster_state::{ClusterState, Command, Lease, LeaseKind, NodeId, Promotion, Response, Severity};
use wire::Hash;

/// Most hosts that an event names in one list, those with the lowest numbers: with two full lists it still fits.
const HOSTS_MAX: usize = 256;

/// What a node is called in events and on screen.
#[must_use]
pub fn node_name(id: NodeId) -> String {
    format!("node-{id}")
}

/// A lease's name, unique for ever.
#[must_use]
pub fn job_id(kind: LeaseKind, config_key: &str, epoch: u64) -> String {
    format!("{kind}:{config_key}:{epoch}")
}

/// Milliseconds since the epoch as the map's float seconds.
#[must_use]
pub fn seconds(at_ms: u64) -> f64 {
    at_ms as f64 / 1000.0
}

/// The events of one applied command, in order. `before` and `state` are the states around it; `games_planned` is how
/// many games an evaluation may take here.
#[must_use]
pub fn caused(
    command: &Command,
    response: &Response,
    before: &ClusterState,
    state: &ClusterState,
    games_planned: u32,
) -> Vec<Event> {
    let timestamp = seconds(command.at_ms());
    let mut events = match (command, response) {
        (Command::RegisterNode(RegisterNode { name, .. }), Response::Node { id, came_online: true }) => {
            vec![Event::HostOnline(HostOnline { node_id: node_name(*id), host: name.clone(), timestamp })]
        }
        (Command::SetOnline(SetOnline { node, online, reason, .. }), Response::Online { .. }) => {
            let host = state.nodes.get(node).map(|node| node.name.clone()).unwrap_or_default();
            let node_id = node_name(*node);
            vec![if *online {
                Event::HostOnline(HostOnline { node_id, host, timestamp })
            } else {
                Event::HostOffline(HostOffline { node_id, host, reason: reason.clone(), timestamp })
            }]
        }
        (Command::SetLeader(SetLeader { node, term, .. }), Response::Done) => {
            vec![Event::LeaderElected(LeaderElected {
                leader_id: node_name(*node),
                node_id: node_name(*node),
                term: *term,
                previous_leader_id: before.leader.as_ref().map(|leader| node_name(leader.node)),
                timestamp,
            })]
        }
        (
            Command::RegisterSegment(RegisterSegment { hash, config_key, games, source, holders, .. }),
            Response::Segment { games_total, .. },
        ) if source == cluster_state::state_machine::SELFPLAY_SOURCE => {
            vec![Event::NewGamesAvailable(Games {
                config_key: config_key.clone(),
                node_id: holders.first().map(|id| node_name(*id)).unwrap_or_default(),
                game_count: *games,
                total_games: *games_total,
                db_path: paths::games_db(config_key),
                segment: *hash,
                timestamp,
            })]
        }
        (Command::ThresholdReached(ThresholdReached { config_key, crossing, .. }), Response::Done) => {
            let config = before.config(config_key);
            let reached = Event::TrainingThresholdReached(TrainingThresholdReached {
                config_key: config_key.clone(),
                node_id: leader_name(state),
                crossing: *crossing,
                game_count: config.map_or(0, |config| config.games_since_training),
                threshold: config.map_or(0, |config| config.threshold),
                timestamp,
            });
            vec![reached, queued(LeaseKind::Training, config_key, &crossing.to_string(), state, timestamp)]
        }
        // The same grant again is answered with the lease that is live already.
        (Command::GrantLease(GrantLease { kind, config_key, subject, .. }), Response::Lease(lease))
            if lease.id == state.applied =>
        {
            let job_id = job_id(*kind, config_key, lease.epoch);
            let node_id = node_name(lease.node);
            let claimed = Event::WorkClaimed(work(lease, String::new(), timestamp));
            let started = match kind {
                LeaseKind::Training => Event::TrainingStarted(TrainingStarted {
                    config_key: config_key.clone(),
                    node_id,
                    job_id,
                    parent: state.config(config_key).map(|config| config.newest),
                    model_path: paths::candidate(config_key),
                    timestamp,
                }),
                LeaseKind::Evaluation => Event::EvaluationStarted(EvaluationStarted {
                    config_key: config_key.clone(),
                    node_id,
                    job_id,
                    model_id: subject.unwrap_or_else(|| Hash::of(b"")),
                    model_path: paths::candidate(config_key),
                    games_planned: if *subject == state.config(config_key).map(|config| config.champion) {
                        WATCH_GAMES
                    } else {
                        games_planned
                    },
                    timestamp,
                }),
            };
            vec![started, claimed]
        }
        (Command::FailLease(FailLease { kind, config_key, error, .. }), Response::Done) => {
            let Some(lease) = live(before, *kind, config_key) else { return Vec::new() };
            let failed = Event::WorkFailed(work(lease, error.clone(), timestamp));
            vec![failure(lease, error.clone(), timestamp), failed]
        }
        (Command::ExpireLease(ExpireLease { kind, config_key, reason, .. }), Response::Done) => {
            let Some(lease) = live(before, *kind, config_key) else { return Vec::new() };
            let timeout = Event::WorkTimeout(work(lease, reason.clone(), timestamp));
            vec![failure(lease, reason.clone(), timestamp), timeout]
        }
        (Command::Reject(Reject { config_key, candidate, reason, .. }), Response::Done) => {
            let evidence = before.models.get(candidate).and_then(|model| model.evidence.as_ref());
            vec![Event::PromotionRejected(PromotionRejected {
                config_key: config_key.clone(),
                node_id: leader_name(state),
                model_id: *candidate,
                reason: reason.clone(),
                elo_improvement: evidence.map(|evidence| evidence.elo_delta),
                timestamp,
            })]
        }
        (
            Command::CompleteTraining(CompleteTraining { config_key, node, model, report, .. }),
            Response::Done,
        ) => {
            let game = config_key.parse::<::rules::Config>().ok();
            let completed = Event::TrainingCompleted(TrainingCompleted {
                config_key: config_key.clone(),
                node_id: node_name(*node),
                model_id: model.hash,
                model_path: paths::candidate(config_key),
                board_type: game.map(|game| game.board.as_str().to_owned()).unwrap_or_default(),
                num_players: game.map_or(0, |game| game.seats),
                epochs_trained: report.epochs_trained,
                final_loss: report.final_loss,
                val_loss: report.val_loss,
                elo_estimate: state.config(config_key).map_or(0.0, |config| config.elo),
                timestamp,
            });
            let mut events = with_work(completed, live(before, LeaseKind::Training, config_key), timestamp);
            events.push(queued(LeaseKind::Evaluation, config_key, &model.hash.to_string(), state, timestamp));
            events
        }
        (
            Command::CompleteEvaluation(CompleteEvaluation { config_key, node, evidence, .. }),
            Response::Done,
        ) => {
            let completed = Event::EvaluationCompleted(EvaluationCompleted {
                config_key: config_key.clone(),
                node_id: node_name(*node),
                model_id: evidence.candidate,
                model_path: paths::candidate(config_key),
                elo_delta: evidence.elo_delta,
                elo_error: evidence.elo_error,
                win_rate_vs_random: evidence.win_rate_vs_random,
                win_rate_vs_heuristic: evidence.win_rate_vs_heuristic,
                passed_gauntlet: evidence.passed_gauntlet,
                games_played: evidence.games,
                timestamp,
            });
            with_work(completed, live(before, LeaseKind::Evaluation, config_key), timestamp)
        }
        (Command::Promote(Promote { config_key, .. }), Response::Promoted { promotion, distributed }) => {
            let promoted = Event::ModelPromoted(promoted(state, config_key, promotion, timestamp));
            with_distribution(promoted, *distributed, before, state, config_key, timestamp)
        }
        (Command::Appoint(Appoint { config_key, .. }), Response::Promoted { promotion, distributed }) => {
            let promoted = Event::ModelPromoted(promoted(state, config_key, promotion, timestamp));
            with_distribution(promoted, *distributed, before, state, config_key, timestamp)
        }
        (Command::ReportRegression(_), Response::Done) => regression(command, before, state),
        (
            Command::Rollback(Rollback { config_key, triggered_by, .. }),
            Response::RolledBack { promotion, versions, distributed },
        ) => {
            let rolled_back = Event::PromotionRolledBack(PromotionRolledBack {
                config_key: config_key.clone(),
                node_id: leader_name(state),
                model_id: promotion.model,
                from_version: versions.0,
                to_version: versions.1,
                reason: promotion.reason.clone(),
                triggered_by: triggered_by.clone(),
                timestamp,
            });
            let mut events =
                with_distribution(rolled_back, *distributed, before, state, config_key, timestamp);
            for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
                if let Some(lease) = live(before, kind, config_key) {
                    events.extend(cancelled(lease, "the champion was rolled back", timestamp));
                }
            }
            events
        }
        (
            Command::SetBackpressure(SetBackpressure {
                config_key,
                active,
                depth,
                threshold,
                release_threshold,
                trigger,
                ..
            }),
            Response::Done,
        ) => {
            let backpressure = EvaluationBackpressure {
                config_key: config_key.clone(),
                node_id: leader_name(state),
                queue_depth: *depth,
                threshold: *threshold,
                release_threshold: *release_threshold,
                backpressure_active: *active,
                source: "evaluation".to_owned(),
                timestamp,
            };
            match (trigger, active) {
                (Some(_), _) => Vec::new(), // an event said so already
                (None, true) => vec![Event::EvaluationBackpressure(backpressure)],
                (None, false) => vec![Event::EvaluationBackpressureReleased(backpressure)],
            }
        }
        (
            Command::SetCurriculum(SetCurriculum { config_key, weight, reason, emergency: true, .. }),
            Response::Done,
        ) => {
            vec![Event::CurriculumEmergencyUpdate(CurriculumEmergencyUpdate {
                config_key: config_key.clone(),
                node_id: leader_name(state),
                old_weight: before.config(config_key).map_or(0.0, |config| config.steering.weight),
                new_weight: *weight,
                reason: reason.clone(),
                timestamp,
            })]
        }
        (Command::CancelLease(CancelLease { kind, config_key, reason, .. }), Response::Done) => {
            live(before, *kind, config_key)
                .map(|lease| cancelled(lease, reason, timestamp).into())
                .unwrap_or_default()
        }
        (Command::ModelHeld(ModelHeld { model, .. }), Response::Held { distributed: true }) => state
            .models
            .get(model)
            .map(|known| distribution(state, &known.config_key, *model, timestamp))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    };
    if let Response::Online { distributed } = response {
        let complete = distributed.iter().map(|d| distribution(state, &d.config_key, d.model, timestamp));
        events.extend(complete);
    }
    events
}

/// The command whose first event this command's events follow, as its index in the log.
#[must_use]
pub fn follows(command: &Command, before: &ClusterState) -> Option<u64> {
    match command {
        Command::CompleteTraining(CompleteTraining { config_key, .. }) => {
            live(before, LeaseKind::Training, config_key).map(|lease| lease.id)
        }
        Command::CompleteEvaluation(CompleteEvaluation { config_key, .. }) => {
            live(before, LeaseKind::Evaluation, config_key).map(|lease| lease.id)
        }
        Command::FailLease(FailLease { kind, config_key, .. })
        | Command::ExpireLease(ExpireLease { kind, config_key, .. })
        | Command::CancelLease(CancelLease { kind, config_key, .. }) => {
            live(before, *kind, config_key).map(|lease| lease.id)
        }
        // With it the champion may be everywhere.
        Command::ModelHeld(ModelHeld { model, .. }) => {
            let config = before.models.get(model).and_then(|known| before.config(&known.config_key))?;
            config.history.last().filter(|promotion| promotion.model == *model).map(|p| p.log_index)
        }
        _ => None,
    }
}

fn live<'a>(state: &'a ClusterState, kind: LeaseKind, config_key: &str) -> Option<&'a Lease> {
    state.config(config_key)?.lease(kind).live.as_ref()
}

fn work(lease: &Lease, error: String, timestamp: f64) -> Work {
    Work {
        config_key: lease.config_key.clone(),
        node_id: node_name(lease.node),
        work_id: job_id(lease.kind, &lease.config_key, lease.epoch),
        work_type: lease.kind.to_string(),
        error,
        timestamp,
    }
}

fn with_work(completed: Event, lease: Option<&Lease>, timestamp: f64) -> Vec<Event> {
    let done = lease.map(|lease| Event::WorkCompleted(work(lease, String::new(), timestamp)));
    std::iter::once(completed).chain(done).collect()
}

/// How a lease ended that was not completed.
fn failure(lease: &Lease, error: String, timestamp: f64) -> Event {
    let config_key = lease.config_key.clone();
    let node_id = node_name(lease.node);
    let job_id = job_id(lease.kind, &lease.config_key, lease.epoch);
    match lease.kind {
        LeaseKind::Training => {
            Event::TrainingFailed(TrainingFailed { config_key, node_id, job_id, error, timestamp })
        }
        LeaseKind::Evaluation => Event::EvaluationFailed(EvaluationFailed {
            config_key,
            node_id,
            job_id,
            model_id: lease.subject,
            error,
            timestamp,
        }),
    }
}

/// Work that waits for a node; `which` tells it from other work of its kind.
fn queued(kind: LeaseKind, config_key: &str, which: &str, state: &ClusterState, timestamp: f64) -> Event {
    Event::WorkQueued(Work {
        config_key: config_key.to_owned(),
        node_id: leader_name(state),
        work_id: format!("{kind}:{config_key}:{which}"),
        work_type: kind.to_string(),
        error: String::new(),
        timestamp,
    })
}

/// Work that is wanted no more: it was started, so it also ends.
fn cancelled(lease: &Lease, reason: &str, timestamp: f64) -> [Event; 2] {
    let error = format!("cancelled: {reason}");
    [failure(lease, error.clone(), timestamp), Event::WorkCancelled(work(lease, error, timestamp))]
}

fn promoted(state: &ClusterState, config_key: &str, promotion: &Promotion, timestamp: f64) -> ModelPromoted {
    ModelPromoted {
        config_key: config_key.to_owned(),
        node_id: leader_name(state),
        model_id: promotion.model,
        model_path: paths::canonical(config_key),
        generation: promotion.generation,
        previous_elo: promotion.previous_elo,
        new_elo: promotion.new_elo,
        elo_delta: promotion.elo_delta,
        promotion_reason: promotion.reason.clone(),
        timestamp,
    }
}

/// The champion moved: it is on its way to those who lack it, or has arrived; what was said against the one before is
/// settled, unless that one came back for it.
fn with_distribution(
    moved: Event,
    distributed: bool,
    before: &ClusterState,
    state: &ClusterState,
    config_key: &str,
    timestamp: f64,
) -> Vec<Event> {
    let mut events = vec![moved];
    let Some(config) = state.config(config_key) else { return events };
    if distributed {
        events.push(distribution(state, config_key, config.champion, timestamp));
    } else {
        events.push(Event::ModelDistributionStarted(ModelDistributionStarted {
            config_key: config_key.to_owned(),
            node_id: leader_name(state),
            model_id: config.champion,
            model_path: paths::canonical(config_key),
            target_hosts: names(state.online().map(|node| node.id)),
            timestamp,
        }));
    }
    let regressed = before.config(config_key).and_then(|config| config.steering.regression.as_ref());
    if let Some(regressed) = regressed.filter(|_| config.steering.regression.is_none()) {
        events.push(Event::RegressionCleared(Regression {
            config_key: config_key.to_owned(),
            node_id: leader_name(state),
            elo_drop: 0.0,
            model_id: Some(regressed.champion),
            current_elo: None,
            baseline_elo: None,
            games_played: 0,
            reason: "another champion plays".to_owned(),
            timestamp,
        }));
    }
    events
}

/// What a report of a regression tells, unless an event told it already, and whether a rollback is due.
fn regression(command: &Command, before: &ClusterState, state: &ClusterState) -> Vec<Event> {
    let Command::ReportRegression(ReportRegression {
        config_key,
        severity,
        elo_drop,
        games,
        reason,
        trigger,
        at_ms,
        ..
    }) = command
    else {
        return Vec::new();
    };
    let Some(config) = state.config(config_key) else { return Vec::new() };
    let timestamp = seconds(*at_ms);
    let regressed = before.config(config_key).and_then(|config| config.steering.regression.as_ref());
    let told = Regression {
        config_key: config_key.clone(),
        node_id: leader_name(state),
        elo_drop: *elo_drop,
        model_id: Some(regressed.filter(|_| severity.is_none()).map_or(config.champion, |r| r.champion)),
        current_elo: Some(config.elo - elo_drop),
        baseline_elo: Some(config.elo),
        games_played: *games,
        reason: reason.clone(),
        timestamp,
    };
    let mut events = Vec::new();
    if trigger.is_none() {
        events.push(match severity {
            Some(Severity::Minor) => Event::RegressionDetected(told),
            Some(Severity::Critical) => Event::RegressionCritical(told),
            None => Event::RegressionCleared(told),
        });
    }
    if *severity == Some(Severity::Critical) && config.fallback().is_some() {
        events.push(Event::TrainingRollbackNeeded(TrainingRollbackNeeded {
            config_key: config_key.clone(),
            node_id: leader_name(state),
            model_id: Some(config.champion),
            reason: reason.clone(),
            timestamp,
        }));
    }
    events
}

fn leader_name(state: &ClusterState) -> String {
    state.leader.as_ref().map(|leader| node_name(leader.node)).unwrap_or_default()
}

fn distribution(state: &ClusterState, config_key: &str, model: Hash, timestamp: f64) -> Event {
    let holders = state.models.get(&model).into_iter().flat_map(|model| &model.holders).copied();
    let away = state.nodes.values().filter(|node| !node.online);
    Event::ModelDistributionComplete(ModelDistributionComplete {
        config_key: config_key.to_owned(),
        node_id: leader_name(state),
        model_id: model,
        model_path: paths::canonical(config_key),
        target_hosts: names(holders.filter(|id| state.is_online(*id))),
        offline_hosts: names(away.map(|node| node.id)),
        timestamp,
    })
}

fn names(ids: impl Iterator<Item = NodeId>) -> Vec<String> {
    ids.take(HOSTS_MAX).map(node_name).collect()
}

#[cfg(test)]
mod tests;
