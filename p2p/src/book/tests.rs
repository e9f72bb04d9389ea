//! The book over time, with chance and clock as arguments.

use super::*;
use proptest::prelude::*;

const MEMBERS_MAX: usize = 64;

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
    let mut book = Book::new(small, MEMBERS_MAX);
    book.learn(large, &[addr(1)], false, true, now);
    assert_eq!(book.due(now), [(large, vec![addr(1)])]);
    assert!(book.due(now).is_empty(), "it is being dialled");
    let mut book = Book::new(large, MEMBERS_MAX);
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
    let mut book = Book::new(small, MEMBERS_MAX);
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
    let mut book = Book::new(small, MEMBERS_MAX);
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
    let mut book = Book::new(own, MEMBERS_MAX);
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
    let mut book = Book::new(small, MEMBERS_MAX);
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
    let mut book = Book::new(small, MEMBERS_MAX);
    book.learn(large, &[addr(1)], false, true, now);
    book.due(now);
    book.failed(&large, now, 1.0);
    assert!(book.due(now).is_empty());
    book.learn(large, &[addr(2)], false, true, now);
    assert_eq!(book.due(now), [(large, vec![addr(2), addr(1)])]);
}

/// What is said of a peer's addresses at a turn.
type Told = fn(&[Multiaddr], usize) -> Vec<Multiaddr>;

#[test]
fn addresses_beyond_those_that_are_kept_restart_nothing() {
    let (small, large) = pair();
    let mut now = Instant::now();
    let many: Vec<Multiaddr> = (1..=2 * ADDRS_MAX as u16).map(addr).collect();
    // One that always says the same, two that say different things, and one that always says something new.
    let told: [Told; 3] = [
        |many, _| many.to_vec(),
        |many, turn| many[turn % 2 * ADDRS_MAX..][..ADDRS_MAX].to_vec(),
        |_, turn| vec![addr(1000 + turn as u16)],
    ];
    for told in told {
        let mut book = Book::new(small, MEMBERS_MAX);
        let mut dials = 0;
        // A minute in which somebody speaks of an unreachable peer every 100 ms.
        for turn in 0..600 {
            book.learn(large, &told(&many, turn), true, true, now);
            for (peer, addrs) in book.due(now) {
                assert_eq!(addrs.len().min(ADDRS_MAX), addrs.len());
                book.failed(&peer, now, 0.5);
                dials += 1;
            }
            now += Duration::from_millis(100);
        }
        assert!((8..=14 + ADDRS_MAX).contains(&dials), "{dials} dials");
    }
}

#[test]
fn members_have_a_place_whoever_else_is_known() {
    let own = PeerId::random();
    let now = Instant::now();
    let mut book = Book::new(own, MEMBERS_MAX);
    let members: Vec<PeerId> = (0..MEMBERS_MAX).map(|_| PeerId::random()).collect();
    members[..9].iter().for_each(|peer| book.learn(*peer, &[addr(1)], true, true, now));
    (0..1000).for_each(|_| book.connected(PeerId::random(), now));
    assert_eq!(book.entries.len(), 9 + OTHERS_MAX);
    members.iter().for_each(|peer| book.learn(*peer, &[addr(1)], true, true, now));
    assert!(members.iter().all(|peer| book.addrs(peer) == [addr(1)]), "all have a place");
    let one_more = PeerId::random();
    book.learn(one_more, &[addr(1)], true, true, now);
    assert!(book.addrs(&one_more).is_empty(), "more than a cluster has members");
    (0..1000).for_each(|_| book.connected(PeerId::random(), now));
    assert!(members.iter().all(|peer| book.addrs(peer) == [addr(1)]), "and keep it");
    // Once the members change, those that are none any more are forgotten when they leave.
    book.connected(members[0], now);
    book.set_members(&members[2..].iter().copied().chain([one_more]).collect());
    book.learn(one_more, &[addr(1)], true, true, now);
    assert_eq!(book.addrs(&one_more), [addr(1)]);
    assert!(book.addrs(&members[1]).is_empty() && !book.addrs(&members[0]).is_empty());
    book.closed(&members[0], now, 0.5);
    book.forget_guest(&members[0]);
    book.forget_guest(&members[2]);
    assert!(book.addrs(&members[0]).is_empty() && !book.addrs(&members[2]).is_empty());
}

proptest! {
    /// Whatever happens, the book stays bounded and nobody with an address is given up.
    #[test]
    fn bounded_and_never_stuck(steps in prop::collection::vec((0u8..6, any::<u16>(), any::<bool>()), 0..600)) {
        let own = PeerId::random();
        let peers: Vec<PeerId> = (0..300).map(|_| PeerId::random()).collect();
        let mut book = Book::new(own, MEMBERS_MAX);
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
            prop_assert!(book.entries.len() <= MEMBERS_MAX + OTHERS_MAX);
            for entry in book.entries.values() {
                prop_assert!(entry.addrs.len() <= ADDRS_MAX);
                if let DialState::Waiting(at) = entry.state {
                    prop_assert!(at <= now + BACKOFF.max * 2);
                }
            }
        }
    }
}
