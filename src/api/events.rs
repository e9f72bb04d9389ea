//! Events: one that an operator emits, how far the handlers of a node
//! are, and events in numbers for measurements.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An event that an operator emits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// Its name, such as `HOST_OFFLINE`.
    pub event: String,
    /// Its payload; `node_id` and `timestamp` may be missing, and the `model_id` of a champion.
    pub payload: serde_json::Value,
}

/// A synced transaction of the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Events up to this position are in the log.
    pub position: i64,
    /// Since when, by the clock of this host: microseconds since the epoch.
    pub at_us: i64,
}

/// Events at one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsView {
    /// Events refused since the process began, by reason.
    pub refused: BTreeMap<String, u64>,
    /// How far each handler is.
    pub handlers: Vec<HandlerStatus>,
    /// Events that a handler could not handle.
    pub dead_letters: u64,
}

/// How far a handler is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerStatus {
    /// The name of the handler.
    pub handler: String,
    /// Events that it handled.
    pub handled: u64,
    /// Events that it passed over because it had handled the same thing before.
    pub duplicates: u64,
    /// Events that went to the dead-letter queue.
    pub dead: u64,
    /// Events that are still to be handled.
    pub waiting: u64,
    /// Of these, those that wait for a quorum.
    pub parked: u64,
}

/// Most events of one drill.
const DRILL_EVENTS_MAX: u32 = 10_000;
/// Longest drill.
const DRILL_SECONDS_MAX: u64 = 30;

/// A drill: numbered events that a node shall emit, and when, so that their delivery can be measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// The number of the first event.
    pub first: u64,
    /// From one number to the next.
    pub step: u64,
    /// How many events, at most 10 000.
    pub count: u32,
    /// How many events are in one transaction, which keeps all or none of them.
    pub batch: u32,
    /// When the first transaction is due, in microseconds since the epoch.
    pub begin_us: i64,
    /// From one transaction to the next; 0: each begins as soon as the one before has ended.
    pub interval_us: u64,
}

/// A transaction of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drilled {
    /// The number of its first event.
    pub first: u64,
    /// How many events it has.
    pub count: u32,
    /// When they were emitted, or should have been while the one before
    /// held them up: microseconds since the epoch.
    pub at_us: i64,
    /// When they were synced on the emitter's disk, in microseconds since the epoch.
    pub synced_us: i64,
}

impl Drill {
    /// Whether the drill is within bounds at this time.
    ///
    /// # Errors
    /// What is out of bounds.
    pub fn check(&self, now_us: i64) -> Result<(), &'static str> {
        let early = u64::try_from(self.begin_us.saturating_sub(now_us)).unwrap_or(0);
        let takes = self.interval_us.saturating_mul(self.count.into()).saturating_add(early);
        if self.count > DRILL_EVENTS_MAX || !(1..=1000).contains(&self.batch) {
            Err("at most 10000 events, in transactions of 1 to 1000")
        } else if takes > DRILL_SECONDS_MAX * 1_000_000 {
            Err("it would take longer than 30 s")
        } else if self.begin_us < 0 {
            Err("it cannot begin before the epoch")
        } else if self.first.checked_add(self.step.saturating_mul(self.count.into())).is_none() {
            Err("the numbers are too large")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_is_bounded() {
        let now_us = 1_700_000_000_123_456;
        let good = Drill { first: 0, step: 8, count: 100, batch: 1, begin_us: now_us, interval_us: 16_000 };
        let check =
            |drill: Drill, expected: bool| assert_eq!(drill.check(now_us).is_ok(), expected, "{drill:?}");
        check(good, true);
        check(Drill { count: DRILL_EVENTS_MAX + 1, interval_us: 0, ..good }, false);
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
