//! Computes figures from what peers remember. Pure.
//!
//! Invariant: an event counts as stored on a peer from the first commit after which the peer's log, in causal
//! order and synced, contained it. An event whose storing no peer can prove counts as missing.

use crate::api::events::Commit;
use serde::Serialize;
use std::collections::BTreeMap;

/// The events of a run that one peer stored: the number of each event, and when it was stored in microseconds
/// since the epoch.
pub(super) type StoredAt = BTreeMap<u64, i64>;

/// When each of `positions` (event number and position in the peer's log) was stored. An event whose commit
/// is not remembered is left out.
pub(super) fn stored_at(positions: &[(u64, i64)], commits: &[Commit]) -> StoredAt {
    let commit_of = |position: i64| commits.get(commits.partition_point(|c| c.position < position));
    positions.iter().filter_map(|&(event, at)| Some((event, commit_of(at)?.at_us))).collect()
}

/// The median, the tail and the maximum, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

/// The spread of durations in microseconds; none if there are no durations. A percentile is the smallest
/// value that this share of all values does not exceed.
pub(super) fn spread(mut durations_us: Vec<i64>) -> Option<Spread> {
    durations_us.sort_unstable();
    let max = *durations_us.last()? as f64 / 1e3;
    let at = |percent: usize| {
        let rank = (durations_us.len() * percent).div_ceil(100).max(1);
        durations_us[rank - 1] as f64 / 1e3
    };
    Some(Spread { p50_ms: at(50), p99_ms: at(99), max_ms: max })
}

/// The figures of one run of events.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct FanOut {
    /// Events emitted and acknowledged.
    pub(super) events: usize,
    /// Time from the emit until the event was stored on every peer.
    pub(super) every_peer: Spread,
    /// Time from the emit until the event was stored on a peer, over all peers including the emitter.
    pub(super) any_peer: Spread,
    /// Events that at least one peer lacks.
    pub(super) missing: usize,
}

/// Computes the figures of a run. `emitted` maps the number of each event to its moment, in microseconds
/// since the epoch. `None` means that nothing arrived anywhere.
pub(super) fn fan_out(emitted: &StoredAt, peers: &[StoredAt]) -> Option<FanOut> {
    let (mut every, mut any, mut missing) = (Vec::new(), Vec::new(), 0);
    for (event, at_us) in emitted {
        let took: Vec<i64> = peers.iter().filter_map(|peer| Some(peer.get(event)? - at_us)).collect();
        match took.iter().max() {
            Some(last) if took.len() == peers.len() => every.push(*last),
            Some(_) | None => missing += 1,
        }
        any.extend(took);
    }
    Some(FanOut { events: emitted.len(), every_peer: spread(every)?, any_peer: spread(any)?, missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits(of: &[(i64, i64)]) -> Vec<Commit> {
        of.iter().map(|&(position, at_us)| Commit { position, at_us }).collect()
    }

    #[test]
    fn an_event_is_stored_by_the_first_commit_that_reaches_it() {
        let check = |position, expected: Option<i64>| {
            let found = stored_at(&[(7, position)], &commits(&[(3, 100), (5, 200), (9, 300)]));
            assert_eq!(found.get(&7).copied(), expected, "position {position}");
        };
        check(1, Some(100));
        check(3, Some(100));
        check(4, Some(200));
        check(9, Some(300));
        check(10, None);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let check = |values: Vec<i64>, expected: Option<(f64, f64, f64)>| {
            let found = spread(values.clone()).map(|s| (s.p50_ms, s.p99_ms, s.max_ms));
            assert_eq!(found, expected, "{values:?}");
        };
        check(vec![], None);
        check(vec![3000], Some((3.0, 3.0, 3.0)));
        check(vec![2000, 1000], Some((1.0, 2.0, 2.0)));
        check((1..=200).rev().map(|n| n * 1000).collect(), Some((100.0, 198.0, 200.0)));
    }

    #[test]
    fn the_last_peer_decides_and_an_absent_event_is_missing() {
        let emitted = StoredAt::from([(1, 1000), (2, 2000)]);
        let quick = StoredAt::from([(1, 2000), (2, 3000)]);
        let slow = StoredAt::from([(1, 5000)]);
        let found = fan_out(&emitted, &[quick.clone(), slow]).unwrap();
        assert_eq!((found.events, found.missing, found.every_peer.max_ms), (2, 1, 4.0));
        assert_eq!((found.any_peer.p50_ms, found.any_peer.max_ms), (1.0, 4.0));
        assert_eq!(fan_out(&emitted, &[StoredAt::new()]), None);
        assert_eq!(fan_out(&emitted, &[quick]).map(|found| found.missing), Some(0));
    }
}
