//! Events: one that an operator emits, the progress of a node's handlers, and numbered events for
//! measurements.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An event that an operator emits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// The event's name, such as `HOST_OFFLINE`.
    pub event: String,
    /// The event's payload; `node_id` and `timestamp` may be missing, and so may the `model_id` of a
    /// champion.
    pub payload: serde_json::Value,
}

/// A synced transaction of the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The log holds every event up to this position.
    pub position: i64,
    /// When the transaction was synced, by the clock of this host, in microseconds since the epoch.
    pub at_us: i64,
}

/// Counts of the events at one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsView {
    /// Events refused since the process began, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The progress of each handler.
    pub handlers: Vec<HandlerStatus>,
    /// Number of events that a handler could not handle.
    pub dead_letters: u64,
    /// Members of which no more events are taken.
    pub shunned: Vec<ShunnedView>,
}

/// A member that signed two events under one number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShunnedView {
    /// The member's name, or its peer id if it is no member any more.
    pub node_id: String,
    pub peer_id: String,
    /// The epoch and the number that the two events have.
    pub epoch: i64,
    pub sequence: i64,
}

/// The progress of a handler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerStatus {
    pub handler: String,
    /// Events that the handler has handled.
    pub handled: u64,
    /// Events that the handler skipped because it had handled the same thing before.
    pub duplicates: u64,
    /// Events that went to the dead-letter queue.
    pub dead: u64,
    /// Events that the handler has not handled yet.
    pub waiting: u64,
    /// Events of these that wait for a quorum.
    pub parked: u64,
}

/// Maximum number of events in a drill.
const DRILL_EVENTS_MAX: u32 = 10_000;
/// Maximum duration of a drill, in seconds.
const DRILL_SECONDS_MAX: u64 = 30;

/// A drill: numbered events that a node emits at given times, so that their delivery can be measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// The number of the first event.
    pub first: u64,
    /// Difference between one number and the next.
    pub step: u64,
    /// Number of events, at most 10 000.
    pub count: u32,
    /// Number of events in one transaction, which keeps all or none of them.
    pub batch: u32,
    /// When the first transaction is due, in microseconds since the epoch.
    pub begin_us: i64,
    /// Microseconds from one transaction to the next; with 0 each begins as soon as the one before has ended.
    pub interval_us: u64,
}

/// A transaction of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drilled {
    /// The number of the transaction's first event.
    pub first: u64,
    /// Number of events in the transaction.
    pub count: u32,
    /// When the events were emitted, or when they should have been if the transaction before delayed them: in
    /// microseconds since the epoch.
    pub at_us: i64,
    /// When the events were synced on the emitter's disk, in microseconds since the epoch.
    pub synced_us: i64,
}

impl Drill {
    /// Checks that the drill is within bounds at this time.
    ///
    /// # Errors
    /// Names what is out of bounds.
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
