//! What the leader says of a champion, of evaluation and of the shares of self-play.

use super::{AppliedCommand, seconds};
use crate::events::{
    ChampionRegression, CurriculumEmergencyUpdate, EvaluationBackpressure, Event, TrainingRollbackNeeded,
};
use cluster_state::{
    Severity,
    command::{ReportRegression, SetBackpressure, SetCurriculum},
};

/// What a report tells, unless an event told it already, and whether a rollback is due.
pub(super) fn regression(command: &ReportRegression, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let (key, timestamp) = (&command.config_key, seconds(command.at_ms));
    let Some(config) = applied.state.config(key).filter(|_| applied.is_done()) else { return Vec::new() };
    let before = applied.before.config(key);
    let regressed = before.and_then(|config| config.steering.regression.as_ref());
    let cleared = regressed.filter(|_| command.severity.is_none());
    let payload = ChampionRegression {
        config_key: key.clone(),
        node_id: applied.leader(),
        elo_drop: command.elo_drop,
        model_id: Some(cleared.map_or(config.champion, |regressed| regressed.champion)),
        current_elo: Some(config.elo - command.elo_drop),
        baseline_elo: Some(config.elo),
        games_played: command.games,
        reason: command.reason.clone(),
        timestamp,
    };
    let mut events = Vec::new();
    if command.trigger.is_none() {
        events.push(match command.severity {
            Some(Severity::Minor) => Event::RegressionDetected(payload),
            Some(Severity::Critical) => Event::RegressionCritical(payload),
            None => Event::RegressionCleared(payload),
        });
    }
    if command.severity == Some(Severity::Critical) && config.fallback().is_some() {
        events.push(Event::TrainingRollbackNeeded(TrainingRollbackNeeded {
            config_key: key.clone(),
            node_id: applied.leader(),
            model_id: Some(config.champion),
            reason: command.reason.clone(),
            timestamp,
        }));
    }
    events
}

/// Where an event asked for it, that event said so already.
pub(super) fn backpressure(command: &SetBackpressure, applied: &AppliedCommand<'_>) -> Vec<Event> {
    if !applied.is_done() || command.trigger.is_some() {
        return Vec::new();
    }
    let payload = EvaluationBackpressure {
        config_key: command.config_key.clone(),
        node_id: applied.leader(),
        queue_depth: command.depth,
        threshold: command.threshold,
        release_threshold: command.release_threshold,
        backpressure_active: command.active,
        source: "evaluation".to_owned(),
        timestamp: seconds(command.at_ms),
    };
    vec![if command.active {
        Event::EvaluationBackpressure(payload)
    } else {
        Event::EvaluationBackpressureReleased(payload)
    }]
}

/// Only emergencies are told: everything else shows in the state.
pub(super) fn curriculum(command: &SetCurriculum, applied: &AppliedCommand<'_>) -> Vec<Event> {
    if !applied.is_done() || !command.emergency {
        return Vec::new();
    }
    let before = applied.before.config(&command.config_key);
    vec![Event::CurriculumEmergencyUpdate(CurriculumEmergencyUpdate {
        config_key: command.config_key.clone(),
        node_id: applied.leader(),
        old_weight: before.map_or(0.0, |config| config.steering.weight),
        new_weight: command.weight,
        reason: command.reason.clone(),
        timestamp: seconds(command.at_ms),
    })]
}
