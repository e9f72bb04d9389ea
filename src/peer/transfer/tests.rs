//! Holders that refuse, break off and lie, by each way of transfer, against a node with a real store and no
//! useful swarm.

use super::*;
use p2p::{
    KeyRing, P2p, P2pConfig, Signer,
    blobs::{Outline, PIECE_BYTES},
};
use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

/// How the test server changes its response to one range request.
type Trick = fn(request: usize, body: Vec<u8>) -> Vec<u8>;

fn content(pieces: usize) -> Vec<u8> {
    (0..pieces * PIECE_BYTES - 99).map(|i| (i ^ (i >> 7) ^ (i >> 13)) as u8).collect()
}

/// A node without peers.
async fn node(dir: &Path, tasks: &mut JoinSet<()>) -> P2pHandle {
    let config = P2pConfig {
        key_path: dir.join("node.key"),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        bootstrap: vec![],
        keys: KeyRing::new("ways"),
        boot: 1,
        topics: vec![],
        direct_topics: Vec::new(),
        pending_max: 64,
        members_max: 64,
        blob_dir: dir.join("blobs"),
    };
    P2p::start(config, tasks, CancellationToken::new()).await.unwrap().0
}

/// Serves `content` with its body changed by `trick`; counts the bytes of content that were sent.
async fn server(content: Vec<u8>, trick: Trick, tasks: &mut JoinSet<()>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    tasks.spawn(async move {
        let outline = Outline::read(&content[..], 0).unwrap().encode().unwrap();
        let mut ranges = 0;
        while let Ok((stream, _)) = listener.accept().await {
            // The client gives up some of the requests.
            let _ = answer(stream, &content, &outline, trick, &mut ranges, &count).await;
        }
    });
    (address, sent)
}

async fn answer(
    mut stream: TcpStream,
    content: &[u8],
    outline: &[u8],
    trick: Trick,
    ranges: &mut usize,
    sent: &AtomicUsize,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(&mut stream).lines();
    let (mut first, mut range) = (String::new(), None);
    while let Some(line) = lines.next_line().await? {
        if line.is_empty() {
            break;
        }
        if let Some(bounds) = line.to_lowercase().strip_prefix("range: bytes=") {
            let (from, to) = bounds.split_once('-').unwrap();
            range = Some(from.parse::<usize>().unwrap()..to.parse::<usize>().unwrap() + 1);
        }
        if first.is_empty() {
            first = line;
        }
    }
    let (status, length, body) = match range {
        _ if first.contains("/outline") => ("200 OK", outline.len(), outline.to_vec()),
        Some(range) => {
            *ranges += 1;
            ("206 Partial Content", range.len(), trick(*ranges, content[range].to_vec()))
        }
        None => ("404 Not Found", 0, Vec::new()),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    if !first.contains("/outline") {
        sent.fetch_add(body.len(), Ordering::SeqCst);
    }
    stream.shutdown().await
}

fn holder(host: &str, http: Option<SocketAddr>) -> Holder {
    Holder { peer: "12D3KooWnobody".into(), host: host.into(), http }
}

fn wanted(content: &[u8]) -> WantedContent {
    WantedContent { hash: Hash::of(content), size: Some(content.len() as u64), bytes_max: 64 << 20 }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_swarm_http_delivers_also_when_it_breaks_and_a_liar_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut tasks = JoinSet::new();
    let p2p = node(dir.path(), &mut tasks).await;
    let signer = Signer::load(&dir.path().join("node.key")).unwrap();
    let content = content(6);
    let want = wanted(&content);
    let settings = DistributionConfig::default();
    let (liar, _) = server(
        content.clone(),
        |request, mut body| {
            // The proof of the size is right, but the pieces are not.
            if request > 1 {
                body[PIECE_BYTES + 7] ^= 1;
            }
            body
        },
        &mut tasks,
    )
    .await;
    let alone = Box::pin(fetch(&p2p, &signer, &settings, want, &[holder("liar", Some(liar))])).await;
    let told = alone.unwrap_err().to_string();
    assert!(told.contains("swarm: ") && told.contains("it sent a wrong piece"), "{told}");
    assert!(!p2p.blobs().has(want.hash));
    // The server sends two and a half pieces, then closes the connection; afterwards it sends a little more
    // than one piece at a time.
    let (breaks, sent) = server(
        content.clone(),
        |request, mut body| {
            body.truncate(if request == 1 { 5 * PIECE_BYTES / 2 } else { PIECE_BYTES + 9 });
            body
        },
        &mut tasks,
    )
    .await;
    let (refuses, _) = server(content.clone(), |_, _| Vec::new(), &mut tasks).await;
    let holders = [holder("liar", Some(liar)), holder("none", None), holder("breaks", Some(breaks))];
    let way = Box::pin(fetch(&p2p, &signer, &settings, want, &holders)).await.unwrap();
    assert_eq!(way, Some(TransferMethod::Http));
    assert!(p2p.get_blob(want.hash).await.unwrap() == Some(content.clone()));
    // The liar had proved two of six pieces; none was fetched twice except those that broke in the middle.
    assert!(sent.load(Ordering::SeqCst) < 5 * PIECE_BYTES, "{sent:?}");
    assert_eq!(Box::pin(fetch(&p2p, &signer, &settings, want, &holders)).await.unwrap(), None, "it is here");

    let other = wanted(b"nobody has this");
    let gone = [holder("refuses", Some(refuses)), holder("breaks", Some(breaks))];
    let told = Box::pin(fetch(&p2p, &signer, &settings, other, &gone)).await.unwrap_err().to_string();
    assert!(told.contains("it sent a wrong list of pieces"), "{told}");
    // The holder offers more than is accepted, and another size than is known.
    let second = node(&dir.path().join("second"), &mut tasks).await;
    let small = WantedContent { bytes_max: 1000, ..want };
    let told =
        Box::pin(fetch(&second, &signer, &settings, small, &holders[2..])).await.unwrap_err().to_string();
    assert!(told.contains("too many"), "{told}");
    let odd = WantedContent { size: Some(7), ..want };
    let told =
        Box::pin(fetch(&second, &signer, &settings, odd, &holders[2..])).await.unwrap_err().to_string();
    assert!(told.contains("wrong size"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_swarm_and_http_the_operators_command_delivers_and_a_liar_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut tasks = JoinSet::new();
    let p2p = node(dir.path(), &mut tasks).await;
    let signer = Signer::load(&dir.path().join("node.key")).unwrap();
    let content = content(2);
    let want = wanted(&content);
    // Each host has its own folder, as on that host.
    let hosts = dir.path().join("hosts");
    for (host, bytes) in [("honest", &content[..]), ("liar", &content[1..])] {
        std::fs::create_dir_all(hosts.join(host).join("blobs")).unwrap();
        std::fs::write(hosts.join(host).join("blobs").join(want.hash.to_string()), bytes).unwrap();
    }
    let script = dir.path().join("fetch");
    std::fs::write(&script, "#!/bin/sh\nset -eu\ncp \"$1/$(echo \"$2\" | tr : /)\" \"$3\"\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let word = |path: &Path| path.to_str().unwrap().to_owned();
    let command = vec![word(&script), word(&hosts), "{host}:{path}".to_owned(), "{target}".to_owned()];
    let off = DistributionConfig::default();
    let settings = DistributionConfig { rsync: command, ..off.clone() };
    let gone: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let all = [holder("-e", None), holder("liar", None), holder("honest", Some(gone))];

    let told = Box::pin(fetch(&p2p, &signer, &off, want, &all)).await.unwrap_err().to_string();
    assert!(told.contains("http") && !told.contains("rsync"), "off by default: {told}");
    let told = Box::pin(fetch(&p2p, &signer, &settings, want, &all[..2])).await.unwrap_err().to_string();
    assert!(told.contains("no host name") && told.contains("is not the content"), "{told}");
    assert!(!p2p.blobs().has(want.hash));
    assert_eq!(
        Box::pin(fetch(&p2p, &signer, &settings, want, &all)).await.unwrap(),
        Some(TransferMethod::Operator)
    );
    assert!(p2p.get_blob(want.hash).await.unwrap() == Some(content));
}

#[test]
fn holders_that_are_online_come_first() {
    use crate::daemons::fixture::World;
    let mut world = World::with_nodes(4);
    world.offline(2);
    let found = holders(&world.state, NodeId(3), &BTreeSet::from([1, 2, 3, 4, 9].map(NodeId)), |_| true);
    let peers: Vec<String> = found.into_iter().map(|holder| holder.peer).collect();
    assert_eq!(peers, [1, 4, 2].map(cluster_state::samples::peer_id));
}
