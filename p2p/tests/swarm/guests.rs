//! Peers that have a key and are no members.

use crate::support::{DIRECT_TOPIC, Node, TOPIC, until_gossip, until_gossip_on};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// As many as find a place, and some that do not.
const GUESTS: usize = 20;
const PLACES: usize = 16;
/// As long as a guest may stay, and what a busy machine takes besides.
const STAY: Duration = Duration::from_secs(45);

async fn until(what: &str, within: Duration, mut good: impl FnMut() -> bool) {
    let began = Instant::now();
    while !good() {
        assert!(began.elapsed() < within, "{what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// How often a node heard gossip of somebody who is no member.
fn strangers(node: &Node) -> u64 {
    node.handle.drops().by_name(true).get("stranger").copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn guests_are_few_hear_nothing_and_leave_unless_they_are_admitted() {
    let dir = tempfile::tempdir().unwrap();
    let one = Node::start(&dir.path().join("one"), &[]).await;
    let mut member = Node::start(&dir.path().join("member"), &[one.addr()]).await;
    one.handle.set_members(&[member.id()].into()).await;
    member.handle.set_members(&[one.id()].into()).await;
    member.until_peers(|peers| peers.len() == 1).await;
    let mut guests = Vec::new();
    for number in 0..GUESTS {
        guests.push(Node::start(&dir.path().join(number.to_string()), &[one.addr()]).await);
    }
    one.until_peers(|peers| peers.len() == PLACES + 1).await;
    until("those that find no place are refused", STAY, || {
        assert!(one.handle.peers().borrow().len() <= PLACES + 1, "{:?}", one.handle.peers().borrow());
        one.handle.refused() >= (GUESTS - PLACES) as u64
    })
    .await;

    // What the node says reaches the member and no guest, and what a guest says is not heard.
    guests.retain(|guest| one.handle.is_connected(&guest.id()));
    until("guests speak", STAY, || {
        guests.iter().for_each(|guest| guest.handle.publish(TOPIC, vec![1]).unwrap());
        strangers(&one) > 0
    })
    .await;
    for _ in 0..3 {
        until_gossip(&one, &mut member).await;
        until_gossip_on(DIRECT_TOPIC, &one, &mut member).await;
    }
    for guest in &mut guests {
        assert!(guest.inbox.gossip.try_recv().is_err(), "a guest hears gossip");
    }

    // One that is admitted hears and is heard, at once and for good.
    let mut admitted = guests.pop().unwrap();
    let id = admitted.id();
    for node in [&one, &member] {
        node.handle.set_members(&[one.id(), member.id(), id.clone()].into()).await;
    }
    let (mut one, count) = (one, guests.len() as u64);
    timeout(Duration::from_secs(5), until_gossip(&one, &mut admitted)).await.expect("it hears");
    timeout(Duration::from_secs(5), until_gossip(&admitted, &mut one)).await.expect("it is heard");

    // The others leave.
    let refused = one.handle.refused();
    until("each guest has been sent away", STAY, || {
        assert!(one.handle.is_connected(&id), "a member is not");
        one.handle.refused() >= refused + count
    })
    .await;
}
