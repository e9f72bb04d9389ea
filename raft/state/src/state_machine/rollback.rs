//! Handles the rollback of a champion that regressed.
//!
//! Invariant: a rollback happens once for each champion and each event that asks for it, and it is an entry
//! of the history like any other. What was made from the replaced champion ends with it: its candidates, and
//! the work on them.

use super::{
    leases::end_unwanted,
    lookup::{self, Outcome},
    promotion, steering,
};
use crate::{
    cause::{EndCause, PromotionKind},
    command::Rollback,
    config::Promotion,
    lease::LeaseKind,
    model::ModelStatus,
    response::{Refusal, Response},
    state::ClusterState,
    steering::Regression,
};

pub(super) fn rollback(state: &mut ClusterState, index: u64, command: &Rollback) -> Outcome {
    let Rollback { config_key, expected_champion, reason, triggered_by: _, trigger, at_ms } = command;
    let config = lookup::config(state, config_key)?;
    if steering::told_before(state, trigger) {
        return Ok(Response::Unchanged);
    }
    let left = config.champion;
    if let Some(expected) = expected_champion.filter(|expected| *expected != left) {
        let gone = config.history.iter().any(|entry| entry.previous == expected && entry.is_rollback());
        return if gone { Ok(Response::Unchanged) } else { Err(Refusal::ChampionMoved(left)) };
    }
    // A command without a champion, while one settles, means the champion that was replaced.
    if expected_champion.is_none() && steering::settles(config) {
        steering::remember(state, trigger);
        return Ok(Response::Noted);
    }
    let back = config.fallback().ok_or(Refusal::NothingBefore)?;
    let promotion = Promotion {
        generation: config.generation + 1,
        model: back.model,
        previous: left,
        previous_elo: config.elo,
        new_elo: back.elo,
        elo_delta: back.elo - config.elo,
        kind: PromotionKind::RolledBack,
        reason: format!("rolled back: {reason}").chars().take(128).collect(),
        at_ms: *at_ms,
        log_index: index,
    };
    let (from, candidates) = (config.generation, config.candidates.clone());
    let regression = config.steering.regression.clone();
    steering::remember(state, trigger);
    let rejected = ModelStatus::Rejected { reason: promotion.reason.clone() };
    let distributed = promotion::enthrone(state, config_key, &promotion, rejected)?;
    for candidate in candidates.iter().filter(|candidate| **candidate != back.model) {
        let reason = "its champion was rolled back".to_owned();
        promotion::set_status(state, candidate, ModelStatus::Rejected { reason });
    }
    let config = lookup::config_mut(state, config_key)?;
    config.candidates.clear();
    config.newest = back.model;
    for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
        if config.lease(kind).live.is_some() {
            end_unwanted(config.lease_mut(kind), EndCause::RolledBack, "the champion was rolled back");
        }
    }
    // Training pauses until the leader has seen that the champion has settled.
    config.steering.regression = regression.map(|regression| Regression {
        champion: back.model,
        rolled_back: true,
        since_ms: *at_ms,
        ..regression
    });
    Ok(Response::RolledBack { promotion, versions: (from, back.generation), distributed })
}
