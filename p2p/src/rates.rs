//! A token bucket for each author of gossip. Pure: time comes as an argument.
//!
//! Invariant: over any time, an author gets no more through than its burst and its rate allow, and of what is
//! wrong a small part of that. The table holds at most as many authors as a cluster has members; a full
//! bucket is as good as none, and is forgotten first.

use libp2p::PeerId;
use std::{collections::HashMap, time::Instant};

/// Messages a second of one author in the long run. A node emits a few; a benchmark of eight peers asks for
/// up to some thousands of all together.
const RATE: f64 = 2_000.0;
/// Messages that one author may send at once: what a node emits when it comes back from a stall.
const BURST: f64 = 8_000.0;
/// What a message that is malformed or forged costs its author, in messages: it gets one of them through in a
/// second, and nothing else. What it owes is at most [`BURST`], which takes four seconds.
const FINE: f64 = 2_000.0;

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * RATE).min(BURST);
        self.at = now;
    }
}

#[derive(Debug)]
pub(crate) struct Rates {
    authors_max: usize,
    buckets: HashMap<PeerId, Bucket>,
}

impl Rates {
    /// Full buckets for `authors_max` authors.
    pub(crate) fn new(authors_max: usize) -> Self {
        Self { authors_max, buckets: HashMap::new() }
    }

    /// Whether an author may send one more message now.
    pub(crate) fn allow(&mut self, author: PeerId, now: Instant) -> bool {
        if self.buckets.len() >= self.authors_max && !self.buckets.contains_key(&author) {
            self.buckets.values_mut().for_each(|bucket| bucket.fill(now));
            self.buckets.retain(|_, bucket| bucket.tokens < BURST);
            if self.buckets.len() >= self.authors_max {
                return false;
            }
        }
        let bucket = self.buckets.entry(author).or_insert(Bucket { tokens: BURST, at: now });
        bucket.fill(now);
        let allowed = bucket.tokens >= 1.0;
        if allowed {
            bucket.tokens -= 1.0;
        }
        allowed
    }

    /// Counts a message that should not have been sent.
    pub(crate) fn fine(&mut self, author: PeerId, now: Instant) {
        self.allow(author, now); // from now on it is in the table, if there is room
        if let Some(bucket) = self.buckets.get_mut(&author) {
            bucket.tokens = (bucket.tokens - FINE).max(-BURST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::VecDeque, time::Duration};

    #[test]
    fn an_author_gets_its_burst_and_its_rate_and_others_theirs() {
        let (mut rates, start) = (Rates::new(2), Instant::now());
        let [loud, quiet] = [PeerId::random(), PeerId::random()];
        let mut through = |author, count: usize, at| (0..count).filter(|_| rates.allow(author, at)).count();
        assert_eq!(through(loud, 100_000, start), BURST as usize);
        assert_eq!(through(quiet, 10, start), 10);
        let later = start + Duration::from_millis(500);
        assert_eq!(through(loud, 100_000, later), (RATE / 2.0) as usize);
    }

    #[test]
    fn who_sends_what_is_wrong_is_heard_little() {
        let (mut rates, start) = (Rates::new(2), Instant::now());
        let [liar, honest] = [PeerId::random(), PeerId::random()];
        // It is fined for what was heard, a while after that.
        let mut late = VecDeque::new();
        let mut heard = [0; 20];
        for step in 0..20_000 {
            let at = start + Duration::from_millis(step);
            if late.front().is_some_and(|heard_at| at - *heard_at >= Duration::from_millis(5)) {
                late.pop_front();
                rates.fine(liar, at);
            }
            if rates.allow(liar, at) {
                late.push_back(at);
                heard[step as usize / 1000] += 1;
            }
        }
        assert!(heard[0] <= 12, "{heard:?}");
        assert!(heard[1..].iter().sum::<i32>() <= 2 * 19, "{heard:?}");
        rates.fine(honest, start);
        assert!(rates.allow(honest, start), "one mistake");
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_quiet() {
        let (mut rates, start) = (Rates::new(512), Instant::now());
        for _ in 0..512 {
            assert!(rates.allow(PeerId::random(), start));
        }
        assert!(!rates.allow(PeerId::random(), start), "all of them spoke just now");
        assert!(rates.allow(PeerId::random(), start + Duration::from_secs(1)));
        assert_eq!(rates.buckets.len(), 1);
    }
}
