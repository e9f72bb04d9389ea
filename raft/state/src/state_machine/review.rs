//! Handles the answers of those who count the games of an evaluation again.
//!
//! Invariant: an answer counts for one evaluation only, and only of a node that had no part in it.

use super::lookup::{self, Outcome};
use super::promotion::model_of;
use crate::{
    command::ConfirmEvidence,
    config::ConfigState,
    model::{Evidence, Model, ModelStatus},
    response::{Refusal, Response},
    review::{CHECKS_MAX, Check, Review},
    state::ClusterState,
};

pub(super) fn confirm(state: &mut ClusterState, command: &ConfirmEvidence) -> Outcome {
    let &ConfirmEvidence { ref config_key, candidate, epoch, node, ref counted, at_ms: _ } = command;
    if !state.nodes.contains_key(&node) {
        return Err(Refusal::UnknownNode(node));
    }
    if !state.is_trusted(node) {
        return Err(Refusal::Distrusted(node));
    }
    let model = model_of(state, config_key, candidate)?;
    let config = lookup::config(state, config_key)?;
    let (evidence, review) = latest(config, model)?;
    if review.epoch != epoch {
        return Err(Refusal::StaleEpoch { current: review.epoch, epoch });
    }
    if !model.is_independent(Some(review), node) {
        return Err(Refusal::NotIndependent(node));
    }
    if review.checks.contains_key(&node) {
        return Ok(Response::Unchanged);
    }
    if review.checks.len() >= CHECKS_MAX {
        return Err(Refusal::Full("reviews".into()));
    }
    let check = match counted {
        Some(counted) if *counted == evidence.against => Check::Confirmed,
        Some(_) | None => Check::Denied { counted: counted.clone() },
    };
    let review = if config.champion == candidate {
        lookup::config_mut(state, config_key)?.steering.round.as_mut().map(|round| &mut round.review)
    } else {
        state.models.get_mut(&candidate).and_then(|model| model.review.as_mut())
    };
    if let Some(review) = review {
        review.checks.insert(node, check);
    }
    Ok(Response::Done)
}

/// The latest evaluation of a candidate, or the latest round of a champion that is watched.
fn latest<'a>(config: &'a ConfigState, model: &'a Model) -> Result<(&'a Evidence, &'a Review), Refusal> {
    let not_candidate = Refusal::NotCandidate(model.info.hash);
    match model.status {
        ModelStatus::Candidate => {
            model.evidence.as_ref().zip(model.review.as_ref()).ok_or(Refusal::NoEvidence)
        }
        ModelStatus::Champion => {
            let round = config.steering.round.as_ref().ok_or(not_candidate)?;
            Ok((&round.evidence, &round.review))
        }
        ModelStatus::Retired | ModelStatus::Rejected { .. } => Err(not_candidate),
    }
}
