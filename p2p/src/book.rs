//! The address book: which peers this node knows, and when it dials them. Pure: time and chance come in as
//! arguments.
//!
//! Invariant: a known peer is connected, being dialled, or has a time at which it is dialled next; no peer is
//! given up. The book holds at most [`PEERS_MAX`] peers.
//!
//! Two peers that dial each other at the same moment would end up with two connections, and gossip does not
//! work over two (`service.rs` says why). So the peer with the smaller id dials at once, and the other waits
//! a moment first.

use crate::{backoff::DialBackoff, hello::ADDRS_MAX};
use libp2p::{Multiaddr, PeerId};
use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

/// The most peers that are remembered. A cluster has at most 64.
pub(crate) const PEERS_MAX: usize = 256;
/// The most peers that one peer names and this node has not met.
const NAMED_MAX: usize = 32;
/// The most addresses of a peer that another peer names.
const NAMED_ADDRS_MAX: usize = 4;
const BACKOFF: DialBackoff = DialBackoff { min: Duration::from_millis(250), max: Duration::from_secs(10) };
/// How long the peer with the larger id waits before it dials.
const YIELD: Duration = Duration::from_millis(300);
/// A connection that lived less than this counts as a failed dial.
const SHORT_LIVED: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DialState {
    Waiting(Instant),
    Dialling,
    Connected(Instant),
}

#[derive(Debug)]
struct KnownPeer {
    addrs: Vec<Multiaddr>,
    /// The caller named this peer, so it is not evicted.
    pinned: bool,
    /// Who named the peer, while this node has not met it.
    named_by: Option<PeerId>,
    failures: u32,
    state: DialState,
}

#[derive(Debug)]
pub(crate) struct Book {
    own: PeerId,
    entries: BTreeMap<PeerId, KnownPeer>,
    /// Peers that are not entered.
    shut_out: HashSet<PeerId>,
}

impl Book {
    pub(crate) fn new(own: PeerId) -> Self {
        Self { own, entries: BTreeMap::new(), shut_out: HashSet::new() }
    }

    /// Adds a peer or addresses that are new. `prompt`: the peer cannot know this node yet, so this node need
    /// not wait long even if its id is the larger one.
    pub(crate) fn learn(
        &mut self,
        peer: PeerId,
        addrs: &[Multiaddr],
        pinned: bool,
        prompt: bool,
        now: Instant,
    ) {
        if peer == self.own
            || self.shut_out.contains(&peer)
            || (!self.entries.contains_key(&peer) && !self.make_room(pinned))
        {
            return;
        }
        let wait = if self.own < peer {
            Duration::ZERO
        } else if prompt {
            YIELD
        } else {
            YIELD * 4
        };
        let entry = self.entries.entry(peer).or_insert_with(|| KnownPeer {
            addrs: Vec::new(),
            pinned,
            named_by: None,
            failures: 0,
            state: DialState::Waiting(now + wait),
        });
        entry.pinned |= pinned;
        for addr in addrs {
            if !entry.addrs.contains(addr) {
                entry.addrs.insert(0, addr.clone()); // the newest first
                entry.addrs.truncate(ADDRS_MAX);
                if let DialState::Waiting(at) = &mut entry.state {
                    *at = (*at).min(now + wait); // a new address is worth a try before the backoff ends
                }
            }
        }
    }

    /// Takes what `teller` says of a third peer. Nothing of it is proved, so it is little: a few peers, a few
    /// addresses, and none of a peer that is connected.
    pub(crate) fn hear_of(&mut self, peer: PeerId, addrs: &[Multiaddr], teller: PeerId, now: Instant) {
        let addrs = &addrs[..addrs.len().min(NAMED_ADDRS_MAX)];
        match self.entries.get(&peer) {
            Some(known) if matches!(known.state, DialState::Connected(_)) => {}
            Some(_) => self.learn(peer, addrs, false, true, now),
            None => {
                let named = self.entries.values().filter(|entry| entry.named_by == Some(teller)).count();
                if named < NAMED_MAX {
                    self.learn(peer, addrs, false, true, now);
                    if let Some(entry) = self.entries.get_mut(&peer) {
                        entry.named_by = Some(teller);
                    }
                }
            }
        }
    }

    /// Replaces all addresses of a peer by those that it named itself.
    pub(crate) fn replace(&mut self, peer: PeerId, addrs: &[Multiaddr], now: Instant) {
        if addrs.is_empty() {
            return;
        }
        self.learn(peer, addrs, false, true, now);
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.addrs = addrs.iter().take(ADDRS_MAX).cloned().collect();
        }
    }

    /// Drops an address at which another peer answered. If it stayed, it could win every race against the
    /// right one.
    pub(crate) fn drop_addr(&mut self, peer: &PeerId, addr: &Multiaddr) {
        if let Some(entry) = self.entries.get_mut(peer) {
            entry.addrs.retain(|a| a != addr);
        }
    }

    fn make_room(&mut self, pinned: bool) -> bool {
        if self.entries.len() < PEERS_MAX {
            return true;
        }
        let worst = self
            .entries
            .iter()
            .filter(|(_, e)| {
                matches!(e.state, DialState::Waiting(_)) && !e.pinned && (pinned || e.failures > 3)
            })
            .max_by_key(|(_, e)| e.failures)
            .map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.entries.remove(&peer).is_some())
    }

    /// Strikes out these peers, and no others, for as long as they are among those of the last call.
    pub(crate) fn shut_out(&mut self, peers: HashSet<PeerId>) {
        self.entries.retain(|peer, _| !peers.contains(peer));
        self.shut_out = peers;
    }

    pub(crate) fn is_shut_out(&self, peer: &PeerId) -> bool {
        self.shut_out.contains(peer)
    }

    /// Stops dialling a peer.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.entries.remove(peer);
    }

    pub(crate) fn connected(&mut self, peer: PeerId, now: Instant) {
        self.learn(peer, &[], false, true, now);
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.state = DialState::Connected(now);
            entry.named_by = None;
        }
    }

    /// The last connection to the peer has ended.
    pub(crate) fn closed(&mut self, peer: &PeerId, now: Instant, chance: f64) {
        let yields = self.own > *peer;
        if let Some(entry) = self.entries.get_mut(peer) {
            let short =
                matches!(entry.state, DialState::Connected(since) if now.duration_since(since) < SHORT_LIVED);
            entry.failures = if short { entry.failures + 1 } else { 0 };
            let mut pause = if entry.failures > 1 {
                BACKOFF.pause(entry.failures - 1, chance)
            } else {
                Duration::from_millis(20)
            };
            if yields {
                pause += YIELD.mul_f64(1.0 + chance);
            }
            entry.state = DialState::Waiting(now + pause);
        }
    }

    /// A dial has failed. A connection that the peer opened in the meantime is not disturbed.
    pub(crate) fn failed(&mut self, peer: &PeerId, now: Instant, chance: f64) {
        if let Some(entry) = self.entries.get_mut(peer)
            && entry.state == DialState::Dialling
        {
            entry.failures += 1;
            entry.state = DialState::Waiting(now + BACKOFF.pause(entry.failures, chance));
        }
    }

    /// A dial began outside the book, to a bootstrap address. The book does not dial this peer until it ends.
    pub(crate) fn dialling(&mut self, peer: &PeerId) {
        if let Some(entry) = self.entries.get_mut(peer)
            && matches!(entry.state, DialState::Waiting(_))
        {
            entry.state = DialState::Dialling;
        }
    }

    /// Whether this peer is connected or being dialled.
    pub(crate) fn is_busy(&self, peer: &PeerId) -> bool {
        self.entries.get(peer).is_some_and(|e| !matches!(e.state, DialState::Waiting(_)))
    }

    /// The peers to dial now, with their addresses. They count as being dialled from here on.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let mut due = Vec::new();
        for (peer, entry) in &mut self.entries {
            if matches!(entry.state, DialState::Waiting(at) if at <= now) && !entry.addrs.is_empty() {
                entry.state = DialState::Dialling;
                due.push((*peer, entry.addrs.clone()));
            }
        }
        due
    }

    pub(crate) fn next_due(&self) -> Option<Instant> {
        let waiting = self.entries.values().filter(|e| !e.addrs.is_empty());
        waiting.filter_map(|e| if let DialState::Waiting(at) = e.state { Some(at) } else { None }).min()
    }

    pub(crate) fn addrs(&self, peer: &PeerId) -> &[Multiaddr] {
        self.entries.get(peer).map_or(&[], |e| &e.addrs)
    }

    /// The peers that a hello names: those that are connected, and those that the caller named.
    pub(crate) fn worth_telling(&self) -> impl Iterator<Item = (PeerId, Vec<Multiaddr>)> {
        let good =
            |e: &&KnownPeer| !e.addrs.is_empty() && (e.pinned || matches!(e.state, DialState::Connected(_)));
        self.entries.iter().filter(move |(_, e)| good(e)).map(|(peer, e)| (*peer, e.addrs.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair() -> (PeerId, PeerId) {
        let (a, b) = (PeerId::random(), PeerId::random());
        (a.min(b), a.max(b))
    }

    fn addr(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn the_smaller_id_dials_first() {
        let (small, large) = pair();
        let now = Instant::now();
        let mut book = Book::new(small);
        book.learn(large, &[addr(1)], false, true, now);
        assert_eq!(book.due(now), [(large, vec![addr(1)])]);
        assert!(book.due(now).is_empty(), "it is being dialled");
        let mut book = Book::new(large);
        book.learn(small, &[addr(1)], false, true, now);
        assert!(book.due(now).is_empty());
        assert_eq!(book.due(now + YIELD).len(), 1);
        book.learn(large, &[addr(1)], false, true, now);
        assert!(book.addrs(&large).is_empty(), "never ourselves");
    }

    #[test]
    fn failures_back_off_and_a_connection_resets() {
        let (small, large) = pair();
        let mut now = Instant::now();
        let mut book = Book::new(small);
        book.learn(large, &[addr(1)], true, true, now);
        for failures in 1..40 {
            assert_eq!(book.due(now).len(), 1);
            book.failed(&large, now, 0.5);
            let pause = book.next_due().unwrap() - now;
            assert_eq!(pause, BACKOFF.pause(failures, 0.5));
            now += pause;
        }
        assert_eq!(book.next_due().map(|_| BACKOFF.pause(40, 0.5)), Some(BACKOFF.max));
        book.due(now);
        book.connected(large, now);
        assert_eq!(book.next_due(), None);
        book.failed(&large, now, 0.5);
        assert!(book.is_busy(&large), "a late failure of another dial changes nothing");
        now += SHORT_LIVED;
        book.closed(&large, now, 0.5);
        assert!(book.next_due().unwrap() - now < Duration::from_millis(100));
    }

    #[test]
    fn short_lives_count_as_failures() {
        let (small, large) = pair();
        let now = Instant::now();
        let mut book = Book::new(small);
        book.learn(large, &[addr(1)], false, true, now);
        let mut last = Duration::ZERO;
        for _ in 0..8 {
            book.connected(large, now);
            book.closed(&large, now, 0.5);
            let pause = book.next_due().unwrap() - now;
            assert!(pause >= last);
            last = pause;
        }
        assert_eq!(last, BACKOFF.max);
    }

    #[test]
    fn a_teller_has_a_few_strangers_dialled_and_no_more() {
        let (own, teller) = pair();
        let now = Instant::now();
        let mut book = Book::new(own);
        let ports: Vec<Multiaddr> = (1..=8).map(addr).collect();
        let named: Vec<PeerId> = (0..100).map(|_| PeerId::random()).collect();
        named.iter().for_each(|peer| book.hear_of(*peer, &ports, teller, now));
        let due = book.due(now + YIELD);
        assert_eq!(due.len(), NAMED_MAX);
        assert!(due.iter().all(|(_, addrs)| addrs.len() == NAMED_ADDRS_MAX));
        // One that was met makes room for one more, and its addresses are its own.
        let met = due[0].0;
        book.connected(met, now);
        book.replace(met, &[addr(99)], now);
        book.hear_of(met, &ports, teller, now);
        assert_eq!(book.addrs(&met), [addr(99)]);
        let next = PeerId::random();
        book.hear_of(next, &ports, teller, now);
        assert_eq!(book.addrs(&next).len(), NAMED_ADDRS_MAX);
        let other = PeerId::random();
        book.hear_of(other, &ports, PeerId::random(), now);
        assert_eq!(book.addrs(&other).len(), NAMED_ADDRS_MAX, "another teller has room of its own");
    }

    #[test]
    fn who_is_shut_out_is_not_dialled() {
        let (small, large) = pair();
        let now = Instant::now();
        let mut book = Book::new(small);
        book.learn(large, &[addr(1)], true, true, now);
        book.shut_out([large].into());
        book.learn(large, &[addr(2)], true, true, now);
        book.hear_of(large, &[addr(2)], PeerId::random(), now);
        book.connected(large, now);
        assert!(book.due(now + BACKOFF.max).is_empty() && book.addrs(&large).is_empty());
        book.shut_out(HashSet::new());
        book.learn(large, &[addr(2)], true, true, now);
        assert_eq!(book.due(now), [(large, vec![addr(2)])]);
    }

    #[test]
    fn a_new_address_is_tried_at_once() {
        let (small, large) = pair();
        let now = Instant::now();
        let mut book = Book::new(small);
        book.learn(large, &[addr(1)], false, true, now);
        book.due(now);
        book.failed(&large, now, 1.0);
        assert!(book.due(now).is_empty());
        book.learn(large, &[addr(2)], false, true, now);
        assert_eq!(book.due(now), [(large, vec![addr(2), addr(1)])]);
    }

    proptest! {
        /// Whatever happens, the book stays bounded and nobody with an address is given up.
        #[test]
        fn bounded_and_never_stuck(steps in prop::collection::vec((0u8..6, any::<u16>(), any::<bool>()), 0..600)) {
            let own = PeerId::random();
            let peers: Vec<PeerId> = (0..300).map(|_| PeerId::random()).collect();
            let mut book = Book::new(own);
            let mut now = Instant::now();
            for (step, n, flag) in steps {
                let peer = peers[usize::from(n) % peers.len()];
                match step {
                    0 | 1 => book.learn(peer, &[addr(n.max(1))], flag, !flag, now),
                    2 => book.connected(peer, now),
                    3 => book.closed(&peer, now, 0.3),
                    4 => book.failed(&peer, now, 0.7),
                    _ => { now += Duration::from_millis(u64::from(n)); book.due(now); }
                }
                prop_assert!(book.entries.len() <= PEERS_MAX);
                for entry in book.entries.values() {
                    prop_assert!(entry.addrs.len() <= ADDRS_MAX);
                    if let DialState::Waiting(at) = entry.state {
                        prop_assert!(at <= now + BACKOFF.max * 2);
                    }
                }
            }
        }
    }
}
