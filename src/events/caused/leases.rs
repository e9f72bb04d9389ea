//! Exclusive work: granted, completed, and every other end of it.

use super::{AppliedCommand, job_id, node_name, seconds};
use crate::{
    events::{
        EvaluationCompleted, EvaluationFailed, EvaluationStarted, Event, TrainingCompleted, TrainingFailed,
        TrainingStarted, Work,
    },
    store::paths,
};
use cluster_state::{
    ClusterState, ConfigKey, Lease, LeaseKind, ModelId, NodeId, Response, admission,
    command::{
        CancelLease, CompleteEvaluation, CompleteTraining, ExpireLease, FailLease, GrantLease, RemoveNode,
    },
};
use wire::Hash;

/// The same grant again is answered with the lease that is live already, and is no event.
pub(super) fn granted(command: &GrantLease, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let Response::Lease(lease) = applied.response else { return Vec::new() };
    if lease.id != applied.state.applied {
        return Vec::new();
    }
    let timestamp = seconds(command.at_ms);
    let config_key = command.config_key.clone();
    let config = applied.state.config(&config_key);
    let job_id = job_id(command.kind, &config_key, lease.epoch);
    let node_id = node_name(lease.node);
    let model_path = paths::candidate(&config_key);
    let started = match command.kind {
        LeaseKind::Training => Event::TrainingStarted(TrainingStarted {
            config_key,
            node_id,
            job_id,
            parent: config.map(|config| config.newest),
            model_path,
            timestamp,
        }),
        LeaseKind::Evaluation => {
            let watched = command.subject == config.map(|config| config.champion);
            let planned = applied.games_planned;
            Event::EvaluationStarted(EvaluationStarted {
                config_key,
                node_id,
                job_id,
                model_id: command.subject.unwrap_or_else(|| ModelId(Hash::of(b""))),
                model_path,
                games_planned: if watched { planned.champion } else { planned.candidate },
                timestamp,
            })
        }
    };
    vec![started, Event::WorkClaimed(work(lease, String::new(), timestamp))]
}

pub(super) fn failed(command: &FailLease, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let Some(lease) = applied.ended(command.kind, &command.config_key) else { return Vec::new() };
    let timestamp = seconds(command.at_ms);
    let failed = Event::WorkFailed(work(lease, command.error.clone(), timestamp));
    vec![failure(lease, command.error.clone(), timestamp), failed]
}

pub(super) fn expired(command: &ExpireLease, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let Some(lease) = applied.ended(command.kind, &command.config_key) else { return Vec::new() };
    timed_out(lease, &command.reason, seconds(command.at_ms)).into()
}

/// The leases that a node holds.
pub(super) fn of_node(node: NodeId, state: &ClusterState) -> impl Iterator<Item = &Lease> {
    let slots = state.configs.values().flat_map(|config| [&config.training.live, &config.evaluation.live]);
    slots.flatten().filter(move |lease| lease.node == node)
}

/// The ends of the leases of a node that was removed.
pub(super) fn removed(command: &RemoveNode, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let timestamp = seconds(command.at_ms);
    let ended = of_node(command.node, applied.before);
    ended.flat_map(|lease| timed_out(lease, admission::REMOVED, timestamp)).collect()
}

fn timed_out(lease: &Lease, reason: &str, timestamp: f64) -> [Event; 2] {
    let timeout = Event::WorkTimeout(work(lease, reason.to_owned(), timestamp));
    [failure(lease, reason.to_owned(), timestamp), timeout]
}

pub(super) fn cancelled(command: &CancelLease, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let lease = applied.ended(command.kind, &command.config_key);
    lease.map(|lease| cancels(lease, &command.reason, seconds(command.at_ms)).into()).unwrap_or_default()
}

pub(super) fn trained(command: &CompleteTraining, applied: &AppliedCommand<'_>) -> Vec<Event> {
    if !applied.is_done() {
        return Vec::new();
    }
    let (key, timestamp) = (&command.config_key, seconds(command.at_ms));
    let game = key.game();
    let completed = Event::TrainingCompleted(TrainingCompleted {
        config_key: key.clone(),
        node_id: node_name(command.node),
        model_id: command.model.hash,
        model_path: paths::candidate(key),
        board_type: game.map(|game| game.board.as_str().to_owned()).unwrap_or_default(),
        num_players: game.map_or(0, |game| game.seats),
        epochs_trained: command.report.epochs_trained,
        final_loss: command.report.final_loss,
        val_loss: command.report.val_loss,
        elo_estimate: applied.state.config(key).map_or(0.0, |config| config.elo),
        timestamp,
    });
    let done = applied.ended(LeaseKind::Training, key).map(|lease| done(lease, timestamp));
    let model = command.model.hash.to_string();
    let queued = queued(LeaseKind::Evaluation, key, &model, applied, timestamp);
    std::iter::once(completed).chain(done).chain([queued]).collect()
}

pub(super) fn evaluated(command: &CompleteEvaluation, applied: &AppliedCommand<'_>) -> Vec<Event> {
    if !applied.is_done() {
        return Vec::new();
    }
    let (key, evidence, timestamp) = (&command.config_key, &command.evidence, seconds(command.at_ms));
    let completed = Event::EvaluationCompleted(EvaluationCompleted {
        config_key: key.clone(),
        node_id: node_name(command.node),
        model_id: evidence.candidate,
        model_path: paths::candidate(key),
        elo_delta: evidence.elo_delta,
        elo_error: evidence.elo_error,
        win_rate_vs_random: evidence.win_rate_vs_random,
        win_rate_vs_heuristic: evidence.win_rate_vs_heuristic,
        passed_gauntlet: evidence.passed_gauntlet,
        games_played: evidence.games,
        timestamp,
    });
    let done = applied.ended(LeaseKind::Evaluation, key).map(|lease| done(lease, timestamp));
    std::iter::once(completed).chain(done).collect()
}

/// Work that waits for a node; `which` tells it from other work of its kind.
pub(super) fn queued(
    kind: LeaseKind,
    config_key: &ConfigKey,
    which: &str,
    applied: &AppliedCommand<'_>,
    timestamp: f64,
) -> Event {
    Event::WorkQueued(Work {
        config_key: config_key.to_owned(),
        node_id: applied.leader(),
        work_id: format!("{kind}:{config_key}:{which}"),
        work_type: kind.to_string(),
        error: String::new(),
        timestamp,
    })
}

/// Work that is wanted no more: it was started, so it also ends.
pub(super) fn cancels(lease: &Lease, reason: &str, timestamp: f64) -> [Event; 2] {
    let error = format!("cancelled: {reason}");
    [failure(lease, error.clone(), timestamp), Event::WorkCancelled(work(lease, error, timestamp))]
}

fn done(lease: &Lease, timestamp: f64) -> Event {
    Event::WorkCompleted(work(lease, String::new(), timestamp))
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
