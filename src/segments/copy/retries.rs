//! When to try again what could not be copied, and how much of it to tell. Pure: time comes in as an argument.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use wire::Hash;

/// The first pause; each is twice the one before.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Failures that are remembered; beyond, what would be tried last is forgotten and so tried again.
const FAILED_MAX: usize = 4096;
/// Quotas are of this long.
const MINUTE: Duration = Duration::from_secs(60);

fn pause(attempts: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(PAUSE_MAX)
}

/// Segments that could not be had: how often, and from when on each may be tried again.
#[derive(Debug, Default)]
pub struct Retries(Mutex<BTreeMap<Hash, (u32, Instant)>>);

impl Retries {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Hash, (u32, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a segment may be tried.
    #[must_use]
    pub fn allows(&self, segment: &Hash, now: Instant) -> bool {
        self.lock().get(segment).is_none_or(|(_, again)| *again <= now)
    }

    /// Counts a failure; how many there were in a row.
    pub fn failed(&self, segment: Hash, now: Instant) -> u32 {
        let attempts = self.lock().get(&segment).map_or(1, |(attempts, _)| attempts.saturating_add(1));
        self.told(segment, attempts, now);
        attempts
    }

    /// An event tells of so many failures. To hear of the same one again changes nothing.
    pub fn told(&self, segment: Hash, attempts: u32, now: Instant) {
        let mut failed = self.lock();
        if failed.get(&segment).is_some_and(|(known, _)| *known >= attempts) {
            return;
        }
        failed.insert(segment, (attempts, now + pause(attempts)));
        while failed.len() > FAILED_MAX {
            let last = failed.iter().max_by_key(|(_, (_, again))| *again).map(|(hash, _)| *hash);
            if let Some(last) = last {
                failed.remove(&last);
            }
        }
    }

    /// It is here.
    pub fn succeeded(&self, segment: &Hash) {
        self.lock().remove(segment);
    }

    /// Those of which this says so may be tried at once, and begin anew.
    pub fn release(&self, now_possible: impl Fn(&Hash) -> bool) {
        self.lock().retain(|hash, _| !now_possible(hash));
    }
}

/// So many of something each minute.
#[derive(Debug)]
pub(super) struct Quota {
    most: u32,
    taken: u32,
    began: Option<Instant>,
}

impl Quota {
    pub(super) fn new(most: u32) -> Self {
        Self { most, taken: 0, began: None }
    }

    /// Takes one, if there is one left.
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

    #[test]
    fn later_each_time_and_at_once_when_a_holder_connects() {
        let (start, retries) = (Instant::now(), Retries::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let (a, b) = (Hash::of(b"a"), Hash::of(b"b"));
        let mut tried = Vec::new();
        for second in 0..1300 {
            if retries.allows(&a, at(second)) {
                tried.push(second);
                assert_eq!(retries.failed(a, at(second)) as usize, tried.len());
            }
        }
        assert_eq!(tried, [0, 5, 15, 35, 75, 155, 315, 615, 915, 1215]);
        retries.failed(b, at(1300));
        retries.release(|hash| *hash == a);
        assert!(retries.allows(&a, at(1300)) && !retries.allows(&b, at(1300)));
        retries.succeeded(&b);
        assert!(retries.allows(&b, at(1300)));
    }

    #[test]
    fn an_event_counts_once() {
        let (now, retries, hash) = (Instant::now(), Retries::default(), Hash::of(b"a"));
        assert_eq!(retries.failed(hash, now), 1);
        let later = now + Duration::from_secs(4);
        retries.told(hash, 1, later);
        assert!(retries.allows(&hash, now + PAUSE_MIN), "the event of that failure");
        retries.told(hash, 7, later);
        assert!(!retries.allows(&hash, now + Duration::from_secs(299)));
        retries.told(hash, u32::MAX, later);
        assert!(retries.allows(&hash, later + PAUSE_MAX));
        assert_eq!(retries.failed(hash, later), u32::MAX);
    }

    #[test]
    fn failures_are_bounded() {
        let (now, retries) = (Instant::now(), Retries::default());
        for number in 0..FAILED_MAX + 10 {
            retries.failed(Hash::of(&number.to_le_bytes()), now);
        }
        assert_eq!(retries.lock().len(), FAILED_MAX);
    }

    #[test]
    fn so_many_each_minute() {
        let (start, mut quota) = (Instant::now(), Quota::new(2));
        let mut take = |seconds| quota.take(start + Duration::from_secs(seconds));
        assert_eq!([take(0), take(1), take(2), take(59)], [true, true, false, false]);
        assert_eq!([take(60), take(61), take(62)], [true, true, false]);
    }
}
