//! Version vectors: which events of which sources a node has, and what another lacks.
//!
//! Invariant: a vector is of bounded size. What does not fit into an entry is told later, once the gaps
//! before it are closed.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::RangeInclusive};

/// Most sources of one vector.
pub const ENTRIES_MAX: usize = 1024;
/// Most ranges beyond the first gap of a source that are told.
pub const RANGES_MAX: usize = 32;

/// What a node has of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionEntry {
    /// The node has every event up to this number, had it once, or gave it up.
    pub watermark: i64,
    /// The node also has these ranges, ascending, each beyond a gap.
    pub beyond: Vec<(i64, i64)>,
}

/// An origin and its epoch, which is a random number of its data folder.
pub type Source = (String, i64);

/// What a node has, by source.
pub type VersionVector = BTreeMap<Source, VersionEntry>;

impl VersionEntry {
    /// What remains of events `from..=to` when all that is here is taken away, in order.
    fn lacks(&self, (from, to): (i64, i64)) -> Vec<RangeInclusive<i64>> {
        let mut left = Vec::new();
        let mut next = from.max(self.watermark.saturating_add(1));
        for &(start, end) in &self.beyond {
            if start > to {
                break;
            }
            if next < start {
                left.push(next..=start - 1);
            }
            next = next.max(end.saturating_add(1));
        }
        if next <= to {
            left.push(next..=to);
        }
        left
    }

    /// Whether the vector of a peer can be worked with: ranges ascend and do not touch.
    fn is_sound(&self) -> bool {
        let mut last = self.watermark;
        let ascending = self.beyond.iter().all(|&(start, end)| {
            let sound = start > last && end >= start;
            last = end;
            sound
        });
        self.watermark >= 0 && self.beyond.len() <= RANGES_MAX && ascending && last < i64::MAX
    }
}

/// Whether a vector of a peer is within bounds.
#[must_use]
pub fn is_sound(vector: &VersionVector) -> bool {
    vector.len() <= ENTRIES_MAX
        && vector.iter().all(|((origin, _), have)| origin.len() <= 128 && have.is_sound())
}

/// The ranges that `ours` has and `theirs` lacks, by source.
#[must_use]
pub fn missing(ours: &VersionVector, theirs: &VersionVector) -> Vec<(Source, Vec<RangeInclusive<i64>>)> {
    let nothing = VersionEntry::default();
    let ranges = ours.iter().map(|(key, have)| {
        let theirs = theirs.get(key).unwrap_or(&nothing);
        let all = std::iter::once((1, have.watermark)).chain(have.beyond.iter().copied());
        (key.clone(), all.flat_map(|range| theirs.lacks(range)).collect::<Vec<_>>())
    });
    ranges.filter(|(_, ranges)| !ranges.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn have(set: &BTreeSet<i64>) -> VersionEntry {
        let watermark = (1..).take_while(|n| set.contains(n)).last().unwrap_or(0);
        let mut beyond: Vec<(i64, i64)> = Vec::new();
        for &n in set.range(watermark + 1..) {
            match beyond.last_mut() {
                Some((_, end)) if *end + 1 == n => *end = n,
                Some(_) | None => beyond.push((n, n)),
            }
        }
        VersionEntry { watermark, beyond }
    }

    #[test]
    fn gaps_are_found() {
        let check = |ours: (i64, &[(i64, i64)]), theirs: (i64, &[(i64, i64)]), expected: &[(i64, i64)]| {
            let vector = |(watermark, beyond): (i64, &[(i64, i64)])| {
                VersionVector::from([(
                    ("a".to_owned(), 1),
                    VersionEntry { watermark, beyond: beyond.to_vec() },
                )])
            };
            let found = missing(&vector(ours), &vector(theirs));
            let found: Vec<(i64, i64)> =
                found.into_iter().flat_map(|(_, r)| r).map(|r| (*r.start(), *r.end())).collect();
            assert_eq!(found, expected);
        };
        check((5, &[]), (5, &[]), &[]);
        check((5, &[]), (0, &[]), &[(1, 5)]);
        check((9, &[]), (3, &[(5, 6)]), &[(4, 4), (7, 9)]);
        check((3, &[(8, 9)]), (5, &[]), &[(8, 9)]);
        check((3, &[(6, 9)]), (5, &[(8, 8)]), &[(6, 7), (9, 9)]);
        let ours =
            VersionVector::from([(("a".to_owned(), 1), VersionEntry { watermark: 2, beyond: vec![] })]);
        assert_eq!(missing(&ours, &VersionVector::new()), [(("a".to_owned(), 1), vec![1..=2])]);
        assert_eq!(missing(&VersionVector::new(), &ours), []);
    }

    #[test]
    fn a_senseless_vector_is_seen() {
        let check = |watermark, beyond: &[(i64, i64)], expected| {
            let have = VersionEntry { watermark, beyond: beyond.to_vec() };
            assert_eq!(is_sound(&VersionVector::from([(("a".to_owned(), 1), have)])), expected);
        };
        check(0, &[], true);
        check(4, &[(6, 7), (9, 9)], true);
        check(-1, &[], false);
        check(4, &[(4, 7)], false);
        check(4, &[(7, 6)], false);
        check(4, &[(9, 9), (6, 7)], false);
        check(i64::MAX, &[], false);
        check(0, &[(2, i64::MAX)], false);
        check(0, &(0..40).map(|n| (n * 2 + 2, n * 2 + 2)).collect::<Vec<_>>(), false);
    }

    proptest! {
        #[test]
        fn exactly_what_lacks_is_asked_for(
            ours in prop::collection::btree_set(1i64..60, 0..40),
            theirs in prop::collection::btree_set(1i64..60, 0..40),
        ) {
            let key = || ("a".to_owned(), 1);
            let found = missing(&VersionVector::from([(key(), have(&ours))]), &VersionVector::from([(key(), have(&theirs))]));
            let found: Vec<i64> = found.into_iter().flat_map(|(_, ranges)| ranges).flatten().collect();
            prop_assert!(found.is_sorted());
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), &ours - &theirs);
        }
    }
}
