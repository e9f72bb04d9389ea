//! Events in numbers, for measurements: a node emits them by itself, as its daemons would, at the moments that it is told.
//!
//! Invariant: a drill is bounded in events and in time, and its events are marked as injected and handled by no daemon.

use crate::{
    clock::now_us,
    events::{Event, ModelDistributionStarted, log::Emission},
    peer::{Context, WorkError},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use wire::Hash;

/// Most events of one drill.
const EVENTS_MAX: u32 = 10_000;
/// Longest drill.
const SECONDS_MAX: u64 = 30;
/// Configurations of the events: as many flows.
const CONFIGS: [&str; 4] = ["hex8_2p", "square8_2p", "square19_3p", "hexagonal_4p"];
/// What the events' paths begin with.
const PREFIX: &str = "drill/";

/// Which events shall be emitted, and when.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// The number of the first.
    pub first: u64,
    /// From one number to the next.
    pub step: u64,
    /// How many, at most 10 000.
    pub count: u32,
    /// How many in one transaction: all or none of them.
    pub batch: u32,
    /// When the first is due, microseconds since the epoch.
    pub begin_us: i64,
    /// From one transaction to the next; 0: at once.
    pub interval_us: u64,
}

/// A transaction of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drilled {
    /// The number of its first event.
    pub first: u64,
    /// How many events.
    pub count: u32,
    /// When they were emitted, or should have been while the one before held them up: microseconds since the epoch.
    pub at_us: i64,
    /// When they were synced here.
    pub synced_us: i64,
}

impl Drill {
    /// Whether it is within bounds.
    ///
    /// # Errors
    /// What is not.
    pub fn check(&self) -> Result<(), &'static str> {
        let early = u64::try_from(self.begin_us.saturating_sub(now_us())).unwrap_or(0);
        let takes = self.interval_us.saturating_mul(self.count.into()).saturating_add(early);
        if self.count > EVENTS_MAX || !(1..=1000).contains(&self.batch) {
            Err("at most 10000 events, in transactions of 1 to 1000")
        } else if takes > SECONDS_MAX * 1_000_000 {
            Err("it would take longer than 30 s")
        } else if self.begin_us < 0 {
            Err("it cannot begin before the epoch")
        } else if self.first.checked_add(self.step.saturating_mul(self.count.into())).is_none() {
            Err("the numbers are too large")
        } else {
            Ok(())
        }
    }

    /// Emits the events, one transaction after the other.
    ///
    /// # Errors
    /// [`WorkError`] when one was not kept.
    pub(super) async fn run(&self, node: &Context) -> Result<Vec<Drilled>, WorkError> {
        let mut done = Vec::new();
        let (mut number, mut left, mut due_us) = (self.first, self.count, self.begin_us);
        while left > 0 && !node.shutdown.is_cancelled() {
            let early = due_us.saturating_sub(now_us());
            let at_us = if early > 0 {
                tokio::time::sleep(Duration::from_micros(early.unsigned_abs())).await;
                now_us()
            } else if self.interval_us == 0 {
                now_us()
            } else {
                due_us
            };
            let (first, count) = (number, left.min(self.batch));
            let emissions = (0..u64::from(count)).map(|i| Emission {
                event: event(first + i * self.step, node.name(), at_us),
                causes: Vec::new(),
                injected: true,
            });
            node.emit_all(emissions.collect()).await?;
            done.push(Drilled { first, count, at_us, synced_us: now_us() });
            number += u64::from(count) * self.step;
            left -= count;
            due_us = due_us.saturating_add(self.interval_us.cast_signed());
        }
        Ok(done)
    }
}

/// The event of a number: one that no daemon handles, so that nothing but its delivery is measured.
#[must_use]
pub fn event(number: u64, node_id: String, at_us: i64) -> Event {
    Event::ModelDistributionStarted(ModelDistributionStarted {
        config_key: CONFIGS[(number % CONFIGS.len() as u64) as usize].to_owned(),
        node_id,
        model_id: Hash::of(b""),
        model_path: format!("{PREFIX}{number}"),
        target_hosts: Vec::new(),
        timestamp: at_us as f64 / 1e6,
    })
}

/// The number of an event, if it is one of a drill.
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
    use crate::events::registry;

    #[test]
    fn the_event_is_valid_and_nobody_handles_it() {
        let event = event(41, "node-1".into(), 1_700_000_000_123_456);
        assert!(registry::pairs().iter().all(|(name, _)| *name != event.name()), "choose another event");
        event.check().unwrap();
        assert_eq!(number(&event), Some(41));
    }

    #[test]
    fn a_drill_is_bounded() {
        let good = Drill { first: 0, step: 8, count: 100, batch: 1, begin_us: now_us(), interval_us: 16_000 };
        let check = |drill: Drill, expected: bool| assert_eq!(drill.check().is_ok(), expected, "{drill:?}");
        check(good, true);
        check(Drill { count: EVENTS_MAX + 1, interval_us: 0, ..good }, false);
        check(Drill { batch: 0, ..good }, false);
        check(Drill { batch: 1001, ..good }, false);
        check(Drill { interval_us: 1_000_000, ..good }, false);
        check(Drill { begin_us: i64::MAX, ..good }, false);
        check(Drill { begin_us: i64::MIN, ..good }, false);
        check(Drill { begin_us: -1, ..good }, false);
        check(Drill { begin_us: 0, interval_us: 0, ..good }, true);
        check(Drill { first: u64::MAX, ..good }, false);
    }
}
