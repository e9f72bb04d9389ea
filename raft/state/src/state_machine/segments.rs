//! Handles the commands about segments: games are acknowledged when enough nodes hold their segment.
//!
//! Invariant: the games of a segment count once, and only those of self-play count towards the next training.
//! A node is a holder only by its receipt for exactly what is registered. Games that are none of self-play
//! are those of an evaluation that its node was asked for, and of these there is a bounded number of
//! segments.

use super::{
    bounds::SEGMENTS_MAX,
    lookup::{self, Outcome},
};
use crate::{
    cause::Source,
    command::{AddSegmentHolder, EVIDENCE_SEGMENTS_MAX, HOLDERS_MAX, RegisterSegment},
    config::ConfigState,
    id::{ModelId, NodeId, SegmentId},
    receipt::{Receipt, SegmentFacts, Signature},
    response::{Refusal, Response},
    segment::RegisteredSegment,
    state::ClusterState,
};
use std::collections::BTreeSet;

pub(super) fn register(state: &mut ClusterState, index: u64, command: &RegisterSegment) -> Outcome {
    let RegisterSegment { hash, config_key, games, samples, bytes, source, model, receipts, at_ms } = command;
    lookup::config(state, config_key)?;
    let facts = command.facts();
    let known = state.segments.get(hash);
    if known.is_some_and(|known| known.facts(*hash) != facts) {
        return Err(Refusal::SegmentExists(*hash));
    }
    let known = known.is_some();
    for Receipt { node, signature } in receipts {
        is_signed(state, *node, &facts, signature)?;
    }
    let holders: BTreeSet<_> = receipts.iter().map(|receipt| receipt.node).collect();
    if known {
        add_holders(state, hash, &holders);
        return Ok(Response::Duplicate);
    }
    let origin = command.origin();
    if !state.is_trusted(origin) {
        return Err(Refusal::Distrusted(origin));
    }
    // Only games of a model that the cluster has can be made again.
    let plays = state.models.get(model).is_some_and(|known| known.config_key == *config_key);
    match source {
        Source::Selfplay if plays => {}
        Source::Selfplay => return Err(Refusal::UnknownModel(*model)),
        Source::Evaluation | Source::Other(_) => {
            is_asked(lookup::config(state, config_key)?, origin, *model)?
        }
    }
    let (have, need) = (state.online_among(&holders), state.required_segment_holders());
    if have < need {
        return Err(Refusal::TooFewHolders { have, need });
    }
    if state.segments.len() >= SEGMENTS_MAX {
        return Err(Refusal::Full("segments".into()));
    }
    let answer = count_games(lookup::config_mut(state, config_key)?, command);
    let segment = RegisteredSegment {
        config_key: config_key.clone(),
        games: *games,
        samples: *samples,
        bytes: *bytes,
        source: source.clone(),
        model: *model,
        origin,
        holders,
        at_ms: *at_ms,
        log_index: index,
    };
    state.segments.insert(*hash, segment);
    Ok(answer)
}

/// Counts the games of a new segment. Returns what the configuration has with them.
fn count_games(config: &mut ConfigState, command: &RegisterSegment) -> Response {
    let games = command.games;
    match command.source {
        Source::Selfplay => {
            config.games_total = config.games_total.saturating_add(games);
            config.games_since_training = config.games_since_training.saturating_add(games);
            let its = if command.model == config.champion { games } else { 0 };
            config.champion_games = config.champion_games.saturating_add(its);
        }
        Source::Evaluation | Source::Other(_) => {
            config.evaluation.recorded = config.evaluation.recorded.saturating_add(1);
        }
    }
    Response::Segment { games_total: config.games_total, games_since_training: config.games_since_training }
}

/// Checks that this node holds the lease of an evaluation of this model, and that there is room for one more
/// segment under it: evidence names no more.
fn is_asked(config: &ConfigState, node: NodeId, model: ModelId) -> Result<(), Refusal> {
    let slot = &config.evaluation;
    let asked = slot.live.as_ref().is_some_and(|lease| lease.node == node && lease.subject == Some(model));
    if !asked {
        return Err(Refusal::NotAsked(node));
    }
    if slot.recorded as usize >= EVIDENCE_SEGMENTS_MAX {
        return Err(Refusal::Full("segments of one evaluation".into()));
    }
    Ok(())
}

/// Refuses the signature of a node that is no member, or that signed something else.
fn is_signed(
    state: &ClusterState,
    node: NodeId,
    facts: &SegmentFacts<'_>,
    signature: &Signature,
) -> Result<(), Refusal> {
    let member = state.nodes.get(&node).ok_or(Refusal::UnknownNode(node))?;
    if facts.is_signed(&member.peer_id, signature) { Ok(()) } else { Err(Refusal::NoReceipt(node)) }
}

/// Adds as many holders as there is room for.
fn add_holders(state: &mut ClusterState, hash: &SegmentId, more: &BTreeSet<NodeId>) {
    if state.segments.get(hash).is_some_and(|known| !known.holders.is_superset(more))
        && let Some(known) = state.segments.get_mut(hash)
    {
        let room = HOLDERS_MAX.saturating_sub(known.holders.len());
        let more: Vec<_> = more.difference(&known.holders).copied().take(room).collect();
        known.holders.extend(more);
    }
}

pub(super) fn add_holder(state: &mut ClusterState, command: &AddSegmentHolder) -> Outcome {
    let &AddSegmentHolder { hash, node, ref signature, at_ms: _ } = command;
    if !state.nodes.contains_key(&node) {
        return Err(Refusal::UnknownNode(node));
    }
    match state.segments.get(&hash) {
        None => return Err(Refusal::UnknownSegment(hash)),
        Some(segment) if segment.holders.contains(&node) => return Ok(Response::Unchanged),
        Some(segment) if segment.holders.len() >= HOLDERS_MAX => {
            return Err(Refusal::Full("holders".into()));
        }
        Some(segment) => is_signed(state, node, &segment.facts(hash), signature)?,
    }
    if let Some(segment) = state.segments.get_mut(&hash) {
        segment.holders.insert(node);
    }
    Ok(Response::Done)
}
