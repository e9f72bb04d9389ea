//! Peers that came in with a key and are no members: hosts that join, and whoever else has a ticket.
//!
//! Invariant: once this node knows the members, a guest stays for at most [`STAY`], and none comes in as the
//! one after the [`GUESTS_MAX`]th. No gossip goes to a guest, and none that it sends is heard.
//!
//! A place is made as in the lobby: who has many guests behind one address loses one to a host of another
//! address. Among those of one address, a guest that has just come keeps its place for as long as it takes to
//! join, and then the oldest makes room.

use super::Service;
use crate::lobby::network;
use libp2p::PeerId;
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

/// The most guests among which a newcomer finds a place. A host that joins is a guest for less than a second.
const GUESTS_MAX: usize = 16;
/// How long a guest may stay without becoming a member.
const STAY: Duration = Duration::from_secs(30);
/// How long a guest keeps its place against others of its own address. A host joins in less than two seconds.
const JOINING: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct GuestStay {
    address: IpAddr,
    since: Instant,
}

/// The guests that are connected.
#[derive(Debug, Default)]
pub(super) struct Guests(HashMap<PeerId, GuestStay>);

impl Guests {
    /// Notes a peer that has been here before it was known to be no member.
    fn note(&mut self, peer: PeerId, address: IpAddr, now: Instant) {
        self.0.entry(peer).or_insert(GuestStay { address: network(address), since: now });
    }

    /// Takes in one that has just come. Returns who has to leave for it; that may be itself.
    fn enter(&mut self, peer: PeerId, address: IpAddr, now: Instant) -> Option<PeerId> {
        self.note(peer, address, now);
        if self.0.len() <= GUESTS_MAX {
            return None;
        }
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for guest in self.0.values() {
            *counts.entry(guest.address).or_default() += 1;
        }
        let most = counts.values().max().copied();
        let has_most = |guest: &GuestStay| counts.get(&guest.address).copied() == most;
        let oldest = self.0.iter().filter(|(_, guest)| has_most(guest)).min_by_key(|(_, guest)| guest.since);
        let is_joining = |guest: &GuestStay| now.saturating_duration_since(guest.since) < JOINING;
        let (oldest, guest) = oldest?;
        let stays = has_most(&self.0[&peer]) && is_joining(guest);
        Some(if stays { peer } else { *oldest })
    }

    fn leave(&mut self, peer: &PeerId) {
        self.0.remove(peer);
    }

    fn overdue(&self, now: Instant) -> Vec<PeerId> {
        self.0.iter().filter(|(_, guest)| guest.since + STAY <= now).map(|(peer, _)| *peer).collect()
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().map(|guest| guest.since + STAY).min()
    }
}

impl Service {
    /// Whether a peer counts as a member: each one does while this node does not know the members.
    pub(super) fn is_member(&self, peer: &PeerId) -> bool {
        self.members.as_ref().is_none_or(|members| members.contains(peer))
    }

    /// Whether a peer is a guest. One at an address that this node was given to join with is none, even if
    /// the members are not known as they are now.
    fn is_guest(&self, peer: &PeerId) -> bool {
        !self.is_member(peer) && !self.bootstraps.iter().any(|bootstrap| bootstrap.peer == Some(*peer))
    }

    /// Receives a peer that has just connected. Returns whether it may stay.
    pub(super) fn receive(&mut self, peer: PeerId, now: Instant) -> bool {
        let is_member = self.is_member(&peer);
        self.swarm.behaviour_mut().set_member(&peer, is_member);
        let Some(ip) = self.links.get(&peer).map(|link| link.ip).filter(|_| self.is_guest(&peer)) else {
            return true;
        };
        let leaves = self.guests.enter(peer, ip, now);
        if let Some(leaver) = leaves {
            self.send_away(leaver, "more peers that are no members than may be connected");
        }
        leaves != Some(peer)
    }

    pub(super) fn set_members(&mut self, peers: HashSet<PeerId>) {
        self.book.set_members(&peers);
        self.members = Some(peers);
        let now = Instant::now();
        let connected: Vec<(PeerId, IpAddr)> = self
            .links
            .iter()
            .filter(|(_, link)| !link.closing)
            .map(|(peer, link)| (*peer, link.ip))
            .collect();
        for (peer, ip) in connected {
            let is_member = self.is_member(&peer);
            self.swarm.behaviour_mut().set_member(&peer, is_member);
            if self.is_guest(&peer) {
                self.guests.note(peer, ip, now);
            } else {
                self.guests.leave(&peer);
            }
        }
    }

    pub(super) fn close_the_overdue(&mut self, now: Instant) {
        for peer in self.guests.overdue(now) {
            self.send_away(peer, "it did not become a member in time");
        }
    }

    /// Closes the connection of a guest, which counts as refused.
    fn send_away(&mut self, peer: PeerId, why: &str) {
        self.guests.leave(&peer);
        let _in = self.span_of(&peer).entered();
        tracing::debug!(%peer, why, "a guest is sent away");
        self.outlets.lobby.refuse(&peer, &why);
        self.disconnect(peer);
    }

    /// The last connection of a peer has ended. Nobody dials one that is no member.
    pub(super) fn guest_has_left(&mut self, peer: &PeerId) {
        self.guests.leave(peer);
        if !self.is_member(peer) {
            self.book.forget_guest(peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn a_crowd_of_one_address_keeps_out_no_host_of_another() {
        let (mut guests, now) = (Guests::default(), Instant::now());
        let crowd: Vec<PeerId> = (0..100).map(|_| PeerId::random()).collect();
        for (number, peer) in crowd.iter().enumerate() {
            let leaves = guests.enter(*peer, ip(1), now + Duration::from_millis(number as u64));
            assert_eq!(
                leaves,
                (number >= GUESTS_MAX).then_some(*peer),
                "the places are taken by those who join"
            );
            leaves.iter().for_each(|peer| guests.leave(peer));
        }
        let now = now + Duration::from_secs(1);
        let host = PeerId::random();
        assert_eq!(guests.enter(host, ip(2), now), Some(crowd[0]), "the oldest of the crowd makes room");
        guests.leave(&crowd[0]);
        // The crowd comes back and takes no place of the host; once its own are old, it takes those.
        assert_eq!(guests.enter(crowd[0], ip(1), now), Some(crowd[0]));
        guests.leave(&crowd[0]);
        let later = now + JOINING;
        assert_eq!(guests.enter(crowd[0], ip(1), later), Some(crowd[1]));
        guests.leave(&crowd[1]);
        // A second host of the crowd's address finds a place as well.
        let neighbour = PeerId::random();
        assert_eq!(guests.enter(neighbour, ip(1), later), Some(crowd[2]));
        guests.leave(&crowd[2]);
        assert!(guests.0.contains_key(&host) && guests.0.contains_key(&neighbour));
        assert_eq!(guests.0.len(), GUESTS_MAX);
    }

    #[test]
    fn guests_of_many_addresses_go_when_they_have_had_the_time_to_join() {
        let (mut guests, now) = (Guests::default(), Instant::now());
        let crowd: Vec<PeerId> = (0..GUESTS_MAX).map(|_| PeerId::random()).collect();
        for (number, peer) in crowd.iter().enumerate() {
            let number = number as u8;
            assert_eq!(guests.enter(*peer, ip(number), now + Duration::from_millis(number.into())), None);
        }
        let host = PeerId::random();
        assert_eq!(guests.enter(host, ip(99), now + Duration::from_secs(1)), Some(host));
        guests.leave(&host);
        assert_eq!(guests.enter(host, ip(99), now + JOINING), Some(crowd[0]));
    }

    #[test]
    fn a_guest_stays_for_half_a_minute_and_a_member_is_none() {
        let (mut guests, now) = (Guests::default(), Instant::now());
        let [one, two] = [PeerId::random(), PeerId::random()];
        guests.note(one, ip(1), now);
        guests.note(two, ip(1), now);
        guests.note(one, ip(1), now + STAY / 2);
        guests.leave(&two);
        assert_eq!((guests.next_due(), guests.overdue(now + STAY / 2)), (Some(now + STAY), vec![]));
        assert_eq!(guests.overdue(now + STAY), [one], "the time counts from when it came");
        guests.leave(&one);
        assert_eq!(guests.next_due(), None);
    }
}
