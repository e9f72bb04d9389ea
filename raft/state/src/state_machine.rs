//! The meaning of commands.
//!
//! Invariant: `apply` is a pure function of state, log index and command: no clock, no randomness, no I/O, no hash
//! maps. A refusal changes nothing. A repeated command changes nothing either.

mod check;
mod leases;
mod promotion;
mod rollback;
mod steering;

pub use check::check;
pub use rollback::ROLLED_BACK;

use crate::{
    command::{Command, HOLDERS_MAX, ModelInfo, NodeId, SelfplayTarget},
    response::{Refusal, Response},
    state::{
        ClusterState, ConfigState, ELO_INITIAL, Leader, LeaseSlot, Model, ModelStatus, Node, Segment,
        Steering,
    },
};
use std::{collections::BTreeSet, sync::Arc};
use wire::Hash;

/// Most members ever.
pub const NODES_MAX: usize = 1024;
/// Most configurations.
pub const CONFIGS_MAX: usize = 64;
/// Most models ever.
pub const MODELS_MAX: usize = 16_384;
/// Most segments ever.
pub const SEGMENTS_MAX: usize = 500_000;
/// Most candidates of one configuration that wait for a verdict.
pub const CANDIDATES_MAX: usize = 64;
/// Games that evidence needs, whatever the sequential test says.
pub const EVIDENCE_GAMES_MIN: u32 = 16;
/// The source whose games count towards the training threshold.
pub const SELFPLAY_SOURCE: &str = "selfplay";

type Outcome = Result<Response, Refusal>;

/// Applies one command, which is entry `index` of the log.
pub fn apply(state: &mut ClusterState, index: u64, command: &Command) -> Response {
    let outcome = check(command).and_then(|()| dispatch(state, index, command));
    state.applied = index;
    outcome.unwrap_or_else(Response::Refused)
}

fn dispatch(state: &mut ClusterState, index: u64, command: &Command) -> Outcome {
    match command {
        Command::RegisterNode { .. } => register_node(state, command),
        Command::SetOnline { node, online, reason, observed_boot, at_ms } => {
            set_online(state, *node, *online, reason, *observed_boot, *at_ms)
        }
        Command::SetLeader { node, term, at_ms } => set_leader(state, *node, *term, *at_ms),
        Command::InitConfig { config_key, champion, size, threshold, target, at_ms } => {
            let model = ModelInfo { hash: *champion, size: *size, parent: *champion, step: 0, generation: 0 };
            init_config(state, index, config_key, model, *threshold, target, *at_ms)
        }
        Command::RegisterSegment { hash, config_key, games, samples, source, model, holders, at_ms } => {
            let segment = Segment {
                config_key: config_key.clone(),
                games: *games,
                samples: *samples,
                source: source.clone(),
                model: *model,
                holders: holders.iter().copied().collect(),
                at_ms: *at_ms,
                log_index: index,
            };
            register_segment(state, *hash, segment)
        }
        Command::AddSegmentHolder { hash, node, .. } => add_segment_holder(state, hash, *node),
        Command::ThresholdReached { config_key, crossing, .. } => {
            threshold_reached(state, config_key, *crossing)
        }
        Command::GrantLease { kind, config_key, node, subject, ttl_ms, at_ms } => {
            leases::grant(state, index, *kind, config_key, *node, *subject, *ttl_ms, *at_ms)
        }
        Command::RenewLease { kind, config_key, epoch, node, at_ms } => {
            leases::renew(state, *kind, config_key, *epoch, *node, *at_ms)
        }
        Command::ExpireLease { kind, config_key, epoch, last_renewed_ms, reason, .. } => {
            leases::expire(state, *kind, config_key, *epoch, *last_renewed_ms, reason)
        }
        Command::FailLease { kind, config_key, epoch, node, error, .. } => {
            leases::fail(state, *kind, config_key, *epoch, *node, error)
        }
        Command::CompleteTraining { config_key, epoch, node, model, report, at_ms } => {
            leases::complete_training(state, index, config_key, *epoch, *node, model, report, *at_ms)
        }
        Command::CompleteEvaluation { config_key, epoch, node, evidence, at_ms } => {
            leases::complete_evaluation(state, config_key, *epoch, *node, evidence, *at_ms)
        }
        Command::Promote { config_key, candidate, expected_champion, elo_delta_min, at_ms } => {
            promotion::promote(
                state,
                index,
                config_key,
                *candidate,
                *expected_champion,
                *elo_delta_min,
                *at_ms,
            )
        }
        Command::Reject { config_key, candidate, reason, .. } => {
            promotion::reject(state, config_key, *candidate, reason)
        }
        Command::ModelHeld { model, node, .. } => promotion::model_held(state, *model, *node),
        Command::SetTarget { config_key, target, .. } => set_target(state, config_key, target),
        Command::ReportRegression { .. } => steering::report_regression(state, command),
        Command::Rollback { .. } => rollback::rollback(state, index, command),
        Command::SetBackpressure { .. } => steering::set_backpressure(state, command),
        Command::SetFeedback { config_key, feedback, .. } => {
            steering::set_feedback(state, config_key, feedback)
        }
        Command::SetLearningRate { config_key, scale, reason, .. } => {
            steering::set_learning_rate(state, config_key, *scale, reason)
        }
        Command::SetCurriculum { config_key, weight, reason, emergency, .. } => {
            steering::set_curriculum(state, config_key, *weight, reason, *emergency)
        }
        Command::CancelLease { kind, config_key, epoch, reason, .. } => {
            leases::cancel(state, *kind, config_key, *epoch, reason)
        }
        Command::SetDraining { node, draining, reason, .. } => {
            steering::set_draining(state, *node, *draining, reason)
        }
        Command::Appoint { config_key, model, expected_champion, reason, at_ms } => {
            promotion::appoint(state, index, config_key, *model, *expected_champion, reason, *at_ms)
        }
    }
}

fn register_node(state: &mut ClusterState, command: &Command) -> Outcome {
    let Command::RegisterNode { peer_id, name, addrs, http, version, boot, at_ms } = command else {
        unreachable!("called for RegisterNode only");
    };
    let known = state.node_of_peer(peer_id).cloned();
    let came_online = known.as_ref().is_none_or(|n| !n.online || n.boot != *boot);
    let id = match &known {
        Some(node) => node.id,
        None if state.nodes.len() >= NODES_MAX => return Err(Refusal::Full("nodes".into())),
        None => state.last_node_id + 1,
    };
    let node = Node {
        id,
        peer_id: peer_id.clone(),
        name: name.clone(),
        addrs: addrs.clone(),
        http: http.clone(),
        version: version.clone(),
        boot: *boot,
        online: true,
        reason: match &known {
            Some(n) if !came_online => n.reason.clone(),
            Some(_) | None => "registered".into(),
        },
        since_ms: match &known {
            Some(n) if !came_online => n.since_ms,
            Some(_) | None => *at_ms,
        },
        joined_ms: known.as_ref().map_or(*at_ms, |n| n.joined_ms),
        // Whoever starts again means to work.
        draining: known.as_ref().filter(|_| !came_online).and_then(|n| n.draining.clone()),
    };
    state.last_node_id = state.last_node_id.max(id);
    if known.as_ref() != Some(&node) {
        Arc::make_mut(&mut state.nodes).insert(id, Arc::new(node));
    }
    Ok(Response::Node { id, came_online })
}

fn set_online(
    state: &mut ClusterState,
    id: NodeId,
    online: bool,
    reason: &str,
    observed_boot: u64,
    at_ms: u64,
) -> Outcome {
    let node = state.nodes.get(&id).ok_or(Refusal::UnknownNode(id))?;
    if node.boot != observed_boot {
        return Err(Refusal::StaleBoot { current: node.boot, observed: observed_boot });
    }
    if node.online == online {
        return Ok(Response::Unchanged);
    }
    let mut node = Node::clone(node);
    node.online = online;
    node.reason = reason.to_owned();
    node.since_ms = at_ms;
    Arc::make_mut(&mut state.nodes).insert(id, Arc::new(node));
    let distributed = if online { Vec::new() } else { promotion::newly_distributed(state) };
    Ok(Response::Online { distributed })
}

fn set_leader(state: &mut ClusterState, node: NodeId, term: u64, at_ms: u64) -> Outcome {
    if !state.nodes.contains_key(&node) {
        return Err(Refusal::UnknownNode(node));
    }
    match &state.leader {
        Some(leader) if leader.term == term && leader.node == node => return Ok(Response::Unchanged),
        Some(leader) if leader.term >= term => {
            return Err(Refusal::StaleTerm { current: leader.term, term });
        }
        Some(_) | None => {}
    }
    let elections = state.leader.as_ref().map_or(0, |leader| leader.elections) + 1;
    state.leader = Some(Leader { node, term, since_ms: at_ms, elections });
    Ok(Response::Done)
}

fn init_config(
    state: &mut ClusterState,
    index: u64,
    config_key: &str,
    model: ModelInfo,
    threshold: u64,
    target: &SelfplayTarget,
    at_ms: u64,
) -> Outcome {
    if let Some(config) = state.config(config_key) {
        return if config.initial == model.hash {
            Ok(Response::Unchanged)
        } else {
            Err(Refusal::ConfigExists(config.initial))
        };
    }
    if state.configs.len() >= CONFIGS_MAX {
        return Err(Refusal::Full("configurations".into()));
    }
    if state.models.contains_key(&model.hash) {
        return Err(Refusal::ModelExists(model.hash));
    }
    let config = ConfigState {
        config_key: config_key.to_owned(),
        initial: model.hash,
        champion: model.hash,
        generation: 0,
        elo: ELO_INITIAL,
        distributed: true,
        newest: model.hash,
        games_total: 0,
        games_since_training: 0,
        champion_games: 0,
        threshold,
        crossings: 0,
        consumed: 0,
        training: LeaseSlot::default(),
        evaluation: LeaseSlot::default(),
        candidates: Vec::new(),
        target: target.clone(),
        steering: Steering::default(),
        history: Vec::new(),
    };
    Arc::make_mut(&mut state.configs).insert(config_key.to_owned(), Arc::new(config));
    let model = Model {
        config_key: config_key.to_owned(),
        status: ModelStatus::Champion,
        holders: BTreeSet::new(),
        trained_by: None,
        epoch: 0,
        report: None,
        evidence: None,
        at_ms,
        log_index: index,
        info: model,
    };
    state.models.insert(model.info.hash, model);
    Ok(Response::Done)
}

fn register_segment(state: &mut ClusterState, hash: Hash, segment: Segment) -> Outcome {
    if state.config(&segment.config_key).is_none() {
        return Err(Refusal::UnknownConfig(segment.config_key));
    }
    if let Some(stranger) = segment.holders.iter().find(|id| !state.nodes.contains_key(id)) {
        return Err(Refusal::UnknownNode(*stranger));
    }
    if let Some(known) = state.segments.get(&hash) {
        if !known.holders.is_superset(&segment.holders)
            && let Some(known) = state.segments.get_mut(&hash)
        {
            let room = HOLDERS_MAX.saturating_sub(known.holders.len());
            let more: Vec<_> = segment.holders.difference(&known.holders).copied().take(room).collect();
            known.holders.extend(more);
        }
        return Ok(Response::Duplicate);
    }
    let (have, need) = (state.online_among(&segment.holders), state.required_segment_holders());
    if have < need {
        return Err(Refusal::TooFewHolders { have, need });
    }
    if state.segments.len() >= SEGMENTS_MAX {
        return Err(Refusal::Full("segments".into()));
    }
    let config = config_mut(state, &segment.config_key)?;
    if segment.source == SELFPLAY_SOURCE {
        config.games_total = config.games_total.saturating_add(segment.games);
        config.games_since_training = config.games_since_training.saturating_add(segment.games);
        let its = if segment.model == config.champion { segment.games } else { 0 };
        config.champion_games = config.champion_games.saturating_add(its);
    }
    let answer = Response::Segment {
        games_total: config.games_total,
        games_since_training: config.games_since_training,
    };
    state.segments.insert(hash, segment);
    Ok(answer)
}

fn add_segment_holder(state: &mut ClusterState, hash: &Hash, node: NodeId) -> Outcome {
    if !state.nodes.contains_key(&node) {
        return Err(Refusal::UnknownNode(node));
    }
    match state.segments.get(hash) {
        None => return Err(Refusal::UnknownSegment(*hash)),
        Some(segment) if segment.holders.contains(&node) => return Ok(Response::Unchanged),
        Some(segment) if segment.holders.len() >= HOLDERS_MAX => {
            return Err(Refusal::Full("holders".into()));
        }
        Some(_) => {}
    }
    if let Some(segment) = state.segments.get_mut(hash) {
        segment.holders.insert(node);
    }
    Ok(Response::Done)
}

fn threshold_reached(state: &mut ClusterState, config_key: &str, crossing: u64) -> Outcome {
    let config = state.config(config_key).ok_or_else(|| Refusal::UnknownConfig(config_key.to_owned()))?;
    let expected = config.crossings + 1;
    if crossing < expected && crossing > 0 {
        return Ok(Response::Unchanged);
    }
    if crossing != expected {
        return Err(Refusal::WrongCrossing { expected, given: crossing });
    }
    if config.games_since_training < config.threshold {
        return Err(Refusal::BelowThreshold {
            games: config.games_since_training,
            threshold: config.threshold,
        });
    }
    let config = config_mut(state, config_key)?;
    config.crossings = crossing;
    config.games_since_training = 0;
    Ok(Response::Done)
}

fn set_target(state: &mut ClusterState, config_key: &str, target: &SelfplayTarget) -> Outcome {
    let config = state.config(config_key).ok_or_else(|| Refusal::UnknownConfig(config_key.to_owned()))?;
    if config.target == *target {
        return Ok(Response::Unchanged);
    }
    config_mut(state, config_key)?.target = target.clone();
    Ok(Response::Done)
}

fn config_mut<'a>(state: &'a mut ClusterState, config_key: &str) -> Result<&'a mut ConfigState, Refusal> {
    if !state.configs.contains_key(config_key) {
        return Err(Refusal::UnknownConfig(config_key.to_owned()));
    }
    Arc::make_mut(&mut state.configs)
        .get_mut(config_key)
        .map(Arc::make_mut)
        .ok_or_else(|| Refusal::UnknownConfig(config_key.to_owned()))
}

#[cfg(test)]
mod tests;
