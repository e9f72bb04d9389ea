//! How fast commands commit, with real files.

use crate::support::{Cluster, mark, quick};
use cluster_state::ModelId;
use cluster_state::{NodeId, command::ModelHeld};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_per_second() {
    let cluster = Cluster::new(3, quick(), 21).await;
    let leader = cluster.leader().unwrap();
    let mut times = Vec::new();
    let begun = Instant::now();
    for i in 0..300 {
        let at = Instant::now();
        cluster.propose(leader, mark(1000 + i)).await;
        times.push(at.elapsed());
    }
    let sequential = 300.0 / begun.elapsed().as_secs_f64();
    times.sort();
    println!("MEASURED sequential {sequential:.0}/s p50 {:?} p99 {:?}", times[150], times[297]);

    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..32 {
        let node = cluster.node(leader).clone();
        clients.spawn(async move {
            let mut times = Vec::new();
            for i in 0..40 {
                let at = Instant::now();
                let node_id = 1 + client % 3;
                let command = cluster_state::Command::ModelHeld(ModelHeld {
                    model: ModelId(wire::Hash([9; 32])),
                    node: NodeId(node_id),
                    at_ms: i,
                });
                let refused = node.propose(command).await;
                assert!(matches!(refused, Err(raft::ProposeError::Refused(_))), "{refused:?}");
                times.push(at.elapsed());
            }
            times
        });
    }
    let mut times: Vec<Duration> = clients.join_all().await.into_iter().flatten().collect();
    let concurrent = 1280.0 / begun.elapsed().as_secs_f64();
    times.sort();
    println!("MEASURED 32 clients {concurrent:.0}/s p50 {:?} p99 {:?}", times[640], times[1267]);
    // Sharing commits must pay, even on a busy machine.
    assert!(concurrent > sequential, "{concurrent} {sequential}");
    cluster.agree().await;
    cluster.end().await;
}
