//! Measures requests and a transfer between two peers over loopback TCP: `cargo run --release -p p2p
//! --example loopback`.

use p2p::{Class, P2p, P2pConfig, P2pHandle};
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
    let first = P2p::start(config(&dir.path().join("a"), &[])?, &mut tasks, shutdown.clone()).await?;
    let (server, mut inbox) = first;
    let joining = config(&dir.path().join("b"), &server.listen_addrs())?;
    let (client, _client_inbox) = P2p::start(joining, &mut tasks, shutdown.clone()).await?;
    tasks.spawn(async move {
        while let Some(request) = inbox.raft.recv().await {
            let _ = request.reply.send(request.bytes); // the caller may be gone
        }
    });
    client.peers().wait_for(|peers| !peers.is_empty()).await?;

    for (bytes, callers) in [(64, 1), (16 * 1024, 1), (64, 16), (16 * 1024, 16), (1024 * 1024, 4)] {
        requests(&client, &server.peer_id(), bytes, callers).await?;
    }
    transfer(&server, &client, 256).await?;
    shutdown.cancel();
    while tasks.join_next().await.is_some() {}
    Ok(())
}

fn config(dir: &Path, bootstrap: &[String]) -> Result<P2pConfig, Box<dyn std::error::Error>> {
    Ok(P2pConfig {
        key_path: dir.join("node.key"),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse()?],
        bootstrap: bootstrap.iter().map(|addr| addr.parse()).collect::<Result<_, _>>()?,
        keys: p2p::KeyRing::new("loopback"),
        boot: 0,
        topics: vec![],
        direct_topics: vec![],
        pending_max: 64,
        members_max: 64,
        blob_dir: dir.join("blobs"),
    })
}

/// Round trips of `bytes` each way for two seconds.
async fn requests(
    client: &P2pHandle,
    peer: &str,
    bytes: usize,
    callers: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let began = Instant::now();
    let mut set = JoinSet::new();
    for _ in 0..callers {
        let (client, peer) = (client.clone(), peer.to_owned());
        set.spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < Duration::from_secs(2) {
                let sent = Instant::now();
                client.request(Class::Raft, &peer, vec![7; bytes], DEADLINE).await?;
                times.push(sent.elapsed());
            }
            Ok::<_, p2p::RequestError>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(result) = set.join_next().await {
        times.extend(result??);
    }
    let elapsed = began.elapsed().as_secs_f64();
    times.sort();
    println!(
        "{bytes:>8} B, {callers:>2} callers: p50 {:>9.1?}  p99 {:>9.1?}  {:>8.0} requests/s  {:>7.1} MiB/s each way",
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        times.len() as f64 / elapsed,
        (times.len() * bytes) as f64 / elapsed / 1048576.0,
    );
    Ok(())
}

/// Content from one disk to the other: hashing, writing and syncing included.
async fn transfer(
    from: &P2pHandle,
    to: &P2pHandle,
    mebibytes: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let content: Vec<u8> = (0..mebibytes << 17)
        .flat_map(|i| (i as u64).wrapping_mul(0x9e3779b97f4a7c15).to_le_bytes())
        .collect();
    let hash = from.put_blob(content).await?;
    let began = Instant::now();
    let report = to.fetch(hash, None, vec![from.peer_id()], p2p::transfer::FetchLimits::default()).await?;
    let elapsed = began.elapsed().as_secs_f64();
    println!(
        "{mebibytes} MiB fetched in {elapsed:.2} s: {:.0} MiB/s; dropped {:?}",
        mebibytes as f64 / elapsed,
        report.dropped
    );
    Ok(())
}
