//! When to try again to copy a segment, and how many events to emit about it.
//!
//! Invariant: the number of failures that are remembered is bounded, and so is the number of events in a
//! minute. Time comes in as an argument.

use crate::backoff::Backoff;
use cluster_state::SegmentId;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Pauses between two attempts at the same segment. The longest is short enough to find a holder within
/// minutes when it comes back without a new connection.
const BACKOFF: Backoff = Backoff { min: Duration::from_secs(5), max: Duration::from_secs(300) };
/// Most failures that are remembered. Beyond that, the segment that would be tried last is forgotten, and so
/// is tried again.
const FAILED_MAX: usize = 4096;
/// The span over which a [`RateLimit`] counts.
const MINUTE: Duration = Duration::from_secs(60);

/// Segments that could not be copied: for each, its failures in a row, and the time from which it may be
/// tried again.
#[derive(Debug, Default)]
pub(in crate::segments) struct Retries(Mutex<BTreeMap<SegmentId, (u32, Instant)>>);

impl Retries {
    /// Whether a segment may be tried.
    pub(super) fn allows(&self, segment: &SegmentId, now: Instant) -> bool {
        self.0.lock().get(segment).is_none_or(|(_, again)| *again <= now)
    }

    /// Counts a failure. Returns the number of failures in a row.
    pub(super) fn failed(&self, segment: SegmentId, now: Instant) -> u32 {
        let attempts = self.0.lock().get(&segment).map_or(1, |(attempts, _)| attempts.saturating_add(1));
        self.hold_back(segment, attempts, now);
        attempts
    }

    /// Records that a segment failed this many times. A number that is not higher than the known one changes
    /// nothing, so an event about a failure may arrive twice.
    pub(in crate::segments) fn hold_back(&self, segment: SegmentId, attempts: u32, now: Instant) {
        let mut failed = self.0.lock();
        if failed.get(&segment).is_some_and(|(known, _)| *known >= attempts) {
            return;
        }
        failed.insert(segment, (attempts, now + BACKOFF.pause(attempts)));
        while failed.len() > FAILED_MAX {
            let last = failed.iter().max_by_key(|(_, (_, again))| *again).map(|(hash, _)| *hash);
            if let Some(last) = last {
                failed.remove(&last);
            }
        }
    }

    /// Forgets the failures of a segment that is here now.
    pub(super) fn succeeded(&self, segment: &SegmentId) {
        self.0.lock().remove(segment);
    }

    /// Forgets the failures of the segments that `may_succeed_now` selects: they may be tried at once.
    pub(super) fn release(&self, may_succeed_now: impl Fn(&SegmentId) -> bool) {
        self.0.lock().retain(|hash, _| !may_succeed_now(hash));
    }
}

/// A limit on how often something happens in each minute.
#[derive(Debug)]
pub(super) struct RateLimit {
    most: u32,
    taken: u32,
    began: Option<Instant>,
}

impl RateLimit {
    pub(super) fn per_minute(most: u32) -> Self {
        Self { most, taken: 0, began: None }
    }

    /// Takes one from the limit of this minute. Returns whether one was left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= MINUTE) {
            (self.began, self.taken) = (Some(now), 0);
        }
        self.taken += 1;
        self.taken <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Hash;

    #[test]
    fn later_each_time_and_at_once_when_a_holder_connects() {
        let (start, retries) = (Instant::now(), Retries::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let (a, b) = (Hash::of(b"a"), Hash::of(b"b"));
        let mut tried = Vec::new();
        for second in 0..1300 {
            if retries.allows(&SegmentId(a), at(second)) {
                tried.push(second);
                assert_eq!(retries.failed(SegmentId(a), at(second)) as usize, tried.len());
            }
        }
        assert_eq!(tried, [0, 5, 15, 35, 75, 155, 315, 615, 915, 1215]);
        retries.failed(SegmentId(b), at(1300));
        retries.release(|hash| *hash == SegmentId(a));
        assert!(retries.allows(&SegmentId(a), at(1300)) && !retries.allows(&SegmentId(b), at(1300)));
        retries.succeeded(&SegmentId(b));
        assert!(retries.allows(&SegmentId(b), at(1300)));
    }

    #[test]
    fn an_event_counts_once() {
        let (now, retries, hash) = (Instant::now(), Retries::default(), Hash::of(b"a"));
        assert_eq!(retries.failed(SegmentId(hash), now), 1);
        let later = now + Duration::from_secs(4);
        retries.hold_back(SegmentId(hash), 1, later);
        assert!(retries.allows(&SegmentId(hash), now + BACKOFF.min), "the event of that failure");
        retries.hold_back(SegmentId(hash), 7, later);
        assert!(!retries.allows(&SegmentId(hash), now + Duration::from_secs(299)));
        retries.hold_back(SegmentId(hash), u32::MAX, later);
        assert!(retries.allows(&SegmentId(hash), later + BACKOFF.max));
        assert_eq!(retries.failed(SegmentId(hash), later), u32::MAX);
    }

    #[test]
    fn failures_are_bounded() {
        let (now, retries) = (Instant::now(), Retries::default());
        for number in 0..FAILED_MAX + 10 {
            retries.failed(SegmentId(Hash::of(&number.to_le_bytes())), now);
        }
        assert_eq!(retries.0.lock().len(), FAILED_MAX);
    }

    #[test]
    fn so_many_each_minute() {
        let (start, mut limit) = (Instant::now(), RateLimit::per_minute(2));
        let mut take = |seconds| limit.take(start + Duration::from_secs(seconds));
        assert_eq!([take(0), take(1), take(2), take(59)], [true, true, false, false]);
        assert_eq!([take(60), take(61), take(62)], [true, true, false]);
    }
}
