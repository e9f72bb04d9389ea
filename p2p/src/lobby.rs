//! Where connections wait that have proved nothing yet: a bounded number, and few from one address.
//!
//! Invariant: at most `max` guests are inside, at most `per_address_max` of one address. When there is no
//! room for a new guest, the oldest one that has said nothing makes room; then the oldest that has not
//! finished speaking. A guest that is being served never makes room.
//!
//! So a stranger who opens many connections pushes out its own, and a member, who speaks at once, gets in.

use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    fmt::Display,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// The shortest time between two lines of the log about refused connections.
const TELL: Duration = Duration::from_secs(10);

/// How far a guest has come. The order is the order in which guests make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Manners {
    Silent,
    Speaking,
    Served,
}

#[derive(Debug)]
struct Seat {
    address: IpAddr,
    manners: Manners,
    /// When the guest came, or when it fell silent again, as a number that only grows.
    since: u64,
    leave: CancellationToken,
}

#[derive(Debug, Default)]
struct Seats {
    next: u64,
    by_number: BTreeMap<u64, Seat>,
}

impl Seats {
    fn count(&self, address: IpAddr) -> usize {
        self.by_number.values().filter(|seat| seat.address == address).count()
    }

    /// The guest that makes room first: one of this address, or of those with the most guests that can.
    fn first_to_leave(&self, address: Option<IpAddr>) -> Option<u64> {
        let may_leave = |(_, seat): &(&u64, &Seat)| seat.manners != Manners::Served;
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (_, seat) in self.by_number.iter().filter(may_leave) {
            *counts.entry(seat.address).or_default() += 1;
        }
        let most = counts.values().max().copied();
        let chosen = |seat: &Seat| match address {
            Some(address) => seat.address == address,
            None => counts.get(&seat.address).copied() == most,
        };
        let seats = self.by_number.iter().filter(may_leave).filter(|(_, seat)| chosen(seat));
        seats.min_by_key(|(_, seat)| (seat.manners, seat.since)).map(|(number, _)| *number)
    }

    fn send_away(&mut self, number: u64) {
        if let Some(seat) = self.by_number.remove(&number) {
            seat.leave.cancel();
        }
    }
}

/// Counts refused connections, and says when the log should hear of them.
#[derive(Debug, Default)]
struct RefusalCount {
    total: u64,
    told: u64,
    last: Option<Instant>,
}

impl RefusalCount {
    /// Counts one. Returns how many are untold, if they should be told now.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.total += 1;
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < TELL) {
            return None;
        }
        self.last = Some(now);
        Some(self.total - std::mem::replace(&mut self.told, self.total))
    }
}

/// Connections that have proved nothing yet.
#[derive(Debug)]
pub struct Lobby {
    /// What the connections are for, in the log.
    door: &'static str,
    max: usize,
    per_address_max: usize,
    seats: Mutex<Seats>,
    refused: Mutex<RefusalCount>,
}

impl Lobby {
    /// An empty lobby. Both bounds are at least 1.
    #[must_use]
    pub fn new(door: &'static str, max: usize, per_address_max: usize) -> Arc<Self> {
        let (max, per_address_max) = (max.max(1), per_address_max.max(1));
        Arc::new(Self { door, max, per_address_max, seats: Mutex::default(), refused: Mutex::default() })
    }

    /// Lets a connection in, if need be in the place of another. `None`: everybody inside is being served.
    pub fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Guest> {
        let address = network(from);
        let mut seats = self.seats.lock();
        let over_share = seats.count(address) >= self.per_address_max;
        let full = seats.by_number.len() >= self.max;
        let mut pushed_out = false;
        if over_share || full {
            match seats.first_to_leave(over_share.then_some(address)) {
                Some(number) => seats.send_away(number),
                None => {
                    drop(seats);
                    self.refuse(&from, &"everybody inside is being served");
                    return None;
                }
            }
            pushed_out = true;
        }
        let (number, leave) = (seats.next, CancellationToken::new());
        seats.next += 1;
        let seat = Seat { address, manners: Manners::Silent, since: number, leave: leave.clone() };
        seats.by_number.insert(number, seat);
        drop(seats);
        if pushed_out {
            self.refuse(&from, &"the oldest silent connection made room");
        }
        Some(Guest { lobby: Arc::clone(self), number, leave })
    }

    /// Counts a connection that was refused, and logs it unless that was done a moment ago.
    pub fn refuse(&self, from: &dyn Display, why: &dyn Display) {
        if let Some(count) = self.refused.lock().count(Instant::now()) {
            tracing::info!(door = self.door, count, last = %from, %why, "connections refused");
        }
    }

    /// How many connections were refused or pushed out so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.lock().total
    }

    /// How many connections are inside.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seats.lock().by_number.len()
    }

    fn set(&self, number: u64, manners: Manners) {
        let mut seats = self.seats.lock();
        let since = seats.next;
        seats.next += 1;
        if let Some(seat) = seats.by_number.get_mut(&number) {
            if manners == Manners::Silent {
                seat.since = since;
            }
            seat.manners = manners;
        }
    }
}

/// A connection that is inside. It leaves when it is dropped.
#[derive(Debug)]
pub struct Guest {
    lobby: Arc<Lobby>,
    number: u64,
    leave: CancellationToken,
}

impl Guest {
    /// Its first byte has come.
    pub fn speaks(&self) {
        self.lobby.set(self.number, Manners::Speaking);
    }

    /// It has asked for something, and is served until [`Guest::is_silent`].
    pub fn is_served(&self) {
        self.lobby.set(self.number, Manners::Served);
    }

    /// It has its answer, and has asked for nothing since.
    pub fn is_silent(&self) {
        self.lobby.set(self.number, Manners::Silent);
    }

    /// Is cancelled when the guest has to make room.
    #[must_use]
    pub fn leave(&self) -> &CancellationToken {
        &self.leave
    }

    /// The lobby.
    #[must_use]
    pub fn lobby(&self) -> &Lobby {
        &self.lobby
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.lobby.seats.lock().by_number.remove(&self.number);
    }
}

/// What counts as one address: a host of IPv4, or a network of IPv6 (/64), which one host has to itself.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn is_inside(guest: &Guest) -> bool {
        !guest.leave().is_cancelled()
    }

    #[test]
    fn the_oldest_silent_one_makes_room() {
        let lobby = Lobby::new("test", 3, 3);
        let guests: Vec<Guest> = (0..3).map(|_| lobby.enter(ip(1)).unwrap()).collect();
        guests[0].speaks();
        let fourth = lobby.enter(ip(1)).unwrap();
        let inside: Vec<bool> = guests.iter().map(is_inside).collect();
        assert_eq!(inside, [true, false, true], "the first has spoken, so the second goes");
        fourth.is_served();
        guests[2].speaks();
        let fifth = lobby.enter(ip(1)).unwrap();
        assert!(!is_inside(&guests[0]), "nobody is silent, so the oldest that speaks goes");
        fifth.is_served();
        guests[2].is_served();
        assert!(lobby.enter(ip(1)).is_none(), "nobody who is served makes room");
        fifth.is_silent();
        assert!(lobby.enter(ip(1)).is_some() && !is_inside(&fifth));
        assert_eq!(lobby.refused(), 4);
    }

    #[test]
    fn an_address_pushes_out_its_own() {
        let lobby = Lobby::new("test", 6, 4);
        let member = lobby.enter(ip(2)).unwrap();
        let crowd: Vec<Guest> = (0..100).map(|_| lobby.enter(ip(1)).unwrap()).collect();
        assert!(is_inside(&member));
        assert_eq!(crowd.iter().filter(|guest| is_inside(guest)).count(), 4);
        assert_eq!(lobby.count(), 5);
        // Strangers of many addresses push out those of the address with the most.
        let others: Vec<Guest> = (3..6).map(|last| lobby.enter(ip(last)).unwrap()).collect();
        assert!(is_inside(&member) && others.iter().all(is_inside));
        assert_eq!(crowd.iter().filter(|guest| is_inside(guest)).count(), 2);
        drop((member, crowd, others));
        assert_eq!(lobby.count(), 0, "who leaves takes no place");
    }

    #[test]
    fn one_address_of_ipv6_is_a_network() {
        let check = |text: &str, expected: &str| {
            assert_eq!(network(text.parse().unwrap()), expected.parse::<IpAddr>().unwrap(), "{text}");
        };
        check("192.0.2.1", "192.0.2.1");
        check("::ffff:192.0.2.1", "192.0.2.1");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
        check("::1", "::");
    }

    #[test]
    fn the_log_hears_of_many_in_one_line() {
        let (mut tally, start) = (RefusalCount::default(), Instant::now());
        assert_eq!(tally.count(start), Some(1));
        for n in 0..1000 {
            assert_eq!(tally.count(start + TELL.mul_f64(f64::from(n) / 1001.0)), None);
        }
        assert_eq!(tally.count(start + TELL), Some(1001));
        assert_eq!(tally.total, 1002);
    }
}
