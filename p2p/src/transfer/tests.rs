//! Fetches between real swarms over loopback, with holders that die, lie or are slow.

use crate::{
    blobs::{
        outline::{Outline, PIECE_BYTES},
        store::BlobError,
    },
    handle::P2pHandle,
    keys::KeyRing,
    start::{P2p, P2pConfig},
    transfer::{
        error::FetchError,
        limits::FetchLimits,
        protocol::{BlobAnswer, BlobQuestion},
    },
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use wire::Hash;

const DEADLINE: Duration = Duration::from_secs(30);

fn content(pieces: usize) -> Vec<u8> {
    let mut state = 88172645463325252u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..pieces * PIECE_BYTES / 8).flat_map(|_| next()).collect();
    bytes.truncate(pieces * PIECE_BYTES - 12_345);
    bytes
}

fn config(dir: &Path, bootstrap: &[String]) -> P2pConfig {
    P2pConfig {
        key_path: dir.join("node.key"),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        bootstrap: bootstrap.iter().map(|addr| addr.parse().unwrap()).collect(),
        keys: KeyRing::new("transfer"),
        boot: 1,
        topics: vec![],
        direct_topics: vec![],
        pending_max: 64,
        members_max: 64,
        blob_dir: dir.join("blobs"),
    }
}

struct Node {
    handle: P2pHandle,
    tasks: JoinSet<()>,
}

impl Node {
    async fn start(dir: &Path, bootstrap: &[String]) -> Self {
        let mut tasks = JoinSet::new();
        let started = P2p::start(config(dir, bootstrap), &mut tasks, CancellationToken::new()).await;
        Self { handle: started.unwrap().0, tasks }
    }

    async fn until_peers(&self, count: usize) {
        let mut peers = self.handle.peers();
        timeout(DEADLINE, peers.wait_for(|p| p.len() == count)).await.unwrap().unwrap();
    }
}

/// A holder whose answers the test decides: `hook` gets the number of the piece, counted from 1, and the
/// answer, and returns what is sent.
async fn holder(
    dir: &Path,
    bootstrap: &[String],
    bytes: &[u8],
    hook: impl Fn(usize, BlobAnswer) -> BlobAnswer + Send + 'static,
) -> Node {
    let mut tasks = JoinSet::new();
    let launched = P2p::launch(config(dir, bootstrap), &mut tasks, CancellationToken::new()).await.unwrap();
    let (handle, mut blob_inbox) = (launched.handle, launched.blob_inbox);
    let bytes = bytes.to_vec();
    tasks.spawn(async move {
        let outline = Outline::read(&bytes[..], 0).unwrap();
        let mut served = 0;
        while let Some(request) = blob_inbox.recv().await {
            let answer = match BlobQuestion::decode(&request.bytes).unwrap() {
                BlobQuestion::Has(_) | BlobQuestion::Pieces(_) => BlobAnswer::Yes,
                BlobQuestion::Outline(_) => BlobAnswer::Outline(outline.encode().unwrap()),
                BlobQuestion::Piece(_, index) => {
                    let (begin, length) = outline.range(index as usize).unwrap();
                    served += 1;
                    BlobAnswer::Piece(bytes[begin as usize..begin as usize + length].to_vec())
                }
            };
            let answer = if matches!(answer, BlobAnswer::Piece(_)) { hook(served, answer) } else { answer };
            tokio::time::sleep(Duration::from_millis(2)).await; // so that no holder is done before the others begin
            let _ = request.reply.send(answer.encode());
        }
    });
    Node { handle, tasks }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_three_holders_of_which_one_dies() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(32);
    let hash = Hash::of(&bytes);
    let fetcher = Node::start(&dir.path().join("f"), &[]).await;
    let bootstrap = fetcher.handle.listen_addrs();
    let half_way = Arc::new(Notify::new());
    let signal = half_way.clone();
    let mut victim = holder(&dir.path().join("a"), &bootstrap, &bytes, move |served, answer| {
        if served == 5 {
            signal.notify_one();
        }
        answer
    })
    .await;
    let other = holder(&dir.path().join("b"), &bootstrap, &bytes, |_, answer| answer).await;
    let real = Node::start(&dir.path().join("c"), &bootstrap).await;
    assert_eq!(real.handle.put_blob(bytes.clone()).await.unwrap(), hash);
    fetcher.until_peers(3).await;
    let mut holders = fetcher.handle.who_has(hash).await;
    holders.sort();
    let mut expected = [&victim, &other, &real].map(|n| n.handle.peer_id());
    expected.sort();
    assert_eq!(holders, expected);

    let fetch = fetcher.handle.fetch(hash, Some(bytes.len() as u64), holders, FetchLimits::default());
    let kill = async {
        half_way.notified().await;
        victim.tasks.shutdown().await;
    };
    let (report, ()) = timeout(DEADLINE, async { tokio::join!(fetch, kill) }).await.unwrap();
    let report = report.unwrap();
    assert_eq!(report.size, bytes.len() as u64);
    assert_eq!(report.fetched.iter().map(|(_, n)| n).sum::<usize>(), 32);
    assert!(report.fetched.iter().filter(|(_, n)| *n > 0).count() >= 2, "{report:?}");
    assert!(fetcher.handle.get_blob(hash).await.unwrap() == Some(bytes));

    // What was fetched is served at once.
    let next = Node::start(&dir.path().join("n"), &bootstrap).await;
    next.until_peers(3).await;
    let report = next.handle.fetch(hash, None, vec![fetcher.handle.peer_id()], FetchLimits::default()).await;
    let fetched = report.unwrap().fetched;
    assert_eq!(fetched.iter().map(|(_, n)| n).sum::<usize>(), 32);
    assert!(fetched.iter().any(|(peer, n)| *peer == fetcher.handle.peer_id() && *n > 0), "{fetched:?}");
    let again = next.handle.fetch(hash, None, vec![], FetchLimits::default()).await.unwrap();
    assert_eq!(again.fetched, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_fetch_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(32);
    let hash = Hash::of(&bytes);
    let served = Arc::new(AtomicUsize::new(0));
    let half_way = Arc::new(Notify::new());
    let (count, signal) = (served.clone(), half_way.clone());
    let source = holder(&dir.path().join("a"), &[], &bytes, move |n, answer| {
        count.store(n, Ordering::SeqCst);
        if n == 16 {
            signal.notify_one();
        }
        answer
    })
    .await;
    let holders = vec![source.handle.peer_id()];
    let bootstrap = source.handle.listen_addrs();
    let mut fetcher = Node::start(&dir.path().join("f"), &bootstrap).await;
    fetcher.until_peers(1).await;
    let limits = FetchLimits::default();
    tokio::select! {
        report = fetcher.handle.fetch(hash, None, holders.clone(), limits) => panic!("too fast: {report:?}"),
        () = half_way.notified() => {}
    }
    fetcher.tasks.shutdown().await;
    drop(fetcher);

    let fetcher = Node::start(&dir.path().join("f"), &bootstrap).await;
    fetcher.until_peers(1).await;
    assert!(!fetcher.handle.blobs().has(hash));
    let fetch = fetcher.handle.fetch(hash, None, holders, limits);
    let report = timeout(DEADLINE, fetch).await.unwrap().unwrap();
    assert!(report.resumed >= 16 - limits.in_flight - 1, "{report:?}");
    let twice = served.load(Ordering::SeqCst) - 32;
    assert!(twice <= limits.in_flight + 1, "{twice} pieces were fetched twice");
    assert!(fetcher.handle.get_blob(hash).await.unwrap() == Some(bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn liars_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(12);
    let hash = Hash::of(&bytes);
    let fetcher = Node::start(&dir.path().join("f"), &[]).await;
    let bootstrap = fetcher.handle.listen_addrs();
    // One flips a bit in its third piece, one sends pieces of other content under an outline of its own.
    let flips = holder(&dir.path().join("a"), &bootstrap, &bytes, |served, answer| match answer {
        BlobAnswer::Piece(mut piece) if served > 2 => {
            piece[77] ^= 1;
            BlobAnswer::Piece(piece)
        }
        answer => answer,
    })
    .await;
    let mut forged = bytes.clone();
    forged[3] ^= 1;
    let forges = holder(&dir.path().join("b"), &bootstrap, &forged, |_, answer| answer).await;
    let honest = holder(&dir.path().join("c"), &bootstrap, &bytes, |_, answer| answer).await;
    fetcher.until_peers(3).await;
    let holders: Vec<_> = [&forges, &flips, &honest].map(|n| n.handle.peer_id()).into();
    let fetch = fetcher.handle.fetch(hash, None, holders, FetchLimits::default());
    let report = timeout(DEADLINE, fetch).await.unwrap().unwrap();
    assert!(fetcher.handle.get_blob(hash).await.unwrap() == Some(bytes.clone()));
    let dropped: Vec<_> = report.dropped.iter().map(|(peer, why)| (peer.as_str(), why.as_str())).collect();
    let (flips, forges) = (flips.handle.peer_id(), forges.handle.peer_id());
    assert_eq!(dropped, [(forges.as_str(), "sent a wrong outline"), (flips.as_str(), "sent a wrong piece")]);

    // Liars alone deliver nothing, and a size that is not the content's is not believed.
    let other = Node::start(&dir.path().join("o"), &bootstrap).await;
    other.until_peers(4).await;
    let nobody = Hash::of(b"nobody has this");
    let error = other.handle.fetch(nobody, None, vec![forges], FetchLimits::default()).await.unwrap_err();
    assert!(matches!(&error, FetchError::NoHolders { dropped, .. } if !dropped.is_empty()), "{error}");
    assert!(!other.handle.blobs().has(nobody));
    let honest = vec![honest.handle.peer_id()];
    let limits = FetchLimits { bytes_max: 1000, ..FetchLimits::default() };
    let error = other.handle.fetch(hash, None, honest.clone(), limits).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 1000, .. }), "{error}");
    assert!(!other.handle.blobs().has(hash));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_holder_does_not_hold_up_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(8);
    let hash = Hash::of(&bytes);
    let fetcher = Node::start(&dir.path().join("f"), &[]).await;
    let bootstrap = fetcher.handle.listen_addrs();
    let good = holder(&dir.path().join("a"), &bootstrap, &bytes, |_, answer| answer).await;
    // This one takes questions and never answers.
    let mut tasks = JoinSet::new();
    let silent = config(&dir.path().join("b"), &bootstrap);
    let silent = P2p::launch(silent, &mut tasks, CancellationToken::new()).await.unwrap();
    fetcher.until_peers(2).await;
    let holders = vec![good.handle.peer_id(), silent.handle.peer_id()];
    let fetch = fetcher.handle.fetch(hash, None, holders, FetchLimits::default());
    let report = timeout(Duration::from_secs(10), fetch).await.unwrap().unwrap();
    assert_eq!(report.fetched, [(good.handle.peer_id(), 8), (silent.handle.peer_id(), 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_refuses_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let source = Node::start(&dir.path().join("a"), &[]).await;
    let bytes = content(2);
    let hash = source.handle.put_blob(bytes.clone()).await.unwrap();
    let fetcher = Node::start(&dir.path().join("f"), &source.handle.listen_addrs()).await;
    fetcher.until_peers(1).await;
    let store = fetcher.handle.blobs();
    let part = store.partial_path(hash, "part");
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let error = fetcher.handle.fetch(hash, None, vec![], FetchLimits::default()).await.unwrap_err();
    assert!(matches!(error, FetchError::Store(BlobError::Io { .. })), "{error}");
    assert!(!store.has(hash));
    // Once the disk is well, the same call succeeds, with a holder that it finds itself.
    std::fs::remove_file(&part).unwrap();
    fetcher.handle.fetch(hash, None, vec![], FetchLimits::default()).await.unwrap();
    assert!(fetcher.handle.get_blob(hash).await.unwrap() == Some(bytes));
}

/// One seeder that needs a while for each piece, and receivers that begin together: how many pieces the
/// seeder served, and how long it took until the last had all.
async fn from_one_seeder(receivers: usize, pieces: usize) -> (usize, Duration) {
    const EACH: Duration = Duration::from_millis(20);
    let dir = tempfile::tempdir().unwrap();
    let bytes = content(pieces);
    let hash = Hash::of(&bytes);
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    // It answers one question after the other, like a link with a limited number of pieces each second.
    let seeder = holder(&dir.path().join("s"), &[], &bytes, move |n, answer| {
        count.store(n, Ordering::SeqCst);
        std::thread::sleep(EACH);
        answer
    })
    .await;
    let bootstrap = seeder.handle.listen_addrs();
    let mut nodes = Vec::new();
    for number in 0..receivers {
        nodes.push(Node::start(&dir.path().join(format!("r{number}")), &bootstrap).await);
    }
    for node in &nodes {
        node.until_peers(receivers).await;
    }
    let began = std::time::Instant::now();
    let mut fetches = JoinSet::new();
    for node in &nodes {
        let (handle, holders) = (node.handle.clone(), vec![seeder.handle.peer_id()]);
        fetches.spawn(async move {
            handle.fetch(hash, None, holders, FetchLimits::default()).await.unwrap();
            assert_eq!(handle.get_blob(hash).await.unwrap().map(|bytes| Hash::of(&bytes)), Some(hash));
        });
    }
    timeout(DEADLINE, fetches.join_all()).await.unwrap();
    let took = began.elapsed();
    (served.load(Ordering::SeqCst), took)
}

#[tokio::test(flavor = "multi_thread")]
async fn receivers_get_pieces_from_each_other() {
    const PIECES: usize = 32;
    let (alone, one) = from_one_seeder(1, PIECES).await;
    let (served, four) = from_one_seeder(4, PIECES).await;
    println!("{PIECES} pieces: one receiver {one:?}, four {four:?} with {served} pieces from the seeder");
    assert_eq!(alone, PIECES);
    // From the seeder alone it would be four times as many, in four times as long.
    assert!((PIECES..3 * PIECES).contains(&served), "{served} pieces came from the seeder");
}
