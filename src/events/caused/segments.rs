//! Games that count, and enough of them.

use super::{AppliedCommand, leases, names, node_name, seconds};
use crate::{
    events::{Event, ForgeryFound, Games, TrainingThresholdReached},
    store::paths,
};
use cluster_state::{
    ClusterState, LeaseKind, Response, Source,
    command::{RegisterSegment, ReportForgery, ThresholdReached},
};

/// Games of evaluations are evidence, and nothing to train on: only those of self-play are told.
pub(super) fn registered(command: &RegisterSegment, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let Response::Segment { games_total, .. } = applied.response else { return Vec::new() };
    match command.source {
        Source::Selfplay => {}
        Source::Evaluation | Source::Other(_) => return Vec::new(),
    }
    vec![Event::NewGamesAvailable(Games {
        config_key: command.config_key.clone(),
        node_id: node_name(command.origin()),
        game_count: command.games,
        total_games: *games_total,
        db_path: paths::games_db(&command.config_key),
        segment: command.hash,
        timestamp: seconds(command.at_ms),
    })]
}

/// A report is told once, by the one with which enough nodes agree.
pub(super) fn forgery(command: &ReportForgery, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let Some(segment) = applied.state.segments.get(&command.segment) else { return Vec::new() };
    let of = |state: &ClusterState| state.forgeries.get(&segment.origin).cloned();
    let (None, Some(forgery)) = (of(applied.before), of(applied.state)) else { return Vec::new() };
    vec![Event::ForgeryFound(ForgeryFound {
        config_key: segment.config_key.clone(),
        node_id: node_name(segment.origin),
        segment: forgery.segment,
        game: forgery.game,
        ply: forgery.ply,
        confirmed_by: names(forgery.confirmed_by.iter().copied()),
        timestamp: seconds(command.at_ms),
    })]
}

pub(super) fn threshold(command: &ThresholdReached, applied: &AppliedCommand<'_>) -> Vec<Event> {
    if !applied.is_done() {
        return Vec::new();
    }
    let (key, timestamp) = (&command.config_key, seconds(command.at_ms));
    let config = applied.before.config(key);
    let reached = Event::TrainingThresholdReached(TrainingThresholdReached {
        config_key: key.clone(),
        node_id: applied.leader(),
        crossing: command.crossing,
        game_count: config.map_or(0, |config| config.games_since_training),
        threshold: config.map_or(0, |config| config.threshold),
        timestamp,
    });
    vec![reached, leases::queued(LeaseKind::Training, key, &command.crossing.to_string(), applied, timestamp)]
}
