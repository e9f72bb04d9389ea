//! The address book: which peers this node knows, and when it dials them. Pure: time and chance come in as
//! arguments.
//!
//! Invariant: a known peer is connected, being dialled, or has a time at which it is dialled next; no member
//! is given up. Every peer that the caller names has a place, which no other peer takes: as many as a
//! cluster has members. Of others the book holds at most [`OTHERS_MAX`]. Of what is said of one peer at
//! once, the first [`ADDRS_MAX`] addresses count, whoever says it.
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

/// The most peers that are remembered besides those that the caller names.
const OTHERS_MAX: usize = 128;
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
    /// The new addresses for which a pause was cut short since the last connection.
    hurries: usize,
    state: DialState,
}

#[derive(Debug)]
pub(crate) struct Book {
    own: PeerId,
    members_max: usize,
    entries: BTreeMap<PeerId, KnownPeer>,
    /// Peers that are not entered.
    shut_out: HashSet<PeerId>,
}

impl Book {
    /// An empty book with room for `members_max` peers that the caller names.
    pub(crate) fn new(own: PeerId, members_max: usize) -> Self {
        Self { own, members_max, entries: BTreeMap::new(), shut_out: HashSet::new() }
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
        let takes_place = self.entries.get(&peer).is_none_or(|known| pinned && !known.pinned);
        if peer == self.own || self.shut_out.contains(&peer) || (takes_place && !self.make_room(pinned)) {
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
            hurries: 0,
            state: DialState::Waiting(now + wait),
        });
        entry.pinned |= pinned;
        for addr in addrs.iter().take(ADDRS_MAX) {
            if !entry.addrs.contains(addr) {
                entry.addrs.insert(0, addr.clone()); // the newest first
                entry.addrs.truncate(ADDRS_MAX);
                // A new address is worth a try before the backoff ends. Those who tell of more addresses than
                // are kept would have the peer dialled without a pause.
                if let DialState::Waiting(at) = &mut entry.state
                    && entry.hurries < ADDRS_MAX
                {
                    entry.hurries += 1;
                    *at = (*at).min(now + wait);
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

    /// Whether there is a place for one more peer that is pinned, or is not. Of those that are not, one that
    /// could not be reached for a while makes room.
    fn make_room(&mut self, pinned: bool) -> bool {
        let taken = self.entries.values().filter(|entry| entry.pinned == pinned).count();
        if pinned {
            return taken < self.members_max;
        }
        if taken < OTHERS_MAX {
            return true;
        }
        let worst = self
            .entries
            .iter()
            .filter(|(_, e)| matches!(e.state, DialState::Waiting(_)) && !e.pinned && e.failures > 3)
            .max_by_key(|(_, e)| e.failures)
            .map(|(peer, _)| *peer);
        worst.is_some_and(|peer| self.entries.remove(&peer).is_some())
    }

    /// Says who the members are. Another peer keeps its entry only while it is connected.
    pub(crate) fn set_members(&mut self, members: &HashSet<PeerId>) {
        self.entries.retain(|peer, entry| {
            entry.pinned &= members.contains(peer);
            members.contains(peer) || matches!(entry.state, DialState::Connected(_))
        });
    }

    /// Strikes out these peers, and no others, for as long as they are among those of the last call.
    pub(crate) fn shut_out(&mut self, peers: HashSet<PeerId>) {
        self.entries.retain(|peer, _| !peers.contains(peer));
        self.shut_out = peers;
    }

    pub(crate) fn is_shut_out(&self, peer: &PeerId) -> bool {
        self.shut_out.contains(peer)
    }

    /// Stops dialling a peer that the caller has not named.
    pub(crate) fn forget_guest(&mut self, peer: &PeerId) {
        self.entries.retain(|known, entry| entry.pinned || known != peer);
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
            entry.hurries = 0;
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
mod tests;
