//! Handles the commands about the champion and its holders.
//!
//! Invariant: the champion changes only by a compare-and-swap that either confirmed evidence against exactly
//! that champion or an operator's order justifies, so the history of each configuration is linear: every
//! entry's `previous` is the model of the entry before it.

use super::{
    bounds::{EVIDENCE_GAMES_MIN, REJECTED_MAX},
    lookup::{self, Outcome},
};
use crate::{
    cause::{PromotionKind, Source},
    command::{Appoint, ModelHeld, Promote, Reject},
    config::{ConfigState, Promotion},
    id::ModelId,
    key::ConfigKey,
    model::{Model, ModelStatus, Sprt},
    response::{Distributed, Refusal, Response},
    review::ReviewStanding,
    state::ClusterState,
};
use std::sync::Arc;

/// The reason that [`promote`] writes into the history.
const REASON: &str = "gauntlet_passed";

pub(super) fn promote(state: &mut ClusterState, index: u64, command: &Promote) -> Outcome {
    let &Promote { ref config_key, candidate, expected_champion, elo_delta_min, at_ms } = command;
    let config = lookup::config(state, config_key)?;
    let repeated =
        config.history.last().is_some_and(|p| p.model == candidate && p.previous == expected_champion);
    if repeated {
        return Ok(Response::Unchanged);
    }
    if config.champion != expected_champion {
        return Err(Refusal::ChampionMoved(config.champion));
    }
    let model = model_of(state, config_key, candidate)?;
    if !config.candidates.contains(&candidate) {
        return Err(Refusal::NotCandidate(candidate));
    }
    let elo_delta = weigh(model, expected_champion, elo_delta_min)?;
    is_confirmed(state, model)?;
    is_held(state, model)?;
    let promotion = Promotion {
        generation: config.generation + 1,
        model: candidate,
        previous: config.champion,
        previous_elo: config.elo,
        new_elo: config.elo + elo_delta,
        elo_delta,
        kind: PromotionKind::Evidence,
        reason: REASON.to_owned(),
        at_ms,
        log_index: index,
    };
    let distributed = enthrone(state, config_key, &promotion, ModelStatus::Retired)?;
    Ok(Response::Promoted { promotion, distributed })
}

/// Appoints the operator's choice: any model of the configuration that enough nodes hold.
pub(super) fn appoint(state: &mut ClusterState, index: u64, command: &Appoint) -> Outcome {
    let &Appoint { ref config_key, model, expected_champion, ref reason, at_ms } = command;
    let config = lookup::config(state, config_key)?;
    let known = model_of(state, config_key, model)?;
    if config.champion == model {
        return Ok(Response::Unchanged);
    }
    if config.champion != expected_champion {
        return Err(Refusal::ChampionMoved(config.champion));
    }
    is_held(state, known)?;
    let promotion = Promotion {
        generation: config.generation + 1,
        model,
        previous: config.champion,
        previous_elo: config.elo,
        // The difference in strength is unknown.
        new_elo: config.elo,
        elo_delta: 0.0,
        kind: PromotionKind::Appointed,
        reason: format!("operator: {reason}"),
        at_ms,
        log_index: index,
    };
    let distributed = enthrone(state, config_key, &promotion, ModelStatus::Retired)?;
    Ok(Response::Promoted { promotion, distributed })
}

pub(super) fn model_of<'a>(
    state: &'a ClusterState,
    config_key: &ConfigKey,
    hash: ModelId,
) -> Result<&'a Model, Refusal> {
    let known = state.models.get(&hash).filter(|model| model.config_key == *config_key);
    known.ok_or(Refusal::UnknownModel(hash))
}

/// Checks that enough nodes that had no part in the evidence have counted the same.
fn is_confirmed(state: &ClusterState, model: &Model) -> Result<(), Refusal> {
    let standing = state.review_standing(model, model.review.as_ref());
    let ReviewStanding { confirmed, denied, need, open: _ } = standing;
    if standing.is_confirmed() { Ok(()) } else { Err(Refusal::Unconfirmed { confirmed, denied, need }) }
}

/// Checks that enough online nodes hold the model to make it champion.
fn is_held(state: &ClusterState, model: &Model) -> Result<(), Refusal> {
    let (have, need) = (state.online_among(&model.holders), state.required_model_holders());
    if have < need { Err(Refusal::TooFewHolders { have, need }) } else { Ok(()) }
}

/// Changes the champion, and returns whether every online node holds it already. `left` is the new status of
/// the champion before.
pub(super) fn enthrone(
    state: &mut ClusterState,
    config_key: &ConfigKey,
    promotion: &Promotion,
    left: ModelStatus,
) -> Result<bool, Refusal> {
    let distributed = held_by_all_online(state, &promotion.model);
    let champion_games = games_by(state, config_key, &promotion.model);
    let config = lookup::config_mut(state, config_key)?;
    config.champion_games = champion_games;
    config.generation = promotion.generation;
    config.champion = promotion.model;
    config.elo = promotion.new_elo;
    config.distributed = distributed;
    config.candidates.retain(|hash| *hash != promotion.model);
    config.history.push(Arc::new(promotion.clone()));
    // The reported regression was about the champion before.
    config.steering.regression = None;
    config.steering.watch = None;
    config.steering.round = None;
    config.rejected = 0;
    set_status(state, &promotion.previous, left);
    set_status(state, &promotion.model, ModelStatus::Champion);
    Ok(distributed)
}

/// Number of self-play games by a model. A former champion may come back; then its games count again.
fn games_by(state: &ClusterState, config_key: &ConfigKey, model: &ModelId) -> u64 {
    let segments = state.segments.iter().map(|(_, segment)| segment);
    let its = segments.filter(|segment| {
        segment.model == *model && segment.config_key == *config_key && segment.source == Source::Selfplay
    });
    its.fold(0, |sum: u64, segment| sum.saturating_add(segment.games))
}

/// The gain that the evidence shows, if the evidence is good enough.
fn weigh(model: &Model, champion: ModelId, elo_delta_min: f64) -> Result<f64, Refusal> {
    let evidence = model.evidence.as_ref().ok_or(Refusal::NoEvidence)?;
    if evidence.champion != champion {
        return Err(Refusal::NoEvidence);
    }
    if evidence.games < EVIDENCE_GAMES_MIN {
        return Err(Refusal::ShortEvidence { games: evidence.games, need: EVIDENCE_GAMES_MIN });
    }
    if !evidence.against.beat_random(&evidence.terms) {
        return Err(Refusal::GauntletFailed);
    }
    if evidence.sprt != Sprt::Accept {
        return Err(Refusal::NotAccepted);
    }
    if evidence.elo_delta < elo_delta_min {
        return Err(Refusal::EloTooLow { delta: evidence.elo_delta, min: elo_delta_min });
    }
    Ok(evidence.elo_delta)
}

pub(super) fn reject(state: &mut ClusterState, command: &Reject) -> Outcome {
    let &Reject { ref config_key, candidate, ref reason, at_ms: _ } = command;
    match model_of(state, config_key, candidate)?.status {
        ModelStatus::Candidate => {}
        ModelStatus::Rejected { .. } => return Ok(Response::Unchanged),
        ModelStatus::Champion | ModelStatus::Retired => return Err(Refusal::NotCandidate(candidate)),
    }
    let config = lookup::config_mut(state, config_key)?;
    config.candidates.retain(|hash| *hash != candidate);
    if config.newest == candidate {
        config.rejected += 1;
        if config.rejected >= REJECTED_MAX {
            (config.newest, config.rejected) = (config.champion, 0);
        }
    }
    set_status(state, &candidate, ModelStatus::Rejected { reason: reason.clone() });
    Ok(Response::Done)
}

pub(super) fn model_held(state: &mut ClusterState, command: &ModelHeld) -> Outcome {
    let &ModelHeld { model: hash, node, at_ms: _ } = command;
    if !state.nodes.contains_key(&node) {
        return Err(Refusal::UnknownNode(node));
    }
    match state.models.get(&hash) {
        None => return Err(Refusal::UnknownModel(hash)),
        Some(model) if model.holders.contains(&node) => return Ok(Response::Unchanged),
        Some(_) => {}
    }
    if let Some(model) = state.models.get_mut(&hash) {
        model.holders.insert(node);
    }
    let distributed = newly_distributed(state).iter().any(|config| config.model == hash);
    Ok(Response::Held { distributed })
}

/// Marks and returns the champions that every online node holds, each once per reign.
pub(super) fn newly_distributed(state: &mut ClusterState) -> Vec<Distributed> {
    let due = |config: &&Arc<ConfigState>| !config.distributed && held_by_all_online(state, &config.champion);
    let found: Vec<_> = state
        .configs
        .values()
        .filter(due)
        .map(|config| Distributed { config_key: config.config_key.clone(), model: config.champion })
        .collect();
    for config in &found {
        if let Ok(config) = lookup::config_mut(state, &config.config_key) {
            config.distributed = true;
        }
    }
    found
}

fn held_by_all_online(state: &ClusterState, hash: &ModelId) -> bool {
    let Some(model) = state.models.get(hash) else {
        return false;
    };
    let mut online = state.online().peekable();
    online.peek().is_some() && online.all(|node| model.holders.contains(&node.id))
}

pub(super) fn set_status(state: &mut ClusterState, hash: &ModelId, status: ModelStatus) {
    if let Some(model) = state.models.get_mut(hash) {
        model.status = status;
    }
}
