//! What holds configurations back or drives them on, and which nodes leave.
//!
//! Invariant: a report that an event caused counts once, however many nodes propose it and however late; factors are
//! positive and bounded.

use super::{Outcome, config_mut};
use crate::{
    command::{Command, Feedback, NodeId, Severity},
    response::{Refusal, Response},
    state::{Backpressure, ClusterState, ConfigState, Node, Regression},
};
use std::sync::Arc;
use wire::Hash;

/// Events that are remembered. A node that was away so long that more came meanwhile resyncs from the state.
const TRIGGERS_MAX: usize = 256;

/// Whether a command was applied for this event already.
pub(super) fn told_before(state: &ClusterState, trigger: &Option<Hash>) -> bool {
    trigger.is_some_and(|event| state.triggers.contains(&event))
}

pub(super) fn remember(state: &mut ClusterState, trigger: &Option<Hash>) {
    let Some(event) = *trigger else { return };
    let triggers = Arc::make_mut(&mut state.triggers);
    let over = (triggers.len() + 1).saturating_sub(TRIGGERS_MAX);
    triggers.drain(..over);
    triggers.push(event);
}

fn no_news(trigger: &Option<Hash>) -> Response {
    if trigger.is_some() { Response::Noted } else { Response::Unchanged }
}

/// Whether the champion is one that came back, and training waits for it to settle.
pub(super) fn settles(config: &ConfigState) -> bool {
    config.steering.regression.as_ref().is_some_and(|regression| regression.rolled_back)
}

pub(super) fn report_regression(state: &mut ClusterState, command: &Command) -> Outcome {
    let Command::ReportRegression {
        config_key,
        champion,
        severity,
        elo_drop,
        games: _,
        reason,
        trigger,
        at_ms,
    } = command
    else {
        unreachable!("called for ReportRegression only");
    };
    let config = config_of(state, config_key)?;
    if told_before(state, trigger) {
        return Ok(Response::Unchanged);
    }
    if champion.is_some_and(|champion| champion != config.champion) {
        return Err(Refusal::ChampionMoved(config.champion));
    }
    // Who names no champion while one settles means the one that is gone.
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
    // A milder report of what is known, or that nothing is amiss where nothing was.
    let news = match (&next, known, &config.steering.regression) {
        (Some(next), Some(known), _) => next.severity > known.severity,
        (Some(_), None, _) | (None, _, Some(_)) => true,
        (None, _, None) => false,
    };
    remember(state, trigger);
    if !news {
        return Ok(no_news(trigger));
    }
    config_mut(state, config_key)?.steering.regression = next;
    Ok(Response::Done)
}

pub(super) fn set_backpressure(state: &mut ClusterState, command: &Command) -> Outcome {
    let Command::SetBackpressure { config_key, active, depth, release_threshold, trigger, at_ms, .. } =
        command
    else {
        unreachable!("called for SetBackpressure only");
    };
    let config = config_of(state, config_key)?;
    let same = config.steering.backpressure.is_some() == *active;
    if told_before(state, trigger) {
        return Ok(Response::Unchanged);
    }
    remember(state, trigger);
    if same {
        return Ok(no_news(trigger));
    }
    config_mut(state, config_key)?.steering.backpressure = active.then_some(Backpressure {
        depth: *depth,
        release_threshold: *release_threshold,
        since_ms: *at_ms,
    });
    Ok(Response::Done)
}

pub(super) fn set_feedback(state: &mut ClusterState, config_key: &str, feedback: &Feedback) -> Outcome {
    if config_of(state, config_key)?.steering.feedback == *feedback {
        return Ok(Response::Unchanged);
    }
    config_mut(state, config_key)?.steering.feedback = feedback.clone();
    Ok(Response::Done)
}

pub(super) fn set_learning_rate(
    state: &mut ClusterState,
    config_key: &str,
    scale: f64,
    reason: &str,
) -> Outcome {
    let steering = &config_of(state, config_key)?.steering;
    if steering.learning_rate == scale && steering.learning_rate_reason == reason {
        return Ok(Response::Unchanged);
    }
    let steering = &mut config_mut(state, config_key)?.steering;
    steering.learning_rate = scale;
    steering.learning_rate_reason = reason.to_owned();
    Ok(Response::Done)
}

pub(super) fn set_curriculum(
    state: &mut ClusterState,
    config_key: &str,
    weight: f64,
    reason: &str,
    emergency: bool,
) -> Outcome {
    let steering = &config_of(state, config_key)?.steering;
    if (steering.weight, steering.emergency) == (weight, emergency) && steering.weight_reason == reason {
        return Ok(Response::Unchanged);
    }
    let steering = &mut config_mut(state, config_key)?.steering;
    steering.weight = weight;
    steering.weight_reason = reason.to_owned();
    steering.emergency = emergency;
    Ok(Response::Done)
}

pub(super) fn set_draining(state: &mut ClusterState, id: NodeId, draining: bool, reason: &str) -> Outcome {
    let node = state.nodes.get(&id).ok_or(Refusal::UnknownNode(id))?;
    if node.draining.is_some() == draining {
        return Ok(Response::Unchanged);
    }
    let mut node = Node::clone(node);
    node.draining = draining.then(|| reason.to_owned());
    Arc::make_mut(&mut state.nodes).insert(id, Arc::new(node));
    Ok(Response::Done)
}

fn config_of<'a>(state: &'a ClusterState, config_key: &str) -> Result<&'a ConfigState, Refusal> {
    state.config(config_key).ok_or_else(|| Refusal::UnknownConfig(config_key.to_owned()))
}

impl Severity {
    /// As in the names of events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minor => "minor",
            Self::Critical => "critical",
        }
    }
}
