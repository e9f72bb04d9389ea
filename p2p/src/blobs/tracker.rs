//! Which piece is asked of which peer next. Pure: time comes in as an argument.
//!
//! Invariant: every piece is missing, asked for, or had, and a piece that was asked for in vain is missing
//! again. A piece is asked only of peers that offer it, and of at most two at once, of the second only when
//! the first is slow.
//!
//! The rarest piece comes first. This is BitTorrent's rule: what few peers have is what the others will want.

use std::time::{Duration, Instant};

/// A piece that was asked for longer ago than this may be asked of another peer as well, when nothing else is
/// left.
const SLOW: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq)]
enum PieceState {
    Missing,
    /// The peers that were asked, by index, and when; at most two.
    Asked(Vec<(usize, Instant)>),
    Had,
}

/// What a peer is asked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Ask(usize),
    /// There is nothing to ask of this peer until then: others deliver all that is left, or it offers none of
    /// that.
    Wait(Instant),
    Done,
}

/// Which pieces a peer offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    All,
    /// For each piece, whether the peer offers it.
    Some(Vec<bool>),
    Nothing,
}

impl Offer {
    fn has(&self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::Some(pieces) => pieces.get(index).copied().unwrap_or(false),
            Self::Nothing => false,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Tracker {
    pieces: Vec<PieceState>,
    left: usize,
    offers: Vec<Offer>,
    /// For each piece, how many peers offer it.
    copies: Vec<u32>,
    /// An odd number that decides which of equally rare pieces comes first. Each node has another one, so
    /// that nodes which fetch the same content begin with different pieces.
    seed: u64,
}

impl Tracker {
    /// A tracker without peers; `had[i]` says that piece i is here already.
    pub(crate) fn new(had: &[bool], seed: u64) -> Self {
        let pieces: Vec<_> =
            had.iter().map(|had| if *had { PieceState::Had } else { PieceState::Missing }).collect();
        let left = had.iter().filter(|had| !**had).count();
        Self { pieces, left, offers: Vec::new(), copies: vec![0; had.len()], seed: seed | 1 }
    }

    /// Starts with other peers. What was asked of the former ones counts as missing.
    pub(crate) fn begin(&mut self, offers: Vec<Offer>) {
        for state in &mut self.pieces {
            if matches!(state, PieceState::Asked(_)) {
                *state = PieceState::Missing;
            }
        }
        self.offers = offers;
        let copies = (0..self.pieces.len()).map(|index| self.count(index)).collect();
        self.copies = copies;
    }

    fn count(&self, index: usize) -> u32 {
        self.offers.iter().filter(|offer| offer.has(index)).count() as u32
    }

    /// Sets what a peer offers from now on. Says whether that is a change.
    pub(crate) fn offer(&mut self, holder: usize, offer: Offer) -> bool {
        match self.offers.get_mut(holder) {
            Some(known) if *known != offer => {
                let before = std::mem::replace(known, offer);
                let now = &self.offers[holder];
                for (index, copies) in self.copies.iter_mut().enumerate() {
                    *copies = *copies + u32::from(now.has(index)) - u32::from(before.has(index));
                }
                true
            }
            Some(_) | None => false,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Which pieces are here.
    pub(crate) fn had(&self) -> Vec<bool> {
        self.pieces.iter().map(|state| *state == PieceState::Had).collect()
    }

    pub(crate) fn has(&self, index: usize) -> bool {
        self.pieces.get(index) == Some(&PieceState::Had)
    }

    /// Whether pieces are left, none of them is under way, and no peer offers any of them.
    pub(crate) fn is_stuck(&self) -> bool {
        let mut pieces = self.pieces.iter().zip(&self.copies);
        self.left > 0
            && pieces.all(|(state, copies)| match state {
                PieceState::Missing => *copies == 0,
                PieceState::Asked(_) => false,
                PieceState::Had => true,
            })
    }

    pub(crate) fn next(&mut self, holder: usize, now: Instant) -> Next {
        if self.left == 0 {
            return Next::Done;
        }
        let mut wait = now + SLOW;
        let Some(offer) = self.offers.get(holder) else { return Next::Wait(wait) };
        let missing = self.pieces.iter().enumerate().filter(|(_, state)| **state == PieceState::Missing);
        let offered = missing.map(|(index, _)| index).filter(|index| offer.has(*index));
        let seed = self.seed;
        let order = |index: &usize| (self.copies[*index], (*index as u64).wrapping_mul(seed));
        if let Some(index) = offered.min_by_key(order) {
            self.pieces[index] = PieceState::Asked(vec![(holder, now)]);
            return Next::Ask(index);
        }
        for (index, state) in self.pieces.iter_mut().enumerate() {
            if let PieceState::Asked(asked) = state
                && let [(other, since)] = asked[..]
                && other != holder
                && offer.has(index)
            {
                if since + SLOW <= now {
                    asked.push((holder, now));
                    return Next::Ask(index);
                }
                wait = wait.min(since + SLOW);
            }
        }
        Next::Wait(wait)
    }

    /// Marks a piece as had. `false`: another peer was faster.
    pub(crate) fn got(&mut self, index: usize) -> bool {
        match self.pieces.get_mut(index) {
            Some(state) if *state != PieceState::Had => {
                *state = PieceState::Had;
                self.left -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Marks a piece as missing again, if no other peer was asked for it.
    pub(crate) fn failed(&mut self, index: usize, holder: usize) {
        if let Some(state) = self.pieces.get_mut(index)
            && let PieceState::Asked(asked) = state
        {
            asked.retain(|(other, _)| *other != holder);
            if asked.is_empty() {
                *state = PieceState::Missing;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    fn complete(had: &[bool], holders: usize) -> Tracker {
        let mut tracker = Tracker::new(had, 0);
        tracker.begin(vec![Offer::All; holders]);
        tracker
    }

    #[test]
    fn slow_pieces_are_asked_of_one_more() {
        let now = Instant::now();
        let mut tracker = complete(&[true, false, false], 4);
        assert_eq!(tracker.next(0, now), Next::Ask(1));
        assert_eq!(tracker.next(1, now), Next::Ask(2));
        assert_eq!(tracker.next(1, now), Next::Wait(now + SLOW));
        let later = now + SLOW;
        assert_eq!(tracker.next(1, later), Next::Ask(1));
        assert_eq!(tracker.next(2, later), Next::Ask(2), "holder 1 is slow with it");
        assert_eq!(tracker.next(3, later), Next::Wait(later + SLOW), "two at most");
        assert!(tracker.got(1));
        assert!(!tracker.got(1));
        tracker.failed(2, 1);
        assert_eq!(tracker.next(1, later), Next::Wait(later + SLOW), "holder 2 is still at it");
        tracker.failed(2, 2);
        assert_eq!(tracker.next(1, later), Next::Ask(2));
        assert!(tracker.got(2) && tracker.is_done());
        assert_eq!(tracker.next(1, later), Next::Done);
    }

    #[test]
    fn the_rarest_piece_that_is_offered_comes_first() {
        let now = Instant::now();
        let mut tracker = Tracker::new(&[false; 4], 0);
        let some = |pieces: [usize; 2]| Offer::Some((0..4).map(|index| pieces.contains(&index)).collect());
        tracker.begin(vec![Offer::All, some([0, 1]), some([0, 3]), Offer::Nothing]);
        assert_eq!(tracker.next(0, now), Next::Ask(2), "nobody else has it");
        assert_eq!(tracker.next(0, now), Next::Ask(1));
        assert_eq!(tracker.next(1, now), Next::Ask(0), "all that it has and is missing");
        assert_eq!(tracker.next(3, now), Next::Wait(now + SLOW));
        assert!(tracker.offer(3, some([3, 3])) && !tracker.offer(3, some([3, 3])));
        assert_eq!(tracker.next(3, now), Next::Ask(3));
        // Everybody who has a piece is gone.
        for (index, holder) in [(2, 0), (1, 0), (0, 1), (3, 3)] {
            tracker.failed(index, holder);
        }
        for holder in [0, 1, 2] {
            assert!(!tracker.is_stuck());
            tracker.offer(holder, Offer::Nothing);
        }
        assert!(!tracker.is_stuck(), "holder 3 has one");
        assert_eq!(tracker.next(3, now), Next::Ask(3));
        assert!(!tracker.is_stuck(), "it is under way");
        assert!(tracker.got(3));
        assert!(tracker.is_stuck());
        assert_eq!(tracker.had(), [false, false, false, true]);
    }

    #[test]
    fn nodes_with_other_seeds_begin_with_other_pieces() {
        let first = |seed| {
            let mut tracker = Tracker::new(&[false; 64], seed);
            tracker.begin(vec![Offer::All]);
            let next = (0..4).map(|_| match tracker.next(0, Instant::now()) {
                Next::Ask(index) => index,
                other => panic!("{other:?}"),
            });
            next.collect::<HashSet<_>>()
        };
        let mut all = HashSet::new();
        for seed in [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03, 0x94d0_49bb_1331_11eb] {
            all.extend(first(seed));
        }
        assert!(all.len() >= 8, "{all:?}");
    }

    proptest! {
        /// However holders fail, a piece is never asked of more than two, or twice of one, and one good
        /// holder ends it.
        #[test]
        fn always_ends(had in prop::collection::vec(any::<bool>(), 1..40), steps in prop::collection::vec((0usize..4, any::<bool>(), 0u64..3000, 0u32..9), 0..300), seed in any::<u64>()) {
            let mut tracker = Tracker::new(&had, seed);
            tracker.begin(vec![Offer::All; 10]);
            let mut now = Instant::now();
            let mut asked: HashMap<usize, HashSet<usize>> = HashMap::new();
            for (holder, good, millis, change) in steps {
                now += Duration::from_millis(millis);
                let offer = match change {
                    0 => Offer::Nothing,
                    1 => Offer::Some((0..had.len()).map(|index| (index as u64 + millis).is_multiple_of(3)).collect()),
                    _ => Offer::All,
                };
                tracker.offer(holder, offer.clone());
                match tracker.next(holder, now) {
                    Next::Ask(index) => {
                        prop_assert!(!had[index] && offer.has(index));
                        prop_assert!(asked.entry(index).or_default().insert(holder));
                        prop_assert!(asked[&index].len() <= 2);
                        if millis % 2 == 0 { continue; } // it stays under way
                        if good {
                            tracker.got(index);
                            asked.remove(&index);
                        } else {
                            tracker.failed(index, holder);
                            asked.get_mut(&index).unwrap().remove(&holder);
                        }
                    }
                    Next::Wait(until) => prop_assert!(until > now),
                    Next::Done => break,
                }
                for index in 0..had.len() { prop_assert_eq!(tracker.copies[index], tracker.count(index)); }
            }
            prop_assert!(!tracker.is_stuck(), "holder 9 has all");
            for (index, holders) in asked {
                for holder in holders { tracker.failed(index, holder); }
            }
            while let Next::Ask(index) = tracker.next(9, now) { prop_assert!(tracker.got(index)); }
            prop_assert!(tracker.is_done());
            prop_assert_eq!(tracker.left(), 0);
        }
    }
}
