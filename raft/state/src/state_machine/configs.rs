//! Handles the commands that start a configuration, count its crossings, and set its target for self-play.
//!
//! Invariant: a configuration starts once, with one network, and its crossings are counted without a gap.

use super::{
    bounds::CONFIGS_MAX,
    lookup::{self, Outcome},
};
use crate::{
    command::{InitConfig, SetTarget, ThresholdReached},
    config::{ConfigState, ELO_INITIAL},
    lease::LeaseSlot,
    model::{Model, ModelInfo, ModelStatus},
    response::{Refusal, Response},
    state::ClusterState,
    steering::Steering,
};
use std::{collections::BTreeSet, sync::Arc};

pub(super) fn init(state: &mut ClusterState, index: u64, command: &InitConfig) -> Outcome {
    let InitConfig { config_key, champion, size, threshold, target, at_ms } = command;
    let champion = *champion;
    if let Some(config) = state.config(config_key) {
        return if config.initial == champion {
            Ok(Response::Unchanged)
        } else {
            Err(Refusal::ConfigExists(config.initial))
        };
    }
    if state.configs.len() >= CONFIGS_MAX {
        return Err(Refusal::Full("configurations".into()));
    }
    if state.models.contains_key(&champion) {
        return Err(Refusal::ModelExists(champion));
    }
    let config = ConfigState {
        config_key: config_key.clone(),
        initial: champion,
        champion,
        generation: 0,
        elo: ELO_INITIAL,
        distributed: true,
        newest: champion,
        rejected: 0,
        games_total: 0,
        games_since_training: 0,
        champion_games: 0,
        threshold: *threshold,
        crossings: 0,
        consumed: 0,
        training: LeaseSlot::default(),
        evaluation: LeaseSlot::default(),
        candidates: Vec::new(),
        target: target.clone(),
        steering: Steering::default(),
        history: Vec::new(),
    };
    Arc::make_mut(&mut state.configs).insert(config_key.clone(), Arc::new(config));
    let model = Model {
        info: ModelInfo { hash: champion, size: *size, parent: champion, step: 0, generation: 0 },
        config_key: config_key.clone(),
        status: ModelStatus::Champion,
        holders: BTreeSet::new(),
        trained_by: None,
        epoch: 0,
        report: None,
        evidence: None,
        review: None,
        at_ms: *at_ms,
        log_index: index,
    };
    state.models.insert(champion, model);
    Ok(Response::Done)
}

pub(super) fn threshold_reached(state: &mut ClusterState, command: &ThresholdReached) -> Outcome {
    let ThresholdReached { config_key, crossing, at_ms: _ } = command;
    let config = lookup::config(state, config_key)?;
    let (expected, given) = (config.crossings + 1, *crossing);
    if given < expected && given > 0 {
        return Ok(Response::Unchanged);
    }
    if given != expected {
        return Err(Refusal::WrongCrossing { expected, given });
    }
    if config.games_since_training < config.threshold {
        return Err(Refusal::BelowThreshold {
            games: config.games_since_training,
            threshold: config.threshold,
        });
    }
    let config = lookup::config_mut(state, config_key)?;
    config.crossings = given;
    config.games_since_training = 0;
    Ok(Response::Done)
}

pub(super) fn set_target(state: &mut ClusterState, command: &SetTarget) -> Outcome {
    let SetTarget { config_key, target, at_ms: _ } = command;
    if lookup::config(state, config_key)?.target == *target {
        return Ok(Response::Unchanged);
    }
    lookup::config_mut(state, config_key)?.target = target.clone();
    Ok(Response::Done)
}
