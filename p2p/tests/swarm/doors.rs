//! What strangers and lying peers cannot do.

use crate::support::{DIRECT_TOPIC, Node, SOON, TOPIC};
use p2p::{Class, IncomingRequest, Judgement, RequestError};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

/// Where a node listens, as a socket address.
fn socket(node: &Node) -> String {
    let addr = node.addr();
    let parts: Vec<&str> = addr.split('/').collect();
    format!("{}:{}", parts[2], parts[4])
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_closed_within_a_second_and_a_peer_gets_in_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir.path().join("0"), &[]).await;
    let address = socket(&node);
    let began = Instant::now();
    let mut silent = JoinSet::new();
    for number in 0..300 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        silent.spawn(async move {
            if number % 2 == 0 {
                let _ = stream.write_all(b"\x13").await; // the first byte of the protocol, and no more
            }
            let _ = stream.read_to_end(&mut Vec::new()).await;
            (number % 2, began.elapsed())
        });
    }
    let peer = Node::start(&dir.path().join("1"), &[node.addr()]).await;
    peer.until_peers(|peers| peers.len() == 1).await;
    let joined = began.elapsed();
    assert!(joined < Duration::from_secs(2), "{joined:?}");
    let ended = timeout(SOON, silent.join_all()).await.expect("all are closed");
    let last = |kind| ended.iter().filter(|(it, _)| *it == kind).map(|(_, at)| *at).max().unwrap();
    assert!(last(1) < Duration::from_secs(3), "silent: {:?}", last(1));
    assert!(last(0) < Duration::from_secs(8), "half a handshake: {:?}", last(0));
    // The last one is counted a moment after it was closed.
    let counted = async {
        while node.handle.refused() < 300 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, counted).await.unwrap_or_else(|_| panic!("{}", node.handle.refused()));
}

/// Three peers of which the first and the last do not know each other: to them, only the one between them is
/// a member, so neither dials whom it names.
async fn line(dir: &std::path::Path) -> [Node; 3] {
    let one = Node::start(&dir.join("1"), &[]).await;
    let two = Node::start(&dir.join("2"), &[one.addr()]).await;
    let three = Node::start(&dir.join("3"), &[]).await;
    one.handle.set_members(&[two.id()].into()).await;
    two.handle.set_members(&[one.id(), three.id()].into()).await;
    three.handle.set_members(&[two.id()].into()).await;
    two.until_peers(|peers| peers.len() == 1).await;
    assert!(three.handle.add_peer(&two.id(), &[two.addr()]).await);
    three.until_peers(|peers| peers.len() == 1).await;
    two.until_peers(|peers| peers.len() == 2).await;
    [one, two, three]
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_goes_on_only_after_it_was_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let [one, mut two, mut three] = line(dir.path()).await;
    let mut number = 0u64;
    // One speaks until two has heard it; two says what it thinks of each message.
    let mut heard_by_two = async |judgement: Judgement, least: usize| {
        let mut heard = Vec::new();
        let began = Instant::now();
        while heard.len() < least {
            assert!(began.elapsed() < SOON, "two hears nothing");
            number += 1;
            one.handle.publish(TOPIC, number.to_be_bytes().to_vec()).unwrap();
            let soon = Duration::from_millis(50);
            while let Ok(Some(message)) = timeout(soon, two.inbox.gossip.recv()).await {
                message.judge(judgement);
                heard.push(message.bytes);
            }
        }
        heard
    };
    let ignored = heard_by_two(Judgement::Ignore, 20).await;
    assert!(timeout(Duration::from_secs(1), three.inbox.gossip.recv()).await.is_err(), "it went on");
    let accepted = heard_by_two(Judgement::Accept, 20).await;
    let passed = timeout(SOON, three.inbox.gossip.recv()).await.expect("it goes on").unwrap();
    assert!(accepted.contains(&passed.bytes) && !ignored.contains(&passed.bytes));
    assert_eq!(passed.from, one.id(), "the author stays the author");
    assert!(!three.handle.is_connected(&one.id()), "they still do not know each other");
    // Whoever sends what is rejected is not heard any more.
    for topic in [TOPIC, DIRECT_TOPIC] {
        let inbox = if topic == TOPIC { &mut two.inbox.gossip } else { &mut two.inbox.direct };
        let (mut heard, mut unheard, mut number, began) = (0, 0, u64::MAX, Instant::now());
        while unheard < 20 {
            assert!(began.elapsed() < SOON, "it is heard for ever on {topic}");
            number -= 1;
            one.handle.publish(topic, number.to_be_bytes().to_vec()).unwrap();
            match timeout(Duration::from_millis(20), inbox.recv()).await {
                Ok(message) => {
                    message.unwrap().judge(Judgement::Reject);
                    (heard, unheard) = (heard + 1, 0);
                }
                Err(_) => unheard += 1,
            }
        }
        assert!((3..100).contains(&heard), "{heard} on {topic}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_raft_answers_somebody_who_is_no_member() {
    let dir = tempfile::tempdir().unwrap();
    let mut one = Node::start(&dir.path().join("1"), &[]).await;
    let hash = one.handle.put_blob(b"content".to_vec()).await.unwrap();
    let two = Node::start(&dir.path().join("2"), &[one.addr()]).await;
    two.until_peers(|peers| peers.len() == 1).await;
    for member in [false, true, false] {
        one.handle.set_members(&member.then(|| two.id()).into_iter().collect()).await;
        let id = one.id();
        let asked = async |class| two.handle.request(class, &id, b"question".to_vec(), SOON).await;
        let (answered, ()) = tokio::join!(asked(Class::Raft), answer(&mut one.inbox.raft));
        assert_eq!(answered.unwrap(), b"answer");
        if member {
            let (answered, ()) = tokio::join!(asked(Class::Control), answer(&mut one.inbox.control));
            assert_eq!(answered.unwrap(), b"answer");
        } else {
            let dropped = asked(Class::Control).await;
            assert!(matches!(dropped, Err(RequestError::Failed(_))), "{dropped:?}");
            assert!(one.inbox.control.try_recv().is_err(), "nobody saw the question");
        }
        assert_eq!(two.handle.who_has(hash).await.len(), usize::from(member));
    }
}

/// Answers one request.
async fn answer(inbox: &mut mpsc::Receiver<IncomingRequest>) {
    let request = timeout(SOON, inbox.recv()).await.expect("in time").unwrap();
    request.reply.send(b"answer".to_vec()).unwrap();
}
