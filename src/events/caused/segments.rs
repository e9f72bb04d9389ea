//! Games that count, and enough of them.

use super::{AppliedCommand, leases, node_name, seconds};
use crate::{
    events::{Event, Games, TrainingThresholdReached},
    store::paths,
};
use cluster_state::{
    LeaseKind, Response, Source,
    command::{RegisterSegment, ThresholdReached},
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
        node_id: command.receipts.first().map(|by| node_name(by.node)).unwrap_or_default(),
        game_count: command.games,
        total_games: *games_total,
        db_path: paths::games_db(&command.config_key),
        segment: command.hash,
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
