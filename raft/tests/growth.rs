//! Founding, joining, voters, replacement.

use crate::support::{Cluster, PATIENCE, peer, quick};
use cluster_state::{Admission, Command, NodeId, Response, command::SetOnline};
use raft::{JoinError, RaftHandle, Timing};
use std::{collections::BTreeSet, fs, time::Duration};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_founder_grows_to_three_voters_and_five_nodes() {
    let mut cluster = Cluster::new(1, quick(), 1).await;
    assert_eq!(cluster.voters(), BTreeSet::from([NodeId(1)]));
    // Founding again is harmless.
    let info = cluster.info(1);
    assert_eq!(cluster.node(1).initialize(info, 2).await.unwrap(), NodeId(1));
    cluster.join(2, &[1]).await;
    cluster.until("two members", |c| c.node(2).local().nodes.len() == 2).await;
    assert_eq!(cluster.voters(), BTreeSet::from([NodeId(1)]), "two voters are worse than one");
    cluster.join(3, &[2]).await;
    cluster.until("three voters", |c| c.settled_voters().len() == 3).await;
    // Through any member, also one that does not lead, and with a peer in the list that does not exist.
    cluster.join(4, &[99, 3]).await;
    cluster.join(5, &[4]).await;
    cluster
        .until("five nodes everywhere", |c| c.up().iter().all(|n| c.node(*n).local().nodes.len() == 5))
        .await;
    assert_eq!(cluster.voters(), BTreeSet::from([1, 2, 3].map(NodeId)));
    // Learners forward as followers do.
    for n in cluster.up() {
        let command = Command::SetOnline(SetOnline {
            node: NodeId(5),
            online: n % 2 == 0,
            reason: "test".into(),
            observed_boot: cluster.node(n).local().nodes[&NodeId(5)].boot,
            at_ms: n,
        });
        let response = cluster.propose(n, command).await;
        assert!(matches!(response, Response::Online { .. } | Response::Unchanged), "{response:?}");
        let state = cluster.node(n).linearizable().await.unwrap();
        assert_eq!(state.is_online(NodeId(5)), n % 2 == 0, "through {n}");
    }
    cluster.agree().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_voter_is_replaced_and_comes_back_as_a_learner() {
    let mut cluster = Cluster::new(4, quick(), 2).await;
    let leader = cluster.leader().unwrap();
    let victim = [1, 2, 3].into_iter().find(|n| *n != leader).unwrap();
    cluster.kill(victim).await;
    let votes = |voters: BTreeSet<NodeId>| voters.contains(&NodeId(4)) && voters.len() == 3;
    cluster.until("the spare votes", |c| votes(c.settled_voters())).await;
    assert!(!cluster.voters().contains(&NodeId(victim)));
    cluster.start(victim).await;
    cluster.propose(victim, crate::support::mark(1000)).await;
    cluster.agree().await;
    assert_eq!(cluster.voters().len(), 3);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_log() {
    let mut cluster = Cluster::new(4, quick(), 3).await;
    for i in 0..20 {
        cluster.propose(1, crate::support::mark(1000 + i)).await;
    }
    cluster.agree().await;
    // A learner: it gets everything again, and the leader survives that.
    cluster.kill(4).await;
    for file in ["raft.db", "raft.db-wal", "raft.db-shm", "node.db", "node.db-wal", "node.db-shm"] {
        // Some of these may not exist.
        let _ = fs::remove_file(cluster.path(4, file));
    }
    assert_eq!(raft::stored_node(&cluster.path(4, "raft.db")).unwrap(), None);
    cluster.join(4, &[1]).await;
    cluster.agree().await;
    // A voter: refused, it could vote twice.
    let leader = cluster.leader().unwrap();
    let victim = [1, 2, 3].into_iter().find(|n| *n != leader).unwrap();
    cluster.kill(victim).await;
    let _ = fs::remove_file(cluster.path(victim, "raft.db"));
    let info = cluster.info(victim);
    let link = cluster.links.of(&peer(victim));
    let refused = RaftHandle::join(&link, &[peer(leader)], &info, &Admission::Known, PATIENCE).await;
    assert!(
        matches!(&refused, Err(JoinError::Refused(why)) if why.contains("lost its raft.db")),
        "{refused:?}"
    );
    // Nobody joins in the name of another.
    let refused =
        RaftHandle::join(&cluster.links.of("peer-8"), &[peer(leader)], &info, &Admission::Known, PATIENCE)
            .await;
    assert!(
        matches!(&refused, Err(JoinError::Refused(why)) if why.contains("cannot join as")),
        "{refused:?}"
    );
    let nobody =
        RaftHandle::join(&link, &[peer(77)], &info, &Admission::Known, Duration::from_millis(500)).await;
    assert!(matches!(&nobody, Err(JoinError::NoLeader(_))), "{nobody:?}");
    cluster.end().await;
}

/// The voters of a member's log may all be gone when it comes back, but one that it knew still answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_missed_the_change_of_voters_is_led_again() {
    let mut cluster = Cluster::new(5, quick(), 4).await;
    cluster.agree().await;
    cluster.kill(5).await;
    // Two of three voters are replaced meanwhile, and one of the new ones leads.
    for victim in [1, 2] {
        cluster.kill(victim).await;
        let replaced = |voters: BTreeSet<NodeId>| voters.len() == 3 && !voters.contains(&NodeId(victim));
        cluster.until("a spare votes", |c| replaced(c.settled_voters())).await;
        cluster.start(victim).await;
        cluster.agree().await;
    }
    let known = BTreeSet::from([1, 2, 3].map(NodeId));
    let new = cluster.voters().into_iter().find(|voter| !known.contains(voter)).unwrap();
    let leader = cluster.leader().unwrap();
    if NodeId(leader) != new {
        cluster.node(leader).transfer_leader(new).await.unwrap();
    }
    cluster.until("a voter that it does not know leads", |c| c.leader().map(NodeId) == Some(new)).await;
    cluster.start(5).await;
    cluster.propose(5, crate::support::mark(1000)).await;
    cluster.agree().await;
    cluster.end().await;
}

/// A node may be killed after it was let in and before its log has an entry: it still knows whom to follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_that_was_killed_at_once_comes_back() {
    let mut cluster = Cluster::new(3, quick(), 5).await;
    let info = cluster.info(4);
    let link = cluster.links.of(&peer(4));
    let joined = RaftHandle::join(&link, &[peer(1)], &info, &Admission::Known, PATIENCE).await.unwrap();
    for n in cluster.up() {
        cluster.links.cut(&peer(4), &peer(n), true);
    }
    cluster.let_in(4, joined);
    cluster.start(4).await;
    assert_eq!(cluster.node(4).metrics().borrow().last_log, None);
    cluster.kill(4).await;
    cluster.forget_introduction(4);
    cluster.links.heal();
    cluster.start(4).await;
    cluster.agree().await;
    assert_eq!(cluster.node(4).local().nodes.len(), 4);
    cluster.end().await;
}

/// Node 3 becomes a voter while it hears nothing, and the only voter that its log names dies: the other two
/// are a majority, so they go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_does_not_know_yet_that_it_votes_helps_to_elect() {
    // A silent member counts as answering for as long as an election may take, so that it becomes a voter
    // after the cut; a busy machine has two seconds for the steps before.
    let seconds = Duration::from_secs;
    let timing = Timing { election_min: seconds(2), election_max: seconds(3), stable: seconds(2), ..quick() };
    let mut cluster = Cluster::new(1, timing, 6).await;
    cluster.join(2, &[1]).await;
    cluster.join(3, &[1]).await;
    cluster.until("node 3 knows the members", |c| c.node(3).local().nodes.len() == 3).await;
    for n in [1, 2] {
        cluster.links.cut(&peer(3), &peer(n), true);
    }
    // The change is two entries, and node 2 has both: with the first alone, node 1 would still be needed.
    let last = |c: &Cluster, n| c.node(n).metrics().borrow().last_log.unwrap();
    cluster.until("node 2 knows the voters", |c| last(c, 2) == last(c, 3) + 2).await;
    assert_eq!(cluster.node(2).metrics().borrow().voters, BTreeSet::from([1, 2, 3].map(NodeId)));
    assert_eq!(cluster.node(3).metrics().borrow().voters, BTreeSet::from([NodeId(1)]));
    cluster.kill(1).await;
    cluster.links.heal();
    cluster.propose(2, crate::support::mark(1000)).await;
    cluster.agree().await;
    cluster.end().await;
}
