//! Kills, cuts and losses.

use crate::support::{Cluster, PATIENCE, mark, peer, quick};
use cluster_state::{Command, NodeId, Response, command::SetLeader};
use raft::{ProposeError, ReadError, Timing};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Kills the leader again and again; the time to the next committed command is that without a leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_follows_a_kill() {
    let timing = Timing { voters_tick: Duration::from_millis(100), ..Timing::default() };
    let mut cluster = Cluster::new(3, timing, 11).await;
    let mut gaps = Vec::new();
    for round in 0..20 {
        let leader = cluster.leader().unwrap();
        let other = cluster.up().into_iter().find(|n| *n != leader).unwrap();
        cluster.propose(other, mark(1000 + 2 * round)).await;
        let begun = Instant::now();
        cluster.kill(leader).await;
        cluster.propose(other, mark(1001 + 2 * round)).await;
        gaps.push(begun.elapsed());
        cluster.start(leader).await;
        cluster.agree().await;
        let term = cluster.node(other).local().leader.clone().unwrap();
        assert_eq!(term.elections, 2 * round + 2, "a committed command was lost");
    }
    gaps.sort();
    let (p50, max) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    println!("MEASURED leader kill to next commit, 20 kills: p50 {p50:?}, max {max:?}");
    // A loaded machine may be late now and then.
    assert!(p50 < Duration::from_secs(3), "{gaps:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_heals_disturbs_nobody() {
    let cluster = Cluster::new(3, quick(), 12).await;
    let leader = cluster.leader().unwrap();
    let lonely = cluster.up().into_iter().find(|n| *n != leader).unwrap();
    let term = cluster.node(leader).metrics().borrow().term;
    for n in cluster.up() {
        cluster.links.cut(&peer(lonely), &peer(n), true);
    }
    let busy = cluster.node(lonely).linearizable_within(Duration::from_millis(300)).await;
    assert!(matches!(busy, Err(ReadError::NoLeader)), "an isolated node cannot read: {busy:?}");
    // Several election timeouts, with commands meanwhile.
    let begun = Instant::now();
    let mut i = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        i += 1;
        cluster.propose(leader, mark(1000 + i)).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.links.heal();
    cluster.agree().await;
    assert_eq!(cluster.leader(), Some(leader));
    assert!(
        cluster.up().iter().all(|n| cluster.node(*n).metrics().borrow().term == term),
        "{}",
        cluster.describe()
    );
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_leader_commits_nothing_and_reads_nothing() {
    let cluster = Cluster::new(3, quick(), 13).await;
    cluster.propose(1, mark(1000)).await;
    cluster.agree().await;
    let old = cluster.leader().unwrap();
    for n in cluster.up().into_iter().filter(|n| *n != old) {
        cluster.links.cut(&peer(old), &peer(n), true);
    }
    let write = cluster.node(old).propose_within(mark(9999), Duration::from_secs(1)).await;
    assert!(matches!(write, Err(ProposeError::Timeout)), "{write:?}");
    let read = cluster.node(old).linearizable_within(Duration::from_millis(700)).await;
    assert!(matches!(read, Err(ReadError::NoLeader)), "{read:?}");
    let other = cluster.up().into_iter().find(|n| *n != old).unwrap();
    cluster.until("another leader", |c| c.leader().is_some_and(|n| n != old)).await;
    cluster.propose(other, mark(2000)).await;
    assert_eq!(cluster.node(old).local().leader.as_ref().unwrap().term, 1000);
    cluster.links.heal();
    cluster.agree().await;
    let leader = cluster.node(old).linearizable().await.unwrap().leader.clone().unwrap();
    assert_eq!(leader.term, 2000, "what the minority leader wrote is gone, or came before");
    cluster.until("one leader", |c| c.leaders().len() == 1).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_longer_than_the_log_catches_up() {
    let timing = Timing { snapshot_entries: 50, ..quick() };
    let mut cluster = Cluster::new(4, timing, 14).await;
    let leader = cluster.leader().unwrap();
    cluster.kill(4).await;
    for i in 0..400 {
        cluster.propose(leader, mark(1000 + i)).await;
    }
    cluster.start(4).await;
    cluster.agree().await;
    // A newcomer starts from the snapshot, too, and the snapshot survives restarts of everybody.
    for n in cluster.up() {
        cluster.kill(n).await;
    }
    for n in 1..=4 {
        cluster.start(n).await;
    }
    cluster.join(5, &[2]).await;
    cluster.propose(5, mark(5000)).await;
    cluster.agree().await;
    assert_eq!(cluster.node(5).local().leader.as_ref().unwrap().elections, 401);
    let files: Vec<_> = cluster.up().into_iter().map(|n| cluster.path(n, "raft.db")).collect();
    let held = cluster.end().await;
    for file in files {
        let db = rusqlite::Connection::open(&file).unwrap();
        let entries: u64 =
            db.query_row("SELECT count(*) FROM log", [], |row| row.get::<_, i64>(0)).unwrap() as u64;
        assert!(entries < 450, "{entries} entries are kept, snapshots come every 50");
    }
    drop(held);
}

/// Kills a lone member that has done `commands` things, removes a database, and starts it again.
async fn refuses_to_start_without(database: &str, commands: u64, seed: u64) {
    let timing = Timing { snapshot_entries: 20, ..quick() };
    let mut cluster = Cluster::new(1, timing, seed).await;
    for i in 0..commands {
        cluster.propose(1, mark(1000 + i)).await;
    }
    cluster.kill(1).await;
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(cluster.path(1, &format!("{database}{end}")));
    }
    let mut tasks = tokio::task::JoinSet::new();
    let link = cluster.links.of(&peer(1));
    let started = raft::RaftHandle::start(
        cluster.config(1),
        link,
        crate::support::AnybodyMay,
        &mut tasks,
        Default::default(),
    )
    .await;
    let error = started.map(|_| ()).expect_err("it must not start");
    let corrupt = matches!(&error, raft::StartError::Store(raft::StoreError::Corrupt { .. }));
    assert!(corrupt && tasks.is_empty(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_lags_behind_a_purged_log_is_refused() {
    refuses_to_start_without("node.db", 400, 15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_log_is_refused() {
    refuses_to_start_without("raft.db", 5, 16).await;
}

/// Random kills, cuts, losses and delays under load. Whatever was acknowledged is there
/// in the end, in order; reads never go back.
async fn chaos(seed: u64) {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(seed);
    let timing = Timing { snapshot_entries: 40, ..quick() };
    let mut cluster = Cluster::new(5, timing, seed).await;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut next = 0;
    for step in 0..10 {
        let up = cluster.up();
        let pick = up[rng.random_range(0..up.len())];
        match rng.random_range(0..5) {
            0 | 1 if up.len() == 5 => {
                let victim = if rng.random_bool(0.5) { cluster.leader().unwrap_or(pick) } else { pick };
                cluster.kill(victim).await;
            }
            0..=2 => {
                for n in 1..=5 {
                    if !cluster.up().contains(&n) {
                        cluster.start(n).await;
                    }
                }
            }
            3 => {
                for n in up.iter().filter(|n| **n != pick) {
                    cluster.links.cut(&peer(pick), &peer(*n), rng.random_bool(0.7));
                }
            }
            _ => cluster.links.heal(),
        }
        cluster.links.trouble(rng.random_range(0.0..0.1), 0..=rng.random_range(0..8));
        let up = cluster.up();
        let through = cluster.node(up[rng.random_range(0..up.len())]).clone();
        for _ in 0..3 {
            next += 1;
            let command = Command::SetLeader(SetLeader { node: NodeId(1), term: 1000 + next, at_ms: next });
            match through.propose_within(command, Duration::from_millis(700)).await {
                Ok(Response::Done | Response::Unchanged) => {
                    acknowledged.store(next, Ordering::SeqCst);
                }
                Ok(other) => panic!("seed {seed} step {step}: {other:?}"),
                Err(ProposeError::NoLeader | ProposeError::Timeout) => {}
                // A copy of a later command, sent before, came first: this one is void but committed.
                Err(ProposeError::Refused(cluster_state::Refusal::StaleTerm { .. })) => {}
                Err(e) => panic!("seed {seed} step {step}: {e}"),
            }
            let floor = acknowledged.load(Ordering::SeqCst);
            if let Ok(state) = through.linearizable_within(Duration::from_millis(400)).await {
                let seen = state.leader.as_ref().map_or(0, |l| l.term.saturating_sub(1000));
                assert!(seen >= floor, "seed {seed} step {step}: read {seen} after {floor} was acknowledged");
            }
        }
    }
    cluster.links.heal();
    cluster.links.trouble(0.0, 0..=0);
    for n in 1..=5 {
        if !cluster.up().contains(&n) {
            cluster.start(n).await;
        }
    }
    cluster.propose(1, mark(100_000)).await;
    cluster.agree().await;
    let failed: Vec<_> =
        cluster.up().iter().filter_map(|n| cluster.node(*n).metrics().borrow().failed.clone()).collect();
    assert!(failed.is_empty(), "seed {seed}: {failed:?}");
    assert!(acknowledged.load(Ordering::SeqCst) > 0, "seed {seed}: nothing was tested");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_of_several_seeds() {
    let chosen = std::env::var("RAFT_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = chosen.map_or_else(|| (100..103).collect(), |seed| vec![seed]);
    assert!(!seeds.is_empty());
    // They mostly wait, so they wait together.
    let mut rounds = tokio::task::JoinSet::new();
    for seed in seeds {
        rounds.spawn(chaos(seed));
    }
    rounds.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_when_asked_and_nothing_spins_when_idle() {
    let cluster = Cluster::new(3, quick(), 16).await;
    let old = cluster.leader().unwrap();
    let to = cluster.up().into_iter().find(|n| *n != old).unwrap();
    cluster.node(old).transfer_leader(NodeId(to)).await.unwrap();
    let took = cluster.until("the leader moved", |c| c.leaders() == [to]).await;
    assert!(took < PATIENCE);
    cluster.propose(old, mark(1000)).await;
    cluster.agree().await;
    let before = cluster.links.calls();
    tokio::time::sleep(Duration::from_secs(1)).await; // the second that is measured
    let calls = cluster.links.calls() - before;
    assert!(calls < 100, "{calls} requests in a second of idleness");
    cluster.end().await;
}
