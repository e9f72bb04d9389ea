//! Nodes that were away while the voters changed, and whole clusters that start again.

use crate::support::{Cluster, PATIENCE, mark, peer, quick};
use cluster_state::{Command, NodeId, Response, command::RemoveNode};
use std::time::{Duration, Instant};

fn removal(node: u64) -> Command {
    let secret = [node as u8; 32];
    RemoveNode { node: NodeId(node), ban: false, secret, reason: "a test".into(), at_ms: 1 }.into()
}

/// Removes a node, also if a leader has only just been elected.
async fn remove(cluster: &Cluster, through: u64, node: u64) {
    let begun = Instant::now();
    loop {
        match cluster.node(through).propose_for_operator(removal(node)).await {
            Ok(Response::Removed { .. } | Response::Unchanged) => return,
            other => assert!(begun.elapsed() < PATIENCE, "{other:?}\n{}", cluster.describe()),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A leader is cut off and removed, and goes on under its old term. A voter that was away all the time
/// reaches it, and another voter, but not the new leader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_leader_does_not_lead_a_node_that_was_away() {
    for seed in [41, 42] {
        let mut cluster = Cluster::new(5, quick(), seed).await;
        cluster.agree().await;
        let old = cluster.leader().unwrap();
        let away = cluster.voters().into_iter().find(|id| id.0 != old).unwrap().0;
        let known = cluster.node(away).metrics().borrow().last_log;
        cluster.kill(away).await;
        // The change is two entries: with the first alone, the node that is away would still be needed.
        let replaced = |c: &Cluster| {
            let voters = c.settled_voters();
            voters.len() == 3 && !voters.contains(&NodeId(away))
        };
        cluster.until("another votes", replaced).await;
        let others: Vec<u64> = cluster.up().into_iter().filter(|n| *n != old).collect();
        for other in &others {
            cluster.links.cut(&peer(old), &peer(*other), true);
        }
        cluster.until("a new leader", |c| others.iter().any(|n| c.node(*n).is_leader())).await;
        remove(&cluster, others[0], old).await;
        cluster.until("one leader", |c| others.iter().filter(|n| c.node(**n).is_leader()).count() == 1).await;
        let leader = others.iter().copied().find(|n| cluster.node(*n).is_leader()).unwrap();
        cluster.links.cut(&peer(away), &peer(leader), true);
        cluster.forget_introduction(away);
        cluster.start(away).await;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(6) {
            let last = cluster.node(away).metrics().borrow().last_log;
            assert!(last <= known, "seed {seed}: it follows the removed one\n{}", cluster.describe());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cluster.links.cut(&peer(away), &peer(leader), false);
        cluster.kill(old).await;
        cluster.agree().await;
        cluster.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_cluster_starts_again_also_without_one_voter() {
    let mut cluster = Cluster::new(3, quick(), 43).await;
    cluster.propose(1, mark(1000)).await;
    cluster.agree().await;
    for (dead, round) in [(None, 1), (Some(2), 2), (None, 3)] {
        for n in cluster.up() {
            cluster.kill(n).await;
            cluster.forget_introduction(n);
        }
        for n in (1..=3).filter(|n| Some(*n) != dead) {
            cluster.start(n).await;
        }
        let begun = Instant::now();
        cluster.propose(1, mark(1000 + round)).await;
        cluster.agree().await;
        println!("MEASURED whole restart without {dead:?}: {:?}", begun.elapsed());
        assert!(begun.elapsed() < PATIENCE);
    }
    cluster.end().await;
}

/// Two of the three voters that a member without a vote knows are gone when it comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_comes_back_when_most_of_the_voters_that_it_knows_are_gone() {
    let mut cluster = Cluster::new(6, quick(), 44).await;
    cluster.agree().await;
    let voters = cluster.voters();
    let away = cluster.up().into_iter().find(|n| !voters.contains(&NodeId(*n))).unwrap();
    cluster.kill(away).await;
    cluster.forget_introduction(away);
    for _ in 0..2 {
        let leader = cluster.leader().unwrap();
        let gone = voters.iter().map(|id| id.0).find(|n| *n != leader && cluster.up().contains(n)).unwrap();
        remove(&cluster, leader, gone).await;
        cluster.kill(gone).await;
        let without = |c: &Cluster| {
            let voters = c.settled_voters();
            voters.len() == 3 && !voters.contains(&NodeId(gone)) && c.leaders().len() == 1
        };
        cluster.until("the others go on", without).await;
    }
    cluster.start(away).await;
    cluster.agree().await;
    cluster.propose(away, mark(2000)).await;
    cluster.agree().await;
    cluster.end().await;
}
