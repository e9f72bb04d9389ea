//! How fast three nodes with real, synced files commit, without a network between them.

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod support;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use raft::RaftHandle;
use std::time::{Duration, Instant};
use support::{Cluster, mark, quick};
use tokio::{runtime::Runtime, task::JoinSet};

/// Commits `count` commands one after the other.
async fn commit(node: RaftHandle, count: u64) {
    for i in 0..count {
        // Refused or not, it is committed and applied.
        let _ = node.propose(mark(1000 + i)).await;
    }
}

fn commits(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let cluster = runtime.block_on(Cluster::new(3, quick(), 1));
    let leader = cluster.leader().expect("a leader");
    let mut group = c.benchmark_group("commit");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for (name, through, clients) in
        [("sequential", leader, 1u64), ("forwarded", 1 + leader % 3, 1), ("32 clients", leader, 32)]
    {
        group.throughput(Throughput::Elements(clients));
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                runtime.block_on(async {
                    let begun = Instant::now();
                    let mut tasks = JoinSet::new();
                    for _ in 0..clients {
                        tasks.spawn(commit(cluster.node(through).clone(), rounds));
                    }
                    tasks.join_all().await;
                    begun.elapsed()
                })
            });
        });
    }
    group.finish();
    runtime.block_on(cluster.end());
}

criterion_group!(benches, commits);
criterion_main!(benches);
