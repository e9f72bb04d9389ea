//! Who becomes a member, and what is left of one that is removed.

use super::*;
use crate::{
    admission::{
        Admission, Admissions, Admitted, NotAdmitted, PREVIOUS_MAX, REMOVED, SHUT_OUT_MAX, ShutOut,
        TICKET_TTL_MS_MAX, TICKET_USES_MAX, TICKETS_MAX, secret_proof, ticket_id,
    },
    command::{IssueTicket, RemoveNode, RevokeTicket, SetOperators, SetSecret},
    samples::{issue, join, peer_id, remove},
};
use std::sync::Arc;

fn set_secret(n: u8, by_secret: bool) -> Command {
    Command::SetSecret(SetSecret { secret: [n; 32], by_secret, at_ms: 2 })
}

/// What peer `n` shows that holds a ticket.
fn ticket(token: u8, n: u64) -> Admission {
    Admission::by_ticket(&[token; 32], &peer_id(n))
}

/// The proof of a secret, as peer `n` makes it.
fn proof(secret: u8, n: u64) -> Admission {
    Admission::Secret(secret_proof(&[secret; 32], &peer_id(n)))
}

/// A cluster of two nodes with secret 1.
fn closed(by_secret: bool) -> World {
    let mut world = World::default();
    world.accept(register(1, 1));
    world.accept(register(2, 2));
    world.accept(set_secret(1, by_secret));
    world
}

/// How peer `n` was admitted.
fn how(world: &World, n: u64) -> String {
    world.state.node_of_peer(&peer_id(n)).unwrap().admitted.to_string()
}

/// Peer `n` shows something to a cluster that `prepared` made of [`closed`].
fn check(
    by_secret: bool,
    prepared: &[Command],
    n: u64,
    admission: Admission,
    at_ms: u64,
    expected: Result<&str, NotAdmitted>,
) {
    let mut world = closed(by_secret);
    for command in prepared {
        world.accept(command.clone());
    }
    let command = join(n, admission, at_ms);
    match expected {
        Ok(text) => {
            let id = NodeId(world.state.last_node_id.0 + 1);
            assert_eq!(world.accept(command.clone()), Response::Node { id, came_online: true });
            assert_eq!(how(&world, n), text);
            assert!(!world.state.admissions.shut_out.contains_key(&peer_id(n)));
            // The same again costs no second use.
            let before = world.clone();
            assert_eq!(world.accept(command), Response::Node { id, came_online: false });
            assert_eq!(world.state.admissions, before.state.admissions);
        }
        Err(refusal) => world.refuse(command, &Refusal::NotAdmitted(refusal)),
    }
}

#[test]
fn who_shows_what_is_admitted_or_not() {
    use NotAdmitted::{
        Banned, Expired, NothingShown, Removed, TicketsOnly, UnknownTicket, UsedUp, WrongSecret,
        WrongSignature,
    };
    let revoke = Command::RevokeTicket(RevokeTicket { ticket: ticket_id(&[7; 32]), at_ms: 5 });
    let by_ticket = format!("ticket {}", ticket_id(&[7; 32]));
    let ok = Ok(by_ticket.as_str());
    // Nothing.
    check(false, &[], 3, Admission::Known, 9, Err(NothingShown));
    check(true, &[], 3, Admission::Known, 9, Err(NothingShown));
    // Tickets: good, unknown or of another cluster, used up, expired, revoked.
    check(false, &[issue(7, 1)], 3, ticket(7, 3), 9, ok);
    check(true, &[issue(7, 1)], 3, ticket(7, 3), 999, ok);
    check(false, &[issue(7, 1)], 3, ticket(8, 3), 9, Err(UnknownTicket));
    // What another peer has shown, with which only that one is admitted.
    check(false, &[issue(7, 2), join(4, ticket(7, 4), 9)], 3, ticket(7, 4), 9, Err(WrongSignature));
    // The public key alone.
    let public = Admission::by_ticket(&ticket_id(&[7; 32]).0.0, &peer_id(3));
    check(false, &[issue(7, 1)], 3, public, 9, Err(UnknownTicket));
    check(false, &[issue(7, 1), join(4, ticket(7, 4), 9)], 3, ticket(7, 3), 9, Err(UsedUp));
    check(false, &[issue(7, 2), join(4, ticket(7, 4), 9)], 3, ticket(7, 3), 9, ok);
    check(false, &[issue(7, 1)], 3, ticket(7, 3), 1000, Err(Expired));
    check(false, &[issue(7, 1), revoke], 3, ticket(7, 3), 9, Err(UnknownTicket));
    // A secret: the present one, another one's proof, an earlier one, and where only tickets admit.
    check(true, &[], 3, proof(1, 3), 9, Ok("secret"));
    check(true, &[], 3, proof(1, 4), 9, Err(WrongSecret));
    check(true, &[], 3, proof(9, 3), 9, Err(WrongSecret));
    check(true, &[], 3, Admission::Secret([1; 32]), 9, Err(WrongSecret));
    check(true, &[set_secret(2, true)], 3, proof(1, 3), 9, Err(WrongSecret));
    check(true, &[set_secret(2, true)], 3, proof(2, 3), 9, Ok("secret"));
    check(true, &[set_secret(1, false)], 3, proof(1, 3), 9, Err(TicketsOnly));
    check(false, &[], 3, proof(1, 3), 9, Err(TicketsOnly));
    // A removed member: with its identity only a new ticket helps, and all that it knows is of no use to
    // anybody.
    let removed = [issue(7, 9), remove(2, false, 2)];
    check(true, &removed, 2, Admission::Known, 9, Err(Removed));
    check(true, &removed, 2, proof(1, 2), 9, Err(Removed));
    check(true, &removed, 2, proof(2, 2), 9, Err(Removed));
    check(true, &removed, 2, ticket(7, 2), 9, Err(UnknownTicket));
    check(true, &removed, 5, ticket(7, 5), 9, Err(UnknownTicket));
    check(true, &removed, 5, proof(1, 5), 9, Err(TicketsOnly));
    check(false, &[remove(2, false, 2), issue(7, 1)], 2, ticket(7, 2), 9, ok);
    check(true, &[remove(2, false, 2), set_secret(3, true)], 2, proof(3, 2), 9, Err(Removed));
    // A banned one never comes back.
    for shown in [Admission::Known, proof(3, 2), ticket(7, 2)] {
        let banned = [remove(2, true, 2), set_secret(3, true), issue(7, 1)];
        check(true, &banned, 2, shown.clone(), 9, Err(Banned));
        let banned_later = [remove(2, false, 2), remove(2, true, 2), set_secret(3, true), issue(7, 1)];
        check(true, &banned_later, 2, shown, 9, Err(Banned));
    }
}

#[test]
fn without_a_secret_everybody_is_admitted_and_the_first_one_founds() {
    let mut world = World::three();
    assert_eq!([1, 2, 3].map(|n| how(&world, n)), ["founder", "open", "open"]);
    // Members stay members when there is a secret, and keep how they came.
    world.accept(set_secret(1, false));
    world.accept(join(2, Admission::Known, 9));
    world.accept(join(2, proof(5, 2), 9));
    assert_eq!(how(&world, 2), "open");
    assert_eq!(world.state.nodes[&NodeId(1)].admitted, Admitted::Founder);
}

#[test]
fn secrets_follow_each_other() {
    let mut world = closed(true);
    assert_eq!(world.accept(set_secret(1, true)), Response::Unchanged);
    assert_eq!(world.accept(set_secret(1, false)), Response::Done);
    for n in 2..=20 {
        assert_eq!(world.accept(set_secret(n, false)), Response::Done);
    }
    let Admissions { secret, previous, .. } = &*world.state.admissions;
    let secret = secret.as_ref().unwrap();
    assert_eq!((secret.bytes, secret.number, previous.len()), ([20; 32], 20, PREVIOUS_MAX));
    assert!(previous.iter().map(|it| it.number).eq((12..20).rev()));
    world.refuse(set_secret(15, true), &Refusal::Invalid("secret: the cluster had it before".into()));
}

#[test]
fn tickets_are_bounded_and_make_room() {
    let mut world = closed(false);
    assert_eq!(world.accept(issue(7, 2)), Response::Done);
    assert_eq!(world.accept(issue(7, 2)), Response::Unchanged);
    let revoke = |n| Command::RevokeTicket(RevokeTicket { ticket: ticket_id(&[n; 32]), at_ms: 1 });
    world.refuse(revoke(8), &Refusal::UnknownTicket(ticket_id(&[8; 32])));
    assert_eq!(world.accept(revoke(7)), Response::Done);
    world.refuse(revoke(7), &Refusal::UnknownTicket(ticket_id(&[7; 32])));
    let many = |n: usize, at_ms: u64| {
        let Command::IssueTicket(it) = issue(1, 1) else { panic!() };
        let ticket = crate::admission::TicketId(Hash::of(&n.to_le_bytes()));
        Command::IssueTicket(IssueTicket { ticket, at_ms, expires_ms: at_ms + 10, ..it })
    };
    for n in 0..TICKETS_MAX {
        world.accept(many(n, n as u64));
    }
    assert_eq!(world.state.admissions.tickets.len(), TICKETS_MAX);
    world.refuse(many(5000, 0), &Refusal::Full("tickets".into()));
    // By now, all but the last ten have expired.
    world.accept(many(5000, TICKETS_MAX as u64));
    assert_eq!(world.state.admissions.tickets.len(), 10);
    let issued = |uses, ttl: u64| {
        let Command::IssueTicket(it) = issue(9, uses) else { panic!() };
        check_alone(&Command::IssueTicket(IssueTicket { expires_ms: it.at_ms + ttl, ..it }))
    };
    assert!(issued(1, 1) && issued(TICKET_USES_MAX, TICKET_TTL_MS_MAX));
    assert!(!issued(0, 1) && !issued(TICKET_USES_MAX + 1, 1));
    assert!(!issued(1, 0) && !issued(1, TICKET_TTL_MS_MAX + 1));
}

fn check_alone(command: &Command) -> bool {
    crate::state_machine::check(command).is_ok()
}

#[test]
fn a_removed_member_leaves_nothing_behind() {
    let mut world = World::three();
    world.accept(segment(50, 10, &[1, 2]));
    world.accept(Command::ThresholdReached(ThresholdReached {
        config_key: CONFIG.into(),
        crossing: 1,
        at_ms: 0,
    }));
    for node in [1, 3] {
        world.accept(Command::ModelHeld(ModelHeld { model: hash(1), node: NodeId(node), at_ms: 0 }));
    }
    let config = Arc::make_mut(&mut world.state.configs).get_mut(CONFIG).unwrap();
    Arc::make_mut(config).distributed = false;
    let lease = world.accept(grant(LeaseKind::Training, 2, None, 50));
    assert!(matches!(lease, Response::Lease(_)), "{lease:?}");
    world.accept(issue(7, 2));
    // The others hold the champion, so with node 2 gone all do.
    let everywhere = vec![Distributed { config_key: CONFIG.into(), model: hash(1) }];
    assert_eq!(world.accept(remove(2, false, 9)), Response::Removed { distributed: everywhere });
    assert_eq!((world.state.node_of_peer(&peer_id(2)), world.state.nodes.len()), (None, 2));
    assert!(world.state.was_removed(NodeId(2)) && world.state.was_member(&peer_id(2)));
    assert!(!world.state.was_removed(NodeId(4)) && !world.state.was_removed(NodeId(1)));
    let slot = world.config().lease(LeaseKind::Training);
    assert_eq!((slot.live.is_none(), slot.failures), (true, 1));
    assert_eq!(slot.last_end.as_ref().map(|end| end.cause.clone()), Some(EndCause::Expired));
    assert!(slot.last_end.as_ref().unwrap().reason.contains(REMOVED));
    assert_eq!(world.state.segments.get(&hash(50)).unwrap().holders, BTreeSet::from([NodeId(1)]));
    let admissions = &world.state.admissions;
    assert_eq!(admissions.secret.as_ref().map(|it| it.bytes), Some([9; 32]));
    assert!(admissions.tickets.is_empty());
    let shut_out = ShutOut { node: NodeId(2), name: "host".into(), ban: false, at_ms: 5, why: "r".into() };
    assert_eq!(admissions.shut_out.get(&peer_id(2)), Some(&shut_out));
    // Its id is not given again, to itself or to another.
    assert_eq!(world.accept(remove(2, false, 10)), Response::Unchanged);
    world.accept(issue(8, 2));
    // The clock of who issued it was behind that of who removed node 2.
    let issued = &world.state.admissions.tickets[&ticket_id(&[8; 32])];
    assert_eq!((issued.issued_ms, issued.uses_left), (6, 2));
    let node = |id| Response::Node { id: NodeId(id), came_online: true };
    assert_eq!(world.accept(join(2, ticket(8, 2), 9)), node(4));
    assert_eq!(world.accept(join(5, ticket(8, 5), 9)), node(5));
    assert!(!world.state.was_removed(NodeId(4)));
}

#[test]
fn what_cannot_be_removed_stays() {
    let mut world = closed(false);
    world.refuse(remove(3, false, 2), &Refusal::UnknownNode(NodeId(3)));
    world.refuse(remove(2, false, 1), &Refusal::Invalid("secret: a removal needs a new one".into()));
    world.accept(set_secret(2, false));
    world.refuse(remove(2, false, 1), &Refusal::Invalid("secret: the cluster had it before".into()));
    let believed = |nodes: &[u64]| {
        let nodes = nodes.iter().copied().map(NodeId).collect();
        Command::SetOperators(SetOperators { nodes, at_ms: 1 })
    };
    world.refuse(believed(&[1, 9]), &Refusal::UnknownNode(NodeId(9)));
    assert_eq!(world.accept(believed(&[2])), Response::Done);
    assert_eq!(world.accept(believed(&[2])), Response::Unchanged);
    let why = "operators are believed at this node only: name another one first".to_owned();
    world.refuse(remove(2, false, 3), &Refusal::StillNeeded(NodeId(2), why));
    assert!(!check_alone(&believed(&[1; HOLDERS_MAX + 1])));
    world.accept(believed(&[2, 1]));
    world.accept(remove(2, false, 3));
    assert_eq!(world.state.admissions.operators, BTreeSet::from([NodeId(1)]));
    world.refuse(remove(1, false, 4), &Refusal::LastNode(NodeId(1)));
    let Command::RemoveNode(it) = remove(1, false, 4) else { panic!() };
    let reason = "x".repeat(TEXT_BYTES_MAX + 1);
    assert!(!check_alone(&Command::RemoveNode(RemoveNode { reason, ..it })));
}

#[test]
fn the_longest_removed_peers_are_forgotten_and_banned_ones_never() {
    let full = |banned: usize| {
        let mut world = World::default();
        for n in 1..=2 {
            world.accept(register(n, n));
        }
        let peers = (0..SHUT_OUT_MAX).map(|n| {
            let node = NodeId(100 + n as u64);
            let it = ShutOut { node, name: String::new(), ban: n < banned, at_ms: 1, why: String::new() };
            (format!("old-{n}"), it)
        });
        world.state.admissions = Arc::new(Admissions { shut_out: peers.collect(), ..Admissions::default() });
        world
    };
    let mut world = full(3);
    world.accept(remove(2, false, 1));
    let shut_out = &world.state.admissions.shut_out;
    assert_eq!(shut_out.len(), SHUT_OUT_MAX);
    assert!(shut_out.contains_key(&peer_id(2)) && shut_out.contains_key("old-2"));
    assert!(!shut_out.contains_key("old-3"));
    full(SHUT_OUT_MAX).refuse(remove(2, false, 1), &Refusal::Full("banned peers".into()));
}
