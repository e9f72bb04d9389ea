//! Who is let in: by key, by who it is, and by whether it is there already.

use crate::support::{Node, Options, SOON, TOPIC, until_gossip};
use p2p::{DoorKey, EntryRefusal, Exclusion, Judgement};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// What one peer tells another that it does not let in.
async fn refusal(node: &Node, by: &str) -> EntryRefusal {
    let mut refusals = node.handle.refusals();
    let found = timeout(SOON, refusals.wait_for(|all| all.contains_key(by))).await;
    found.expect("it is told").expect("the service runs")[by].clone()
}

fn out(until_key_of_ms: Option<u64>) -> Exclusion {
    Exclusion { why: "removed from the cluster".into(), until_key_of_ms }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_shut_out_is_gone_within_two_seconds_and_stays_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut one = Node::start(&dir.path().join("1"), &[]).await;
    let mut two = Node::start(&dir.path().join("2"), &[one.addr()]).await;
    let three = Node::start(&dir.path().join("3"), &[one.addr()]).await;
    for node in [&one, &two, &three] {
        node.until_peers(|peers| peers.len() == 2).await;
    }
    until_gossip(&three, &mut one).await;
    let began = Instant::now();
    let removed = BTreeMap::from([(three.id(), out(None))]);
    one.handle.shut_out(removed.clone()).await;
    one.until_peers(|peers| peers.len() == 1).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(refusal(&three, &one.id()).await, EntryRefusal::ShutOut("removed from the cluster".into()));
    // The other does not know it yet, and passes on what is said; it ends here.
    let mut number = 0u64;
    let quiet = async {
        loop {
            number += 1;
            three.handle.publish(TOPIC, number.to_be_bytes().to_vec()).unwrap();
            let heard = timeout(Duration::from_millis(50), two.inbox.gossip.recv()).await;
            if let Ok(Some(message)) = heard {
                message.judge(Judgement::Accept);
            }
        }
    };
    let heard = async { while one.inbox.gossip.recv().await.unwrap().from != three.id() {} };
    tokio::select! {
        () = quiet => {}
        () = heard => panic!("it is heard through another"),
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
    two.handle.shut_out(removed).await;
    three.until_peers(<[_]>::is_empty).await;
    assert!(matches!(refusal(&three, &two.id()).await, EntryRefusal::ShutOut(_)));
    until_gossip(&one, &mut two).await;
    assert!(!one.handle.is_connected(&three.id()) && !two.handle.is_connected(&three.id()));
    // It is let in again once it is not shut out any more.
    one.handle.shut_out(BTreeMap::new()).await;
    three.until_peers(|peers| peers.len() == 1).await;
    assert!(three.handle.refusals().borrow().get(&one.id()).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_ticket_lets_in_who_was_removed_and_an_old_secret_only_members() {
    let dir = tempfile::tempdir().unwrap();
    let [secret, old, ticket] = [1, 2, 3].map(|n| DoorKey::new([n; 32]));
    let keys =
        [secret.clone(), old.clone().for_members("only members come in so"), ticket.clone().issued(20)];
    let door = Options { keys: &keys, ..Options::default() };
    let one = Node::try_start(&dir.path().join("1"), door).await.unwrap();
    let bootstrap = [one.addr()];
    let with = async |name: &str, key: &DoorKey| {
        let keys = std::slice::from_ref(key);
        let options = Options { bootstrap: &bootstrap, keys, ..Options::default() };
        Node::try_start(&dir.path().join(name), options).await.unwrap()
    };
    let two = with("2", &old).await;
    two.until_peers(|peers| peers.len() == 1).await;
    let id = two.id();
    one.handle.set_members(&[id.clone()].into()).await;
    two.stop().await;
    let two = with("2", &old).await;
    two.until_peers(|peers| peers.len() == 1).await;
    let stranger = with("stranger", &old).await;
    assert_eq!(refusal(&stranger, &one.id()).await, EntryRefusal::Closed("only members come in so".into()));

    one.handle.set_members(&[].into()).await;
    one.handle.shut_out([(id.clone(), out(Some(10)))].into()).await;
    two.until_peers(<[_]>::is_empty).await;
    two.stop().await;
    let two = with("2", &secret).await;
    assert!(matches!(refusal(&two, &one.id()).await, EntryRefusal::ShutOut(_)));
    two.stop().await;
    let two = with("2", &ticket).await;
    two.until_peers(|peers| peers.len() == 1).await;
    assert_eq!(two.id(), id);
    // The keys of the door change while peers are connected.
    one.handle.keys().set(vec![secret]);
    two.stop().await;
    let two = with("2", &ticket).await;
    let mut status = two.handle.bootstrap();
    let refused = status.wait_for(|all| all[0].refusal == Some(EntryRefusal::UnknownKey));
    timeout(SOON, refused).await.expect("it is told").unwrap();
}

/// A second process with the key of the first.
async fn copy_of(dir: &std::path::Path, name: &str, bootstrap: &[String]) -> Node {
    std::fs::create_dir_all(dir.join(name)).unwrap();
    std::fs::copy(dir.join("original/node.key"), dir.join(name).join("node.key")).unwrap();
    Node::start(&dir.join(name), bootstrap).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_with_one_identity_is_told_so_and_disturbs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let one = Node::start(&dir.path().join("1"), &[]).await;
    let mut two = Node::start(&dir.path().join("2"), &[one.addr()]).await;
    let mut original = Node::start(&dir.path().join("original"), &[one.addr()]).await;
    for node in [&one, &two, &original] {
        node.until_peers(|peers| peers.len() == 2).await;
    }
    let boot = |node: &Node| {
        let peers = node.handle.peers().borrow().clone();
        peers.into_iter().find(|peer| peer.peer_id == original.id()).map(|peer| peer.boot)
    };
    let before = [boot(&one), boot(&two)];
    let copy = copy_of(dir.path(), "copy", &[one.addr(), two.addr()]).await;
    assert_eq!(copy.id(), original.id());
    for node in [&one, &two] {
        assert_eq!(refusal(&copy, &node.id()).await, EntryRefusal::Duplicate);
    }
    assert_eq!([boot(&one), boot(&two)], before, "the original stays");
    assert!(copy.handle.peers().borrow().is_empty());
    // It is told so, too, by the original itself.
    let dials_the_original = copy_of(dir.path(), "another", &[original.addr()]).await;
    assert_eq!(refusal(&dials_the_original, &original.id()).await, EntryRefusal::Duplicate);
    until_gossip(&original, &mut two).await;
    until_gossip(&two, &mut original).await;
    // Once the original has been killed, the next process is its successor.
    original.kill().await;
    copy.until_peers(|peers| peers.len() == 2).await;
    until_gossip(&copy, &mut two).await;
}
