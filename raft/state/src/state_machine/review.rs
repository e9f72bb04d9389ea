//! Handles the answers of those who count the games of an evaluation again.
//!
//! Invariant: an answer counts for one evaluation only, and only of a node that had no part in it.

use super::lookup::Outcome;
use super::promotion::model_of;
use crate::{
    command::ConfirmEvidence,
    model::ModelStatus,
    response::{Refusal, Response},
    review::{CHECKS_MAX, Check},
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
    match model.status {
        ModelStatus::Candidate => {}
        ModelStatus::Champion | ModelStatus::Retired | ModelStatus::Rejected { .. } => {
            return Err(Refusal::NotCandidate(candidate));
        }
    }
    let (Some(evidence), Some(review)) = (&model.evidence, &model.review) else {
        return Err(Refusal::NoEvidence);
    };
    if review.epoch != epoch {
        return Err(Refusal::StaleEpoch { current: review.epoch, epoch });
    }
    if !model.is_independent(node) {
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
    if let Some(review) = state.models.get_mut(&candidate).and_then(|model| model.review.as_mut()) {
        review.checks.insert(node, check);
    }
    Ok(Response::Done)
}
