//! How fast each member may propose.
//!
//! Invariant: a member gets no more than [`BURST`] proposals at once and [`PER_SECOND`] in the long run, and
//! what one member asks for takes nothing from another. The table holds no more members than a cluster has,
//! but for those that have asked a moment ago.

use cluster_state::state_machine::NODES_MAX;
use std::{collections::BTreeMap, time::Instant};

/// Proposals of a member at once: a node that was away tells of all that it holds.
pub(super) const BURST: f64 = 2000.0;
/// Proposals of a member for each second. A busy node needs a few.
const PER_SECOND: f64 = 200.0;

/// A token bucket for each member: what is left of it, and when that was.
#[derive(Debug, Default)]
pub(super) struct ProposalRates(BTreeMap<String, (f64, Instant)>);

impl ProposalRates {
    /// Whether a member may propose now. If so, that counts.
    pub(super) fn allow(&mut self, peer: &str, now: Instant) -> bool {
        let left = |(left, at): (f64, Instant)| {
            (left + now.saturating_duration_since(at).as_secs_f64() * PER_SECOND).min(BURST)
        };
        if self.0.len() >= NODES_MAX && !self.0.contains_key(peer) {
            // A full bucket is that of a member that is not known.
            self.0.retain(|_, bucket| left(*bucket) < BURST);
        }
        let bucket = self.0.entry(peer.to_owned()).or_insert((BURST, now));
        let tokens = left(*bucket);
        let allowed = tokens >= 1.0;
        *bucket = (if allowed { tokens - 1.0 } else { tokens }, now);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_member_that_asks_too_much_waits_and_no_other_does() {
        let (mut rates, begin) = (ProposalRates::default(), Instant::now());
        let mut taken = |peer: &str, after_ms: u64| {
            let now = begin + Duration::from_millis(after_ms);
            (0..10_000).filter(|_| rates.allow(peer, now)).count()
        };
        assert_eq!((taken("a", 0), taken("a", 0)), (2000, 0));
        assert_eq!(taken("b", 0), 2000);
        assert_eq!((taken("a", 4), taken("a", 5), taken("a", 1_005)), (0, 1, 200));
        assert_eq!(taken("a", 100_000), 2000);
        assert_eq!(taken("a", 50_000), 0, "a clock that goes back gives nothing");
    }

    #[test]
    fn the_table_is_bounded() {
        let (mut rates, begin) = (ProposalRates::default(), Instant::now());
        for n in 0..5 * NODES_MAX as u64 {
            assert!(rates.allow(&n.to_string(), begin + Duration::from_millis(10 * n)));
        }
        assert!(rates.0.len() <= NODES_MAX, "{}", rates.0.len());
    }
}
