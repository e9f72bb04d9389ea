//! What peers say is gone, until enough of them say so.
//!
//! Invariant: a claim counts only if more than a third of the members make it, or the origin of the events
//! itself. What an honest node says is gone it had once and has pruned since, so a third that lies, or less,
//! makes no node pass over an event of another.

use super::{
    repair::{FLOORS_MAX, Floor},
    vector::Source,
};
use std::collections::BTreeMap;

/// For each source, up to which number its events are gone, by who says so. The caller keeps only what it
/// lacks itself ([`super::log::EventLog::proven_floors`]).
#[derive(Debug, Default)]
pub struct FloorClaims(BTreeMap<Source, BTreeMap<String, i64>>);

impl FloorClaims {
    /// Notes the claims in an answer of `peer`, a member of a cluster with so many `members`. Returns those
    /// that enough have made by now.
    pub fn hear(&mut self, peer: &str, floors: Vec<Floor>, members: usize) -> Vec<Floor> {
        let mut agreed = Vec::new();
        for Floor { origin, epoch, lost_to } in floors {
            if origin == peer {
                agreed.push(Floor { origin, epoch, lost_to });
                continue;
            }
            let source = (origin, epoch);
            if self.0.len() >= FLOORS_MAX && !self.0.contains_key(&source) {
                self.0.clear(); // the next answers make the claims again
            }
            let claims = self.0.entry(source.clone()).or_default();
            let claimed = claims.entry(peer.to_owned()).or_default();
            *claimed = lost_to.max(*claimed);
            let mut all: Vec<i64> = claims.values().copied().collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            if let Some(lost_to) = all.get(members / 3) {
                agreed.push(Floor { origin: source.0.clone(), epoch, lost_to: *lost_to });
                self.0.remove(&source);
            }
        }
        agreed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_counts_when_more_than_a_third_make_it() {
        let floor = |origin: &str, lost_to| Floor { origin: origin.into(), epoch: 1, lost_to };
        let check = |members, claims: &[(&str, i64)], expected: Option<i64>| {
            let mut all = FloorClaims::default();
            let mut last = Vec::new();
            for (peer, lost_to) in claims {
                assert_eq!(last, [], "not before the last");
                last = all.hear(peer, vec![floor("o", *lost_to)], members);
            }
            assert_eq!(last, expected.map(|lost_to| floor("o", lost_to)).into_iter().collect::<Vec<_>>());
        };
        check(5, &[("o", 4)], Some(4));
        check(2, &[("a", 4)], Some(4));
        check(3, &[("a", 4)], None);
        check(3, &[("a", 4), ("a", 9), ("b", 3)], Some(3));
        check(5, &[("a", 1000), ("a", 1000)], None);
        check(5, &[("a", 1000), ("b", 7)], Some(7));
        check(6, &[("a", 1000), ("b", 7)], None);
        check(6, &[("a", 1000), ("b", 7), ("c", 9)], Some(7));
    }

    #[test]
    fn claims_are_bounded() {
        let mut claims = FloorClaims::default();
        for epoch in 0..3 * FLOORS_MAX as i64 {
            claims.hear("a", vec![Floor { origin: "o".into(), epoch, lost_to: 4 }], 5);
            assert!(claims.0.len() <= FLOORS_MAX);
        }
    }
}
