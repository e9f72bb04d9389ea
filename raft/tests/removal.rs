//! Members that are removed: the others go on.

use crate::support::{Cluster, PATIENCE, peer, quick};
use cluster_state::{
    Admission, Command, NodeId, Refusal, Response,
    command::{RemoveNode, SetOnline},
};
use raft::{JoinError, ProposeError, RaftHandle};
use std::time::Duration;

fn removal(node: u64) -> Command {
    let secret = [node as u8; 32];
    RemoveNode { node: NodeId(node), ban: false, secret, reason: "a test".into(), at_ms: 1 }.into()
}

/// Removes a node as an operator at `through` does, and cuts it off, as the others do when they know.
async fn remove(cluster: &Cluster, through: u64, node: u64) {
    let removed = cluster.node(through).propose_for_operator(removal(node)).await;
    // After a timeout the command is proposed again.
    assert!(
        matches!(removed, Ok(Response::Removed { .. } | Response::Unchanged)),
        "{removed:?}\n{}",
        cluster.describe()
    );
    for other in cluster.up().into_iter().filter(|other| *other != node) {
        cluster.links.cut(&peer(node), &peer(other), true);
    }
}

/// The others have a leader without `gone`, and every one of them can propose.
async fn go_on(cluster: &Cluster, gone: u64, voters: usize) {
    let others: Vec<u64> = cluster.up().into_iter().filter(|n| *n != gone).collect();
    let without = |c: &Cluster| {
        others.iter().all(|n| {
            let metrics = c.node(*n).metrics().borrow().clone();
            let led = metrics.leader.is_some_and(|(id, _)| id != NodeId(gone));
            let member = metrics.voters.union(&metrics.learners).any(|id| *id == NodeId(gone));
            led && !member && metrics.voters.len() == voters && c.node(*n).local().nodes.len() == others.len()
        })
    };
    cluster.until("the others are alone", without).await;
    for n in &others {
        let subject = NodeId(others[0]);
        let observed_boot = cluster.node(*n).local().nodes[&subject].boot;
        let (online, reason) = (n % 2 == 0, "test".into());
        let command = SetOnline { node: subject, online, reason, observed_boot, at_ms: *n };
        cluster.propose(*n, command.into()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_a_voter_and_the_leader_are_removed_one_after_another() {
    let mut cluster = Cluster::new(6, quick(), 11).await;
    cluster.agree().await;
    // A learner, asked for at itself.
    let voters = cluster.voters();
    let learner = cluster.up().into_iter().find(|n| !voters.contains(&NodeId(*n))).unwrap();
    remove(&cluster, learner, learner).await;
    go_on(&cluster, learner, 3).await;
    cluster.kill(learner).await;
    // A voter that does not lead.
    let leader = cluster.leader().unwrap();
    let voter = cluster.voters().into_iter().find(|id| *id != NodeId(leader)).unwrap().0;
    remove(&cluster, leader, voter).await;
    go_on(&cluster, voter, 3).await;
    // It may ask for nothing any more, not even to come back as it is.
    let asked = cluster.node(voter).propose_within(removal(9), Duration::from_millis(300)).await;
    assert!(matches!(asked, Err(ProposeError::NoLeader | ProposeError::Timeout)), "{asked:?}");
    cluster.links.heal();
    let info = cluster.info(voter);
    let through = [peer(cluster.leader().unwrap())];
    let link = cluster.links.of(&peer(voter));
    let joined = RaftHandle::join(&link, &through, &info, &Admission::Known, PATIENCE).await;
    assert!(matches!(&joined, Err(JoinError::Refused(why)) if why.contains("was removed")), "{joined:?}");
    cluster.kill(voter).await;
    // The leader.
    let leader = cluster.leader().unwrap();
    let other = cluster.up().into_iter().find(|n| *n != leader).unwrap();
    remove(&cluster, other, leader).await;
    go_on(&cluster, leader, 3).await;
    cluster.kill(leader).await;
    cluster.agree().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_cluster_shrinks_to_one_node_and_not_further() {
    let mut cluster = Cluster::new(3, quick(), 12).await;
    cluster.agree().await;
    // With a vote less there would be two voters: one is left.
    let leader = cluster.leader().unwrap();
    let voter = cluster.up().into_iter().find(|n| *n != leader).unwrap();
    remove(&cluster, leader, voter).await;
    go_on(&cluster, voter, 1).await;
    cluster.kill(voter).await;
    // The only voter, which leads.
    let leader = cluster.leader().unwrap();
    let last = cluster.up().into_iter().find(|n| *n != leader).unwrap();
    remove(&cluster, last, leader).await;
    go_on(&cluster, leader, 1).await;
    cluster.kill(leader).await;
    let refused = cluster.node(last).propose_for_operator(removal(last)).await;
    assert_eq!(refused, Err(ProposeError::Refused(Refusal::LastNode(NodeId(last)))));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_remove_a_voter_takes_no_vote_from_it() {
    let cluster = Cluster::new(3, quick(), 13).await;
    cluster.agree().await;
    let leader = cluster.leader().unwrap();
    for (through, node) in [(1, 2), (2, 3), (leader, leader)] {
        let refused = cluster.node(through).propose(removal(node)).await;
        assert!(matches!(refused, Err(ProposeError::Refused(Refusal::NotAllowed(_)))), "{refused:?}");
    }
    assert_eq!((cluster.voters().len(), cluster.node(leader).local().nodes.len()), (3, 3));
    cluster.end().await;
}
