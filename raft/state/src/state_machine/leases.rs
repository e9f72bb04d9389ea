//! Handles the commands about exclusive work.
//!
//! Invariant: at most one lease of a kind is in force per configuration, epochs only grow, and only the
//! holder of the epoch in force can complete, renew or fail it.

use super::{
    bounds::{CANDIDATES_MAX, EVIDENCE_GAMES_MIN, MODELS_MAX},
    lookup::{self, Outcome},
};
use crate::{
    cause::{EndCause, Source},
    command::{
        CancelLease, CompleteEvaluation, CompleteTraining, ExpireLease, FailLease, GrantLease, RenewLease,
    },
    config::ConfigState,
    id::{ModelId, NodeId},
    lease::{Lease, LeaseEnd, LeaseKind, LeaseSlot},
    model::{Evidence, Model, ModelStatus},
    response::{Refusal, Response},
    review::Review,
    state::ClusterState,
    steering::WatchRound,
};
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn grant(state: &mut ClusterState, index: u64, command: &GrantLease) -> Outcome {
    let &GrantLease { kind, ref config_key, node, subject, ttl_ms, at_ms } = command;
    if state.nodes.get(&node).ok_or(Refusal::UnknownNode(node))?.draining.is_some() {
        return Err(Refusal::Draining(node));
    }
    trusted(state, node)?;
    let config = lookup::config(state, config_key)?;
    let slot = config.lease(kind);
    if let Some(live) = &slot.live {
        // A repetition of exactly the same grant gets the same answer as the first time.
        return if live.node == node && live.subject == subject && live.granted_ms == at_ms {
            Ok(Response::Lease(live.clone()))
        } else {
            Err(Refusal::LeaseHeld { kind, node: live.node, epoch: live.epoch })
        };
    }
    is_due(config, kind, subject)?;
    let lease = Lease {
        id: index,
        kind,
        config_key: config_key.clone(),
        node,
        epoch: slot.epoch + 1,
        subject,
        crossing: match kind {
            LeaseKind::Training => config.crossings,
            LeaseKind::Evaluation => 0,
        },
        granted_ms: at_ms,
        renewed_ms: at_ms,
        ttl_ms,
    };
    let slot = lookup::config_mut(state, config_key)?.lease_mut(kind);
    slot.epoch = lease.epoch;
    slot.recorded = 0;
    slot.live = Some(lease.clone());
    Ok(Response::Lease(lease))
}

/// Checks that there is such work: a crossing that was not trained on, a candidate, or a champion to watch.
fn is_due(config: &ConfigState, kind: LeaseKind, subject: Option<ModelId>) -> Result<(), Refusal> {
    match (kind, subject) {
        (LeaseKind::Training, None) if config.crossings > config.consumed => Ok(()),
        (LeaseKind::Training, None) => Err(Refusal::NothingToTrain),
        (LeaseKind::Training, Some(_)) | (LeaseKind::Evaluation, None) => Err(Refusal::WrongSubject),
        // The champion is watched: it plays against the champion before it.
        (LeaseKind::Evaluation, Some(hash)) if hash == config.champion && config.fallback().is_some() => {
            Ok(())
        }
        (LeaseKind::Evaluation, Some(hash)) if !config.candidates.contains(&hash) => {
            Err(Refusal::NotCandidate(hash))
        }
        (LeaseKind::Evaluation, Some(_)) => Ok(()),
    }
}

/// Refuses a node that has forged games: it gets no work, and what it had expires.
fn trusted(state: &ClusterState, node: NodeId) -> Result<(), Refusal> {
    if state.is_trusted(node) { Ok(()) } else { Err(Refusal::Distrusted(node)) }
}

pub(super) fn renew(state: &mut ClusterState, command: &RenewLease) -> Outcome {
    let &RenewLease { kind, ref config_key, epoch, node, at_ms } = command;
    trusted(state, node)?;
    let renewed_ms = held(lookup::config(state, config_key)?.lease(kind), epoch, node)?.renewed_ms;
    let slot = lookup::config_mut(state, config_key)?.lease_mut(kind);
    let Some(lease) = &mut slot.live else {
        return Err(Refusal::StaleEpoch { current: slot.epoch, epoch });
    };
    lease.renewed_ms = renewed_ms.max(at_ms);
    Ok(Response::Lease(lease.clone()))
}

pub(super) fn expire(state: &mut ClusterState, command: &ExpireLease) -> Outcome {
    let &ExpireLease { kind, ref config_key, epoch, last_renewed_ms, ref reason, at_ms: _ } = command;
    let slot = lookup::config(state, config_key)?.lease(kind);
    match &slot.live {
        Some(lease) if lease.epoch == epoch => {
            if last_renewed_ms.is_some_and(|seen| seen != lease.renewed_ms) {
                return Err(Refusal::RenewedSince { renewed_ms: lease.renewed_ms });
            }
        }
        Some(_) | None => return Err(stale(slot, epoch)),
    }
    let slot = lookup::config_mut(state, config_key)?.lease_mut(kind);
    end_badly(slot, EndCause::Expired, format!("expired: {reason}"));
    Ok(Response::Done)
}

pub(super) fn fail(state: &mut ClusterState, command: &FailLease) -> Outcome {
    let &FailLease { kind, ref config_key, epoch, node, ref error, at_ms: _ } = command;
    held(lookup::config(state, config_key)?.lease(kind), epoch, node)?;
    let slot = lookup::config_mut(state, config_key)?.lease_mut(kind);
    end_badly(slot, EndCause::Failed, error.clone());
    Ok(Response::Done)
}

pub(super) fn cancel(state: &mut ClusterState, command: &CancelLease) -> Outcome {
    let &CancelLease { kind, ref config_key, epoch, ref cause, ref reason, at_ms: _ } = command;
    let slot = lookup::config(state, config_key)?.lease(kind);
    match &slot.live {
        Some(lease) if lease.epoch == epoch => {}
        None if slot.epoch == epoch => return Ok(Response::Unchanged),
        Some(_) | None => return Err(stale(slot, epoch)),
    }
    let slot = lookup::config_mut(state, config_key)?.lease_mut(kind);
    end_unwanted(slot, cause.clone(), reason);
    Ok(Response::Done)
}

pub(super) fn complete_training(state: &mut ClusterState, index: u64, command: &CompleteTraining) -> Outcome {
    let CompleteTraining { config_key, epoch, node, model: info, report, at_ms } = command;
    let (epoch, node) = (*epoch, *node);
    trusted(state, node)?;
    let config = lookup::config(state, config_key)?;
    if let Some(known) = state.models.get(&info.hash) {
        let same = known.info == *info && known.config_key == *config_key;
        return if same && known.epoch == epoch && known.trained_by == Some(node) {
            Ok(Response::Unchanged)
        } else {
            held(&config.training, epoch, node)?;
            Err(Refusal::ModelExists(info.hash))
        };
    }
    let crossing = held(&config.training, epoch, node)?.crossing;
    if state.models.get(&info.parent).is_none_or(|parent| parent.config_key != *config_key) {
        return Err(Refusal::UnknownModel(info.parent));
    }
    if config.candidates.len() >= CANDIDATES_MAX {
        return Err(Refusal::Full("candidates".into()));
    }
    if state.models.len() >= MODELS_MAX {
        return Err(Refusal::Full("models".into()));
    }
    let config = lookup::config_mut(state, config_key)?;
    end_well(&mut config.training);
    config.consumed = config.consumed.max(crossing);
    config.candidates.push(info.hash);
    config.newest = info.hash;
    let model = Model {
        info: info.clone(),
        config_key: config_key.clone(),
        status: ModelStatus::Candidate,
        holders: BTreeSet::from([node]),
        trained_by: Some(node),
        epoch,
        report: Some(report.clone()),
        evidence: None,
        review: None,
        at_ms: *at_ms,
        log_index: index,
    };
    state.models.insert(info.hash, model);
    Ok(Response::Done)
}

pub(super) fn complete_evaluation(state: &mut ClusterState, command: &CompleteEvaluation) -> Outcome {
    let CompleteEvaluation { config_key, epoch, node, evidence, at_ms } = command;
    let (epoch, node) = (*epoch, *node);
    trusted(state, node)?;
    let config = lookup::config(state, config_key)?;
    let slot = &config.evaluation;
    let model = state.models.get(&evidence.candidate).ok_or(Refusal::UnknownModel(evidence.candidate))?;
    let watched = config.steering.round.as_ref().is_some_and(|round| round.review.epoch == epoch);
    let known = watched || model.evidence.as_ref() == Some(evidence);
    if slot.live.is_none() && slot.epoch == epoch && known {
        return Ok(Response::Unchanged);
    }
    let lease = held(slot, epoch, node)?;
    if lease.subject != Some(evidence.candidate) {
        return Err(Refusal::WrongSubject);
    }
    is_long_enough(config, evidence)?;
    is_held_by_segments(state, lease, evidence)?;
    let lease = lease.id;
    let retired = model.status == ModelStatus::Retired;
    let champion = config.champion;
    // A round that is followed by another counts by what others have said of it until now.
    let watched = state.watched(config);
    let before = model.review.as_ref().map_or(0, |review| review.rounds);
    let review = |rounds: u32| Review {
        evaluated_by: node,
        epoch,
        lease,
        rounds: rounds.saturating_add(1),
        checks: BTreeMap::new(),
    };
    let config = lookup::config_mut(state, config_key)?;
    end_well(&mut config.evaluation);
    if evidence.candidate == champion {
        // Games of another pair say nothing about it.
        if config.fallback().is_some_and(|before| before.model == evidence.champion) {
            let rounds = config.steering.round.as_ref().map_or(0, |round| round.review.rounds);
            config.steering.watch = watched;
            config.steering.round =
                Some(WatchRound { evidence: evidence.clone(), review: review(rounds), at_ms: *at_ms });
        }
    } else if !retired && let Some(model) = state.models.get_mut(&evidence.candidate) {
        model.evidence = Some(evidence.clone());
        model.review = Some(review(before));
    }
    Ok(Response::Done)
}

/// Checks that the games come to a verdict, so that a candidate is neither promoted nor rejected without. A
/// round of a champion that is watched needs none.
fn is_long_enough(config: &ConfigState, evidence: &Evidence) -> Result<(), Refusal> {
    let short = |(games, need)| Refusal::ShortEvidence { games, need };
    if evidence.candidate != config.champion {
        return evidence.is_decided().map_err(short);
    }
    let (games, need) = (evidence.games, EVIDENCE_GAMES_MIN);
    if games < need { Err(short((games, need))) } else { Ok(()) }
}

/// Checks that the segments hold as many games of this evaluation as it counts, and none from before it
/// began. What happened in them is for those to say who replay them.
fn is_held_by_segments(state: &ClusterState, lease: &Lease, evidence: &Evidence) -> Result<(), Refusal> {
    let (mut named, mut held) = (BTreeSet::new(), 0u64);
    for hash in &evidence.segments {
        let segment = state.segments.get(hash).ok_or(Refusal::UnknownSegment(*hash))?;
        let fits = segment.source == Source::Evaluation
            && segment.config_key == lease.config_key
            && segment.log_index > lease.id
            && segment.model == evidence.candidate;
        if !fits || !named.insert(*hash) {
            return Err(Refusal::NoEvidenceIn(*hash));
        }
        held = held.saturating_add(segment.games);
    }
    let counted = evidence.against.games();
    if held == counted { Ok(()) } else { Err(Refusal::OtherGames { held, counted }) }
}

fn held(slot: &LeaseSlot, epoch: u64, node: NodeId) -> Result<&Lease, Refusal> {
    match &slot.live {
        Some(lease) if lease.epoch == epoch && lease.node == node => Ok(lease),
        Some(lease) if lease.epoch == epoch => Err(Refusal::NotHolder(lease.node)),
        Some(_) | None => Err(stale(slot, epoch)),
    }
}

fn stale(slot: &LeaseSlot, epoch: u64) -> Refusal {
    Refusal::StaleEpoch { current: slot.epoch, epoch }
}

fn end_well(slot: &mut LeaseSlot) {
    slot.live = None;
    slot.last_end = None;
    slot.failures = 0;
}

/// Ends a lease that is no longer wanted. It does not count as a failure.
pub(super) fn end_unwanted(slot: &mut LeaseSlot, cause: EndCause, reason: &str) {
    end(slot, cause, format!("cancelled: {reason}"));
}

/// Ends a lease that its holder did not complete. It counts as a failure.
pub(super) fn end_badly(slot: &mut LeaseSlot, cause: EndCause, reason: String) {
    end(slot, cause, reason);
    slot.failures = slot.failures.saturating_add(1);
}

fn end(slot: &mut LeaseSlot, cause: EndCause, reason: String) {
    let held = slot.live.take();
    slot.last_end = held.map(|lease| LeaseEnd { node: lease.node, cause, reason });
}
