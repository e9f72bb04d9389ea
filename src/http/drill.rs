//! Drills: numbered events that a node emits at given times in the same way as its daemons do, so that their
//! delivery can be measured.
//!
//! Invariant: a drill is bounded in events and in time. Its events are marked as injected, and no daemon
//! handles them.

use crate::{
    api::events::{Drill, Drilled},
    clock::now_us,
    events::{Event, ModelDistributionStarted, log::Emission},
    peer::{Context, WorkError},
};
use cluster_state::ModelId;
use std::time::Duration;
use wire::Hash;

/// Configurations of the events: each is one flow.
const CONFIGS: [&str; 4] = ["hex8_2p", "square8_2p", "square19_3p", "hexagonal_4p"];
/// Prefix of the paths in the events.
const PREFIX: &str = "drill/";

/// Emits the events, one transaction after another.
///
/// # Errors
/// Returns [`WorkError`] when a transaction was not kept.
pub(super) async fn run(drill: &Drill, node: &Context) -> Result<Vec<Drilled>, WorkError> {
    let mut done = Vec::new();
    let (mut number, mut left, mut due_us) = (drill.first, drill.count, drill.begin_us);
    while left > 0 && !node.shutdown.is_cancelled() {
        let early = due_us.saturating_sub(now_us());
        let at_us = if early > 0 {
            tokio::time::sleep(Duration::from_micros(early.unsigned_abs())).await;
            now_us()
        } else if drill.interval_us == 0 {
            now_us()
        } else {
            due_us
        };
        let (first, count) = (number, left.min(drill.batch));
        let emissions = (0..u64::from(count)).map(|i| Emission {
            event: event(first + i * drill.step, node.name(), at_us),
            causes: Vec::new(),
            injected: true,
        });
        node.emit_all(emissions.collect()).await?;
        done.push(Drilled { first, count, at_us, synced_us: now_us() });
        number += u64::from(count) * drill.step;
        left -= count;
        due_us = due_us.saturating_add(drill.interval_us.cast_signed());
    }
    Ok(done)
}

/// The event with this number. No daemon handles it, so that nothing but its delivery is measured.
#[must_use]
pub fn event(number: u64, node_id: String, at_us: i64) -> Event {
    Event::ModelDistributionStarted(ModelDistributionStarted {
        config_key: CONFIGS[(number % CONFIGS.len() as u64) as usize].to_owned(),
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
    match event {
        Event::ModelDistributionStarted(started) => started.model_path.strip_prefix(PREFIX)?.parse().ok(),
        #[allow(clippy::wildcard_enum_match_arm, reason = "every other event is no drill")]
        _ => None,
    }
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
