//! Joining, requests, gossip, and what happens when a peer dies badly.

use crate::support::{DIRECT_TOPIC, Node, Options, SOON, TOPIC, until_gossip, until_gossip_on};
use p2p::{Class, EntryRefusal, P2pError, RequestError};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

#[tokio::test(flavor = "multi_thread")]
async fn one_address_is_enough_to_find_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = vec![Node::start(&dir.path().join("0"), &[]).await];
    let bootstrap = [nodes[0].addr()];
    for i in 1..6 {
        nodes.push(Node::start(&dir.path().join(i.to_string()), &bootstrap).await);
    }
    for node in &nodes {
        node.until_peers(|peers| peers.len() == 5).await;
    }
    let mut last = nodes.pop().unwrap();
    for node in &mut nodes {
        until_gossip(node, &mut last).await;
        until_gossip(&last, node).await;
    }
    let status = last.handle.bootstrap().borrow()[0].clone();
    assert!(status.reached && status.failures == 0);

    // The first peer leaves; the others still find a newcomer, who joins through another.
    nodes.remove(0).stop().await;
    for node in &nodes {
        node.until_peers(|peers| peers.len() == 4).await;
    }
    let newcomer = Node::start(&dir.path().join("6"), &[last.addr()]).await;
    newcomer.until_peers(|peers| peers.len() == 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_started_at_once_with_one_list_settles() {
    let dir = tempfile::tempdir().unwrap();
    let ports: Vec<_> = (0..4).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addr = |l: &std::net::TcpListener| format!("/ip4/127.0.0.1/tcp/{}", l.local_addr().unwrap().port());
    let list: Vec<String> = ports.iter().map(addr).collect();
    drop(ports);
    let mut nodes = Vec::new();
    for listen in &list {
        let options = Options { bootstrap: &list, listen, ..Options::default() };
        nodes.push(Node::try_start(&dir.path().join(nodes.len().to_string()), options).await.unwrap());
    }
    let mut last = nodes.pop().unwrap();
    for node in &mut nodes {
        until_gossip(node, &mut last).await;
        until_gossip(&last, node).await;
    }
    last.until_peers(|peers| peers.len() == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_dial_each_other_at_once_settle() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..8 {
        let mut a = Node::start(&dir.path().join(format!("a{round}")), &[]).await;
        let mut b = Node::start(&dir.path().join(format!("b{round}")), &[a.addr()]).await;
        // Both know each other in several ways at the same time.
        let (to_a, to_b) = ([a.addr()], [b.addr()]);
        let (id_a, id_b) = (a.id(), b.id());
        tokio::join!(a.handle.add_peer(&id_b, &to_b), b.handle.add_peer(&id_a, &to_a));
        until_gossip(&a, &mut b).await;
        until_gossip(&b, &mut a).await;
        a.until_peers(|peers| peers.len() == 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_or_fail() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start(&dir.path().join("a"), &[]).await;
    let mut b = Node::start(&dir.path().join("b"), &[a.addr()]).await;
    a.until_peers(|peers| peers.len() == 1).await;
    let (id_a, id_b) = (a.id(), b.id());

    let ask = |class: Class, bytes: Vec<u8>, timeout: Duration| {
        let (handle, id) = (a.handle.clone(), id_b.clone());
        async move { handle.request(class, &id, bytes, timeout).await }
    };
    let large: Vec<u8> = (0..Class::Raft.bytes_max()).map(|i| (i % 251) as u8).collect();
    let (answer, ()) = tokio::join!(ask(Class::Raft, large.clone(), SOON), async {
        let request = b.inbox.raft.recv().await.unwrap();
        assert_eq!((&request.from, request.class), (&id_a, Class::Raft));
        let echo = request.bytes.clone();
        request.reply.send(echo).unwrap();
    });
    assert!(answer.unwrap() == large);

    assert_eq!(
        ask(Class::Control, vec![0; Class::Control.bytes_max() + 1], SOON).await,
        Err(RequestError::TooLarge)
    );
    let (answer, ()) = tokio::join!(ask(Class::Control, vec![], SOON), async {
        drop(b.inbox.control.recv().await.unwrap().reply);
    });
    assert_eq!(answer, Err(RequestError::Failed("peer gave no answer".into())));

    let began = Instant::now();
    assert_eq!(ask(Class::Control, vec![1], Duration::from_millis(200)).await, Err(RequestError::Timeout));
    assert!((200..400).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());

    let began = Instant::now();
    let nobody = p2p::PeerId::random().to_string();
    for id in [nobody.as_str(), "no id at all", id_a.as_str()] {
        let answer = a.handle.request(Class::Raft, id, vec![], SOON).await;
        assert_eq!(answer, Err(RequestError::NotConnected));
    }
    assert!(began.elapsed() < Duration::from_millis(100));

    let pending = ask(Class::Raft, vec![2], SOON);
    let (answer, ()) = tokio::join!(pending, b.kill());
    assert_eq!(answer, Err(RequestError::NotConnected), "a peer's death ends its requests at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_calls_of_one_class_do_not_hold_up_another() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start(&dir.path().join("a"), &[]).await;
    let mut b = Node::start(&dir.path().join("b"), &[a.addr()]).await;
    a.until_peers(|peers| peers.len() == 1).await;
    let id_b = b.id();
    let mut slow = JoinSet::new();
    for _ in 0..200 {
        let (handle, id) = (a.handle.clone(), id_b.clone());
        slow.spawn(async move { handle.request(Class::Control, &id, vec![7; 1000], SOON).await });
    }
    // Nobody takes the control requests; those beyond the limit are refused, not queued without bound.
    let refused = timeout(SOON, slow.join_next()).await.unwrap().unwrap().unwrap();
    assert_eq!(refused, Err(RequestError::Busy));
    for _ in 0..100 {
        let began = Instant::now();
        let (answer, ()) = tokio::join!(a.handle.request(Class::Raft, &id_b, vec![1], SOON), async {
            let request = b.inbox.raft.recv().await.unwrap();
            request.reply.send(vec![2]).unwrap();
        });
        assert_eq!(answer, Ok(vec![2]));
        assert!(began.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_fails_the_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start(&dir.path().join("a"), &[]).await;
    let bootstrap = [a.addr()];
    let options = Options { bootstrap: &bootstrap, cluster: "other", ..Options::default() };
    let stranger = Node::try_start(&dir.path().join("s"), options).await.unwrap();
    let mut status = stranger.handle.bootstrap();
    let failed = timeout(SOON, status.wait_for(|s| s[0].failures >= 3)).await.unwrap().unwrap();
    assert!(!failed[0].reached && failed[0].refusal == Some(EntryRefusal::UnknownKey), "{failed:?}");
    assert!(failed[0].last_error.as_ref().is_some_and(|e| e.contains("does not know our key")), "{failed:?}");
    assert!(a.handle.peers().borrow().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_and_a_bad_address_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start(&dir.path().join("a"), &[]).await;
    let addr = a.addr();
    let taken = addr.split("/p2p/").next().unwrap();
    let error = Node::try_start(&dir.path().join("b"), Options { listen: taken, ..Options::default() }).await;
    assert!(matches!(error.map(|_| ()), Err(P2pError::Listen { addr, .. }) if addr.to_string() == taken));
    let listen = "/ip4/127.0.0.1/udp/0/quic-v1";
    let error = Node::try_start(&dir.path().join("b"), Options { listen, ..Options::default() }).await;
    assert!(matches!(error.map(|_| ()), Err(P2pError::Address(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_bootstrap_address_is_told_and_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let bootstrap = [format!("/dns4/localhost/tcp/{port}")];
    let b = Node::start(&dir.path().join("b"), &bootstrap).await;
    let mut status = b.handle.bootstrap();
    let failed = timeout(SOON, status.wait_for(|s| s[0].failures >= 2)).await.unwrap().unwrap().clone();
    assert!(!failed[0].reached, "{failed:?}");
    assert!(failed[0].last_error.as_ref().is_some_and(|e| e.contains("refused")), "{failed:?}");

    // It is given its own address, too, as a whole cluster started with one list would be.
    let bootstrap = [listen.clone()];
    let options = Options { bootstrap: &bootstrap, listen: &listen, ..Options::default() };
    let a = Node::try_start(&dir.path().join("a"), options).await.unwrap();
    let reached = timeout(SOON, status.wait_for(|s| s[0].reached)).await.unwrap().unwrap().clone();
    assert_eq!((reached[0].failures, &reached[0].last_error), (0, &None));
    a.until_peers(|peers| peers.len() == 1).await;
    let mut own = a.handle.bootstrap();
    let own = timeout(SOON, own.wait_for(|s| s[0].reached)).await.map(|s| s.unwrap().len());
    assert_eq!(own, Ok(1), "{:?}", a.handle.bootstrap().borrow());
}

/// Forwards one TCP connection after another until it is frozen; then it forwards nothing, reads nothing and
/// closes nothing: what a partition looks like to both ends.
struct Proxy {
    addr: String,
    frozen: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    async fn start(target: &str) -> Self {
        let port = target.split('/').nth(4).unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
        let frozen = Arc::new(AtomicBool::new(false));
        let flag = frozen.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut pumps = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
                let (client_read, client_write) = client.into_split();
                let (server_read, server_write) = server.into_split();
                pumps.spawn(pump(client_read, server_write, flag.clone()));
                pumps.spawn(pump(server_read, client_write, flag.clone()));
            }
        });
        Self { addr, frozen, _tasks: tasks }
    }

    fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    frozen: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let n = from.read(&mut buffer).await;
        if frozen.load(Ordering::SeqCst) {
            std::future::pending::<()>().await; // holds both sockets
        }
        match n {
            Ok(n) if n > 0 && to.write_all(&buffer[..n]).await.is_ok() => {}
            _ => return,
        }
    }
}

/// The survivor still believes in its connection to the dead process when the successor calls.
async fn restart_behind_a_partition(fill_the_send_buffer: bool) {
    let dir = tempfile::tempdir().unwrap();
    let mut a = Node::start(&dir.path().join("a"), &[]).await;
    let proxy = Proxy::start(&a.addr()).await;
    let mut b = Node::start(&dir.path().join("b"), std::slice::from_ref(&proxy.addr)).await;
    let id_b = b.id();
    until_gossip(&a, &mut b).await;
    let boot = a.handle.peers().borrow()[0].boot;

    proxy.freeze();
    if fill_the_send_buffer {
        // More than one stream, since each may send only so much before the other end reads.
        let mut stuck = JoinSet::new();
        for _ in 0..60 {
            let (handle, id) = (a.handle.clone(), id_b.clone());
            let bytes = vec![0; 1024 * 1024];
            stuck.spawn(
                async move { handle.request(Class::Raft, &id, bytes, Duration::from_millis(500)).await },
            );
        }
        while let Some(result) = stuck.join_next().await {
            assert_eq!(result.unwrap(), Err(RequestError::Timeout));
        }
    }
    b.kill().await;
    assert!(a.handle.is_connected(&id_b), "the survivor must not notice, or this tests nothing");

    let began = Instant::now();
    let mut b = Node::start(&dir.path().join("b"), &[a.addr()]).await;
    assert_eq!(b.id(), id_b);
    until_gossip(&a, &mut b).await;
    until_gossip(&b, &mut a).await;
    let elapsed = began.elapsed();
    a.until_peers(|peers| peers.len() == 1 && peers[0].boot != boot).await;
    assert!(elapsed < Duration::from_secs(5), "gossip came back only after {elapsed:?}");
    println!("restart behind a partition (buffer full: {fill_the_send_buffer}): gossip after {elapsed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_survives_a_restart_that_nobody_saw() {
    restart_behind_a_partition(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_survives_it_with_a_full_send_buffer() {
    restart_behind_a_partition(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_peer_comes_back_under_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let mut a = Node::start(&dir.path().join("a"), &[]).await;
    let mut b = Node::start(&dir.path().join("b"), &[a.addr()]).await;
    let c = Node::start(&dir.path().join("c"), &[a.addr()]).await;
    until_gossip(&a, &mut b).await;
    c.until_peers(|peers| peers.len() == 2).await;
    let (id, listen) = (b.id(), b.addr());
    b.kill().await;
    for node in [&a, &c] {
        node.until_peers(|peers| peers.len() == 1).await;
    }
    // It comes back at the same address without knowing anybody; the others have not given it up.
    let listen = listen.split("/p2p/").next().unwrap();
    let options = Options { listen, ..Options::default() };
    let mut b = Node::try_start(&dir.path().join("b"), options).await.unwrap();
    assert_eq!(b.id(), id);
    b.until_peers(|peers| peers.len() == 2).await;
    until_gossip(&a, &mut b).await;
    until_gossip(&b, &mut a).await;
    assert_eq!(a.handle.publish("no such topic", vec![]), Err(p2p::PublishError::Topic));
    let large = vec![0; p2p::GOSSIP_BYTES_MAX + 1];
    assert_eq!(a.handle.publish(TOPIC, large), Err(p2p::PublishError::TooLarge));
    let largest = vec![9; p2p::GOSSIP_BYTES_MAX];
    a.handle.publish(TOPIC, largest.clone()).unwrap();
    let heard = async { while b.inbox.gossip.recv().await.unwrap().bytes != largest {} };
    timeout(SOON, heard).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_message_reaches_every_peer_that_its_author_is_connected_to() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::start(&dir.path().join("a"), &[]).await;
    let mut b = Node::start(&dir.path().join("b"), &[a.addr()]).await;
    let mut c = Node::start(&dir.path().join("c"), &[a.addr()]).await;
    a.until_peers(|peers| peers.len() == 2).await;
    until_gossip_on(DIRECT_TOPIC, &a, &mut b).await;
    until_gossip_on(DIRECT_TOPIC, &a, &mut c).await;
    for node in [a, b, c] {
        node.stop().await;
    }
}
