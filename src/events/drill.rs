//! The events of a drill: numbered, so that their delivery can be measured.
//!
//! Invariant: no daemon handles them.

use super::{Event, ModelDistributionStarted};
use ::rules::{Board, Config};
use cluster_state::ModelId;
use wire::Hash;

/// Configurations of the events: each is one flow.
const CONFIGS: [Config; 4] = [
    Config { board: Board::Hex8, seats: 2 },
    Config { board: Board::Square8, seats: 2 },
    Config { board: Board::Square19, seats: 3 },
    Config { board: Board::Hexagonal, seats: 4 },
];
/// Prefix of the paths in the events.
const PREFIX: &str = "drill/";

/// The event with this number. No daemon handles it, so that nothing but its delivery is measured.
#[must_use]
pub fn event(number: u64, node_id: String, at_us: i64) -> Event {
    Event::ModelDistributionStarted(ModelDistributionStarted {
        config_key: CONFIGS[(number % CONFIGS.len() as u64) as usize].into(),
        node_id,
        model_id: ModelId(Hash::of(b"")),
        model_path: format!("{PREFIX}{number}"),
        target_hosts: Vec::new(),
        timestamp: at_us as f64 / 1e6,
    })
}

/// The number of an event; none if it is not from a drill.
#[must_use]
pub fn number(event: &Event) -> Option<u64> {
    let Event::ModelDistributionStarted(started) = event else { return None };
    started.model_path.strip_prefix(PREFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events;

    #[test]
    fn the_event_is_valid_and_nobody_handles_it() {
        let event = event(41, "node-1".into(), 1_700_000_000_123_456);
        assert!(events::pairs().all(|(name, _)| name != event.name()), "choose another event");
        event.check().unwrap();
        assert_eq!(number(&event), Some(41));
    }
}
