//! Which piece is asked of whom next. Pure: time comes in as an argument.
//!
//! Invariant: every piece is missing, asked for, or had, and a piece that was asked for in vain is missing again.
//! A piece is asked of at most two holders at once, of the second only when the first is slow.

use std::time::{Duration, Instant};

/// A piece asked for longer ago than this may be asked of another holder, when nothing else is left to ask for.
const SLOW: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Missing,
    /// By whom, and since when; at most two.
    Asked(Vec<(usize, Instant)>),
    Had,
}

/// What a holder is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Ask(usize),
    /// Others are at work on all that is left; look again then.
    Wait(Instant),
    Done,
}

#[derive(Debug)]
pub(crate) struct Tracker {
    pieces: Vec<State>,
    left: usize,
    /// No missing piece lies before this.
    from: usize,
}

impl Tracker {
    /// `had[i]`: piece i is there already.
    pub(crate) fn new(had: &[bool]) -> Self {
        let pieces: Vec<_> = had.iter().map(|had| if *had { State::Had } else { State::Missing }).collect();
        let left = had.iter().filter(|had| !**had).count();
        Self { pieces, left, from: 0 }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.left == 0
    }

    pub(crate) fn left(&self) -> usize {
        self.left
    }

    pub(crate) fn next(&mut self, holder: usize, now: Instant) -> Next {
        if self.left == 0 {
            return Next::Done;
        }
        while let Some(state) = self.pieces.get_mut(self.from) {
            if *state == State::Missing {
                *state = State::Asked(vec![(holder, now)]);
                return Next::Ask(self.from);
            }
            self.from += 1;
        }
        let mut wait = now + SLOW;
        for (index, state) in self.pieces.iter_mut().enumerate() {
            if let State::Asked(asked) = state
                && let [(other, since)] = asked[..]
                && other != holder
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

    /// The holder delivered the piece. `false`: another was faster.
    pub(crate) fn got(&mut self, index: usize) -> bool {
        match self.pieces.get_mut(index) {
            Some(state) if *state != State::Had => {
                *state = State::Had;
                self.left -= 1;
                true
            }
            _ => false,
        }
    }

    /// The holder will not deliver the piece.
    pub(crate) fn failed(&mut self, index: usize, holder: usize) {
        if let Some(state) = self.pieces.get_mut(index)
            && let State::Asked(asked) = state
        {
            asked.retain(|(other, _)| *other != holder);
            if asked.is_empty() {
                *state = State::Missing;
                self.from = self.from.min(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    #[test]
    fn slow_pieces_are_asked_of_one_more() {
        let now = Instant::now();
        let mut tracker = Tracker::new(&[true, false, false]);
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

    proptest! {
        /// However holders fail, a piece is never asked of more than two, or twice of one, and one good holder ends it.
        #[test]
        fn always_ends(had in prop::collection::vec(any::<bool>(), 1..40), steps in prop::collection::vec((0usize..4, any::<bool>(), 0u64..3000), 0..300)) {
            let mut tracker = Tracker::new(&had);
            let mut now = Instant::now();
            let mut asked: HashMap<usize, HashSet<usize>> = HashMap::new();
            for (holder, good, millis) in steps {
                now += Duration::from_millis(millis);
                match tracker.next(holder, now) {
                    Next::Ask(index) => {
                        prop_assert!(!had[index]);
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
            }
            for (index, holders) in asked {
                for holder in holders { tracker.failed(index, holder); }
            }
            while let Next::Ask(index) = tracker.next(9, now) { prop_assert!(tracker.got(index)); }
            prop_assert!(tracker.is_done());
            prop_assert_eq!(tracker.left(), 0);
        }
    }
}
