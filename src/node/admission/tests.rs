use super::*;
use crate::daemons::fixture::World;
use cluster_state::admission::{Secret, Ticket, ticket_id};

fn secret(n: u8) -> Secret {
    Secret { bytes: [n; 32], since_ms: 1, number: n.into() }
}

fn ticket(
    token: u8,
    uses_left: u32,
    expires_ms: u64,
    issued_ms: u64,
) -> (cluster_state::admission::TicketId, Ticket) {
    let token = [token; 32];
    let note = String::new();
    (ticket_id(&token), Ticket { key: ticket_key(&token), uses_left, expires_ms, issued_ms, note })
}

fn own(tickets: &[u8], given: Option<u8>, kept: Option<u8>) -> OwnKeys {
    let bytes = |n: u8| [n; 32];
    OwnKeys {
        tickets: tickets.iter().map(|n| [*n; 32]).collect(),
        given: given.map(bytes),
        kept: kept.map(bytes),
    }
}

#[test]
fn the_door_is_as_the_state_says() {
    let nobody = Admissions::default();
    assert_eq!(door_keys(&nobody, &own(&[], None, None), 0), [], "it admits everybody");
    let key = |n: u8| DoorKey::new([n; 32]);
    assert_eq!(door_keys(&nobody, &own(&[], Some(4), Some(5)), 0), [key(5), key(4)]);

    let tickets = [ticket(10, 1, 50, 3), ticket(11, 0, 50, 4), ticket(12, 9, 20, 5)];
    let mut admissions = Admissions {
        secret: Some(secret(3)),
        previous: vec![secret(2), secret(1)],
        tickets: tickets.into(),
        ..Admissions::default()
    };
    let closed = |key: DoorKey, why: NotAdmitted| key.for_members(why.to_string());
    let issued = |n: u8, at| DoorKey::new(ticket_key(&[n; 32])).issued(at);
    let expected = [
        closed(key(3), NotAdmitted::TicketsOnly),
        closed(DoorKey::new(ticket_key(&[9; 32])), NotAdmitted::UnknownTicket), // a ticket of its own, since revoked
        closed(key(2), NotAdmitted::WrongSecret),
        closed(key(1), NotAdmitted::WrongSecret),
        closed(issued(12, 5), NotAdmitted::Expired),
        closed(issued(11, 4), NotAdmitted::UsedUp),
        issued(10, 3),
    ];
    assert_eq!(door_keys(&admissions, &own(&[9, 10], None, Some(2)), 30), expected);
    admissions.by_secret = true;
    assert_eq!(door_keys(&admissions, &own(&[], None, None), 30)[0], key(3));
}

#[test]
fn a_removal_counts_once_the_state_is_current() {
    let all = World::with_nodes(3).state;
    let peers: Vec<String> = all.nodes.values().map(|node| node.peer_id.clone()).collect();
    let mut without = all.clone();
    let entry = cluster_state::admission::ShutOut {
        node: cluster_state::NodeId(2),
        name: "n2".into(),
        ban: false,
        at_ms: 5,
        why: String::new(),
    };
    Arc::make_mut(&mut without.nodes).remove(&entry.node);
    Arc::make_mut(&mut without.admissions).shut_out.insert(peers[1].clone(), entry);
    let stale = Footing::default();
    let current = Footing { is_current: true, ..Footing::default() };
    let votes = Footing { is_current: false, named: [peers[1].clone()].into() };
    let check = |before: &ClusterState, now: &ClusterState, standing: &Footing, is_in: bool| {
        let guests = DoorList::of(before).next(now, standing);
        let found = (guests.members.contains(&peers[1]), guests.out.contains_key(&peers[1]));
        assert_eq!(found, (is_in, !is_in), "{standing:?}");
    };
    // While the node catches up, it passes a removal of long ago. The removed one may be back, and lead.
    check(&all, &without, &stale, true);
    check(&all, &without, &current, false);
    // A node that starts again acts on what it knew, until voters name the removed one, or it has caught up.
    check(&without, &without, &votes, true);
    check(&without, &all, &stale, true);
    check(&without, &without, &current, false);
    let kept = DoorList::of(&without).next(&without, &stale);
    assert_eq!(kept, DoorList::of(&without), "nobody says that it is back");
}

#[test]
fn the_door_opens_as_the_kept_state_says() {
    let mut kept = World::with_nodes(2).state;
    let admissions = Arc::make_mut(&mut kept.admissions);
    admissions.secret = Some(secret(3));
    admissions.tickets.extend([ticket(10, 0, 50, 3)]);
    let out = cluster_state::admission::ShutOut {
        node: cluster_state::NodeId(9),
        name: "n9".into(),
        ban: true,
        at_ms: 5,
        why: String::new(),
    };
    admissions.shut_out.insert("gone".into(), out);
    // The node joined with ticket 10, which is used up, and 11, which was revoked.
    let (keys, guests) = own(&[10, 11], None, Some(3)).doorway(&kept, true, 30);
    let closed = |n: u8, why: NotAdmitted| DoorKey::new(ticket_key(&[n; 32])).for_members(why.to_string());
    assert!(keys.contains(&closed(10, NotAdmitted::UsedUp).issued(3)), "{keys:?}");
    assert!(keys.contains(&closed(11, NotAdmitted::UnknownTicket)), "{keys:?}");
    assert!([10, 11].iter().all(|n| !keys.contains(&DoorKey::new(ticket_key(&[*n; 32])))), "{keys:?}");
    assert_eq!((guests.members.len(), guests.out.contains_key("gone")), (2, true));
    // Without a state the keys that it was given are all that it knows.
    let (keys, guests) = own(&[10], None, None).doorway(&ClusterState::default(), false, 30);
    assert_eq!((keys, guests), (vec![DoorKey::new(ticket_key(&[10; 32]))], DoorList::default()));
}

#[test]
fn a_ticket_is_shown_before_a_secret() {
    let proof = |n: u8| Admission::Secret(secret_proof(&[n; 32], "me"));
    assert_eq!(own(&[], None, None).shown("me"), [Admission::Known]);
    assert_eq!(
        own(&[7, 8], Some(4), None).shown("me"),
        [Admission::by_ticket(&[7; 32], "me"), Admission::by_ticket(&[8; 32], "me"), proof(4)]
    );
    assert_eq!(own(&[], None, Some(5)).shown("me"), [proof(5)]);
    assert_eq!(own(&[], None, None).door(false), [], "its name is enough where nobody has a secret");
    assert_eq!(own(&[], None, None).door(true).len(), 1, "nobody knows what a member keeps to itself");
}

#[test]
fn only_most_voters_or_the_leader_end_a_node() {
    let out = EntryRefusal::ShutOut("sold".into());
    let check = |voters: &[&str], leader: Option<&str>, said: &[(&str, &EntryRefusal)], expected| {
        let judges = Judges {
            voters: voters.iter().map(|peer| (*peer).to_owned()).collect(),
            leader: leader.map(str::to_owned),
        };
        let refusals = said.iter().map(|(peer, refusal)| ((*peer).to_owned(), (*refusal).clone())).collect();
        let found = judges.say("me", &refusals, |peer| peer == "friend");
        assert_eq!(found.as_ref(), expected, "{judges:?} {said:?}");
    };
    let (unknown, closed) = (EntryRefusal::UnknownKey, EntryRefusal::Closed("old".into()));
    // A node that has just joined, and knows nobody, believes nobody.
    check(&[], None, &[("a", &out)], None);
    check(&[], None, &[("a", &out), ("b", &out)], None);
    // One member is not enough, whether or not others are reached; nor are members without a vote.
    let three = ["a", "b", "c"];
    check(&three, None, &[], None);
    check(&three, None, &[("a", &out)], None);
    check(&three, None, &[("a", &out), ("x", &out), ("y", &out)], None);
    check(&three, None, &[("a", &out), ("b", &unknown), ("c", &closed)], None);
    check(&three, None, &[("a", &out), ("b", &out)], Some(&out));
    check(&["a", "b"], None, &[("a", &out)], None);
    check(&["a"], None, &[("a", &out)], Some(&out));
    check(&["a", "friend"], None, &[("a", &out), ("friend", &out)], None); // it has thought better of it
    // The leader that a node follows knows.
    check(&three, Some("a"), &[("a", &out)], Some(&out));
    check(&three, Some("x"), &[("x", &out)], Some(&out)); // it has just lost its vote
    check(&three, Some("b"), &[("a", &out)], None);
    let duplicate = EntryRefusal::Duplicate;
    check(&three, None, &[("a", &duplicate)], None);
    check(&three, None, &[("a", &duplicate), ("b", &duplicate)], Some(&duplicate));
    check(&[], None, &[("me", &duplicate)], Some(&duplicate)); // the copy answers itself
}
