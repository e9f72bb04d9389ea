//! Handles reports of forged games: when enough nodes have found the same game forged, its player is
//! distrusted, until an operator pardons it.
//!
//! Invariant: no node alone, and never the player, decides that another is distrusted, unless the two of
//! them are the whole cluster. A node has few open reports. A report counts until newer ones of the same node
//! take its place: no clock says when, so nodes agree however their clocks differ.

use super::lookup::Outcome;
use crate::{
    cause::Source,
    command::{PardonNode, ReportForgery},
    id::NodeId,
    node::{Forgery, ForgeryReport, Node, Pardon},
    response::{Refusal, Response},
    state::ClusterState,
};
use std::{collections::BTreeSet, sync::Arc};

/// Maximum number of open reports of a node. One more takes the place of the oldest, which then counts as
/// unconfirmed.
pub const REPORTS_OPEN_MAX: usize = 4;
/// Maximum number of epochs that are pardoned of one node.
const PARDONED_EPOCHS_MAX: usize = 16;
/// Maximum number of nodes that are distrusted at once, and of those that were pardoned.
pub(super) const FORGERIES_MAX: usize = 4096;

/// How many nodes have to report a game of `player`: 2 others, or 1 in a cluster of two, where there is no
/// third to ask. There the word of one stands against that of the other: the games of the one that is
/// reported leave the windows of both.
#[must_use]
pub fn needed_reporters(state: &ClusterState, player: NodeId) -> usize {
    let others = state.nodes.keys().filter(|id| **id != player).count();
    others.clamp(1, 2)
}

pub(super) fn report(state: &mut ClusterState, index: u64, command: &ReportForgery) -> Outcome {
    let &ReportForgery { node: reporter, segment, game, ply, at_ms } = command;
    let known = state.segments.get(&segment).ok_or(Refusal::UnknownSegment(segment))?;
    let player = known.origin;
    if known.source != Source::Selfplay || u64::from(game) >= known.games || player == reporter {
        return Err(Refusal::Invalid("report of a forgery".into()));
    }
    let node = state.nodes.get(&reporter).ok_or(Refusal::UnknownNode(reporter))?;
    if !state.is_trusted(reporter) {
        return Err(Refusal::Distrusted(reporter));
    }
    if !state.counts(known) {
        return Ok(Response::Unchanged);
    }
    let about = |report: &ForgeryReport| (report.segment, report.game) == (segment, game);
    if node.standing.reports.iter().any(about) {
        return Ok(Response::Unchanged);
    }
    if state.forgeries.len() >= FORGERIES_MAX {
        return Err(Refusal::Full("forgeries".into()));
    }
    let mut node = Node::clone(node);
    let standing = &mut node.standing;
    if standing.reports.len() >= REPORTS_OPEN_MAX {
        standing.reports.remove(0);
        standing.count_unconfirmed(index);
    }
    standing.reports.push(ForgeryReport { segment, game, ply, at_ms });
    Arc::make_mut(&mut state.nodes).insert(reporter, Arc::new(node));
    let agrees = |node: &Node| {
        node.id != player && state.is_trusted(node.id) && node.standing.reports.iter().any(about)
    };
    let confirmed_by: BTreeSet<NodeId> =
        state.nodes.values().filter(|node| agrees(node)).map(|node| node.id).collect();
    if confirmed_by.len() >= needed_reporters(state, player) {
        distrust(state, player, Forgery { segment, game, ply, confirmed_by, at_ms });
    }
    Ok(Response::Done)
}

/// Ends that a node is distrusted, and that it is shunned for what it said in an epoch. Its games of before
/// count no more than they did.
pub(super) fn pardon(state: &mut ClusterState, index: u64, command: &PardonNode) -> Outcome {
    let &PardonNode { node, epoch, ref reason, at_ms } = command;
    if !state.nodes.contains_key(&node) {
        return Err(Refusal::UnknownNode(node));
    }
    let forged = state.forgeries.contains_key(&node);
    let mut pardon = state.pardons.get(&node).map(|known| Pardon::clone(known)).unwrap_or_default();
    let news = epoch.is_some_and(|epoch| pardon.epochs.insert(epoch));
    match (forged, news, epoch) {
        (false, false, None) => return Err(Refusal::NothingToPardon(node)),
        (false, false, Some(_)) => return Ok(Response::Unchanged),
        (true, _, _) | (_, true, _) => {}
    }
    let is_full = !state.pardons.contains_key(&node) && state.pardons.len() >= FORGERIES_MAX;
    // Whoever is no member any more needs none, but for its games of before, which go on not counting.
    let needless = |(id, pardon): (&NodeId, &Arc<Pardon>)| {
        (pardon.games_after == 0 && !state.nodes.contains_key(id)).then_some(*id)
    };
    let gone = state.pardons.iter().find_map(needless);
    if pardon.epochs.len() > PARDONED_EPOCHS_MAX || is_full && gone.is_none() {
        return Err(Refusal::Full("pardons".into()));
    }
    if let Some(gone) = gone.filter(|_| is_full) {
        Arc::make_mut(&mut state.pardons).remove(&gone);
    }
    if forged {
        pardon.games_after = index;
        Arc::make_mut(&mut state.forgeries).remove(&node);
    }
    (pardon.at_ms, pardon.reason) = (at_ms, reason.clone());
    Arc::make_mut(&mut state.pardons).insert(node, Arc::new(pardon));
    Ok(Response::Done)
}

/// Marks a player as distrusted, and closes every report about its games, and its own.
fn distrust(state: &mut ClusterState, player: NodeId, forgery: Forgery) {
    let ClusterState { nodes, segments, forgeries, .. } = state;
    Arc::make_mut(forgeries).insert(player, Arc::new(forgery));
    let its = |report: &ForgeryReport| segments.get(&report.segment).is_some_and(|it| it.origin == player);
    for (id, node) in Arc::make_mut(nodes).iter_mut() {
        if *id == player || node.standing.reports.iter().any(its) {
            Arc::make_mut(node).standing.reports.retain(|report| *id != player && !its(report));
        }
    }
}
