//! Handles the commands that hold configurations back or speed them up.
//!
//! Invariant: a report that an event caused counts once, however many nodes propose it and however late they
//! do; factors are positive and bounded.

use super::lookup::{self, Outcome};
use crate::{
    command::{ReportRegression, SetBackpressure, SetCurriculum, SetFeedback, SetLearningRate},
    config::ConfigState,
    id::TriggerId,
    response::{Refusal, Response},
    state::ClusterState,
    steering::{Backpressure, Regression},
};
use std::sync::Arc;

/// Number of events that are remembered. A node that missed more than these while it was away resyncs from
/// the state.
const TRIGGERS_MAX: usize = 256;

/// Whether a command was already applied for this event.
pub(super) fn told_before(state: &ClusterState, trigger: &Option<TriggerId>) -> bool {
    trigger.is_some_and(|event| state.triggers.contains(&event))
}

pub(super) fn remember(state: &mut ClusterState, trigger: &Option<TriggerId>) {
    let Some(event) = *trigger else { return };
    let triggers = Arc::make_mut(&mut state.triggers);
    let over = (triggers.len() + 1).saturating_sub(TRIGGERS_MAX);
    triggers.drain(..over);
    triggers.push(event);
}

fn no_news(trigger: &Option<TriggerId>) -> Response {
    if trigger.is_some() { Response::Noted } else { Response::Unchanged }
}

/// Whether the champion came back by a rollback and training waits until it has settled.
pub(super) fn settles(config: &ConfigState) -> bool {
    config.steering.regression.as_ref().is_some_and(|regression| regression.rolled_back)
}

pub(super) fn report_regression(state: &mut ClusterState, command: &ReportRegression) -> Outcome {
    let ReportRegression { config_key, champion, severity, elo_drop, games: _, reason, trigger, at_ms } =
        command;
    let config = lookup::config(state, config_key)?;
    if told_before(state, trigger) {
        return Ok(Response::Unchanged);
    }
    if champion.is_some_and(|champion| champion != config.champion) {
        return Err(Refusal::ChampionMoved(config.champion));
    }
    // A report without a champion, while one settles, means the champion that was replaced.
    if champion.is_none() && severity.is_some() && settles(config) {
        remember(state, trigger);
        return Ok(Response::Noted);
    }
    let known = config.steering.regression.as_ref().filter(|known| !known.rolled_back);
    let next = severity.map(|severity| Regression {
        champion: config.champion,
        severity,
        elo_drop: *elo_drop,
        reason: reason.clone(),
        rolled_back: false,
        since_ms: *at_ms,
    });
    // A milder report than the known one brings no news; neither does an all-clear where nothing was known.
    let news = match (&next, known, &config.steering.regression) {
        (Some(next), Some(known), _) => next.severity > known.severity,
        (Some(_), None, _) | (None, _, Some(_)) => true,
        (None, _, None) => false,
    };
    remember(state, trigger);
    if !news {
        return Ok(no_news(trigger));
    }
    lookup::config_mut(state, config_key)?.steering.regression = next;
    Ok(Response::Done)
}

pub(super) fn set_backpressure(state: &mut ClusterState, command: &SetBackpressure) -> Outcome {
    let SetBackpressure { config_key, active, depth, threshold: _, release_threshold, trigger, at_ms } =
        command;
    let config = lookup::config(state, config_key)?;
    let same = config.steering.backpressure.is_some() == *active;
    if told_before(state, trigger) {
        return Ok(Response::Unchanged);
    }
    remember(state, trigger);
    if same {
        return Ok(no_news(trigger));
    }
    lookup::config_mut(state, config_key)?.steering.backpressure = active.then_some(Backpressure {
        depth: *depth,
        release_threshold: *release_threshold,
        since_ms: *at_ms,
    });
    Ok(Response::Done)
}

pub(super) fn set_feedback(state: &mut ClusterState, command: &SetFeedback) -> Outcome {
    let SetFeedback { config_key, feedback, at_ms: _ } = command;
    if lookup::config(state, config_key)?.steering.feedback == *feedback {
        return Ok(Response::Unchanged);
    }
    lookup::config_mut(state, config_key)?.steering.feedback = feedback.clone();
    Ok(Response::Done)
}

pub(super) fn set_learning_rate(state: &mut ClusterState, command: &SetLearningRate) -> Outcome {
    let SetLearningRate { config_key, scale, reason, at_ms: _ } = command;
    let steering = &lookup::config(state, config_key)?.steering;
    if steering.learning_rate == *scale && steering.learning_rate_reason == *reason {
        return Ok(Response::Unchanged);
    }
    let steering = &mut lookup::config_mut(state, config_key)?.steering;
    steering.learning_rate = *scale;
    steering.learning_rate_reason = reason.clone();
    Ok(Response::Done)
}

pub(super) fn set_curriculum(state: &mut ClusterState, command: &SetCurriculum) -> Outcome {
    let SetCurriculum { config_key, weight, reason, emergency, at_ms: _ } = command;
    let steering = &lookup::config(state, config_key)?.steering;
    if (steering.weight, steering.emergency) == (*weight, *emergency) && steering.weight_reason == *reason {
        return Ok(Response::Unchanged);
    }
    let steering = &mut lookup::config_mut(state, config_key)?.steering;
    steering.weight = *weight;
    steering.weight_reason = reason.clone();
    steering.emergency = *emergency;
    Ok(Response::Done)
}
