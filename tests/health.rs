//! A majority of the members goes and comes back, or an operator says so: every peer judges for itself, and
//! training waits.

use crate::support::{Cluster, Peer, SOON, until, when};
use cluster_state::NodeId;
use ringrift::api::{
    cluster::NodeView,
    health::{HostState, Standing},
    status::Status,
    work::PauseCause,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

const COUNT: usize = 5;
/// Pause between two events about something that ends by itself.
const AGAIN: Duration = Duration::from_secs(5);
/// Settings with which peers play as few games as possible.
const SETTINGS: &str = "
selfplay_threads = 1
[selfplay]
simulations = 2
parallel_games = 1
segment_games = 256
segment_seconds = 60
[training]
threshold_games = 1000000
";

#[test]
fn a_majority_that_is_offline_pauses_training_until_it_is_back() {
    let mut cluster = Cluster::start(COUNT, SETTINGS);
    everybody(&cluster, "healthy at first", good);
    the_quorum_is_lost(&mut cluster);
    the_quorum_stays(&mut cluster);
    it_is_only_said(&mut cluster);
    a_member_drains(&cluster);
    a_regression_alarms_everybody(&cluster);
}

fn paused(status: &Status) -> bool {
    let pauses = |cause| {
        !status.configs.is_empty()
            && status.configs.iter().all(|it| it.training_paused.iter().any(|pause| pause.cause == cause))
    };
    pauses(PauseCause::ClusterUnhealthy)
}

fn good(status: &Status) -> bool {
    let view = &status.view;
    view.standing == Standing::Healthy
        && view.unhealthy.is_none()
        && !status.configs.is_empty()
        && status.configs.iter().all(|it| it.training_paused.is_empty())
        && view.score.is_some_and(|score| score > 99.0)
        && view.alerts.iter().all(|alert| alert.name != "cluster_unhealthy")
}

fn bad(status: &Status) -> bool {
    let view = &status.view;
    view.standing == Standing::Unhealthy
        && view.unhealthy.is_some()
        && paused(status)
        && view.score.is_some_and(|score| score < 80.0)
        && view.alerts.iter().any(|alert| alert.name == "cluster_unhealthy")
}

/// Waits until each running peer has this verdict of its own, with a quorum or without.
fn everybody(cluster: &Cluster, what: &str, says: fn(&Status) -> bool) {
    for peer in cluster.peers.iter().filter(|peer| peer.is_running()) {
        until(&format!("{} is {what}", peer.name), SOON, || {
            let status = peer.status()?;
            when(says(&status), (), || format!("{status:?}"))
        });
    }
}

/// Returns a peer's own verdicts, oldest first.
fn verdicts(peer: &Peer) -> Vec<(String, Value)> {
    let me = peer.status().expect("it answers").answered_by;
    let judged = |(name, payload): &(String, Value)| {
        name.starts_with("P2P_CLUSTER_") && payload["node_id"] == me.as_str()
    };
    peer.events().into_iter().filter(judged).collect()
}

/// Waits until the last verdict of a peer is this one; returns its payload.
fn told(peer: &Peer, event: &str) -> Value {
    until(&format!("{} tells {event}", peer.name), SOON, || {
        let all = verdicts(peer);
        let last = all.last().filter(|(name, _)| name == event).map(|(_, payload)| payload.clone());
        last.ok_or_else(|| format!("{all:?}"))
    })
}

/// Returns the indices of the peers by their role in Raft: the voters, the leader first, and the others.
fn roles(cluster: &Cluster) -> (Vec<usize>, Vec<usize>) {
    let status = cluster.peers[cluster.leader()].until_status("three voters", |it| it.voters.len() == 3);
    let index =
        |node: &NodeView| cluster.peers.iter().position(|peer| peer.name == node.host).expect("a peer");
    let mut nodes: Vec<&NodeView> = status.nodes.iter().collect();
    nodes.sort_by_key(|node| node.role != "leader");
    let (voters, learners): (Vec<_>, Vec<_>) = nodes.iter().partition(|node| node.role != "learner");
    (voters.into_iter().map(index).collect(), learners.into_iter().map(index).collect())
}

/// Kills peers, waits until every other peer has noticed by itself, and starts them again.
fn lose(cluster: &mut Cluster, victims: &[usize], quorum: bool) {
    let began = Instant::now();
    victims.iter().for_each(|index| cluster.peers[*index].kill());
    everybody(cluster, "unhealthy", bad);
    eprintln!("unhealthy {:?} after the loss of {}", began.elapsed(), victims.len());
    let survivors: Vec<usize> = (0..COUNT).filter(|index| !victims.contains(index)).collect();
    for index in &survivors {
        let told = told(&cluster.peers[*index], "P2P_CLUSTER_UNHEALTHY");
        let facts = (&told["node_count"], &told["healthy_nodes"], &told["quorum_met"]);
        assert_eq!(facts, (&json!(5), &json!(2), &json!(quorum)), "{told}");
    }
    if quorum {
        let leader = &cluster.peers[survivors[0]];
        leader.until_status("the quorum decides", |status| bad(status) && status.leader.is_some());
    } else {
        until("nobody decides", SOON, || {
            let status = cluster.peers[survivors[0]].status()?;
            when(status.stale && bad(&status), (), || format!("{status:?}"))
        });
    }
    let began = Instant::now();
    victims.iter().for_each(|index| cluster.peers[*index].spawn(None, &[]));
    cluster.whole();
    everybody(cluster, "healthy again", good);
    eprintln!("healthy {:?} after they were started again", began.elapsed());
    for index in survivors {
        told(&cluster.peers[index], "P2P_CLUSTER_HEALTHY");
    }
}

fn the_quorum_is_lost(cluster: &mut Cluster) {
    let (voters, learners) = roles(cluster);
    lose(cluster, &[voters[1], voters[2], learners[0]], false);
}

fn the_quorum_stays(cluster: &mut Cluster) {
    let (voters, learners) = roles(cluster);
    lose(cluster, &[voters[2], learners[0], learners[1]], true);
}

fn emit(peer: &Peer, event: &str, node: u64) {
    let payload = format!(r#"{{"node_id": "node-{node}"}}"#);
    let emitted = peer.read(&["events", "emit", event, "--payload", &payload]);
    assert_eq!(emitted.code, Some(0), "{emitted:?}");
}

/// An operator says that three of five live hosts are offline; a restart forgets nothing of it.
fn it_is_only_said(cluster: &mut Cluster) {
    for id in [3, 4, 5, 99] {
        emit(&cluster.peers[0], "HOST_OFFLINE", id);
    }
    everybody(cluster, "unhealthy", bad);
    for peer in &cluster.peers {
        told(peer, "P2P_CLUSTER_UNHEALTHY");
        let status = peer.status().expect("it answers");
        assert_eq!(status.view.claimed.iter().copied().collect::<Vec<_>>(), [3, 4, 5].map(NodeId));
        assert!(status.nodes.iter().all(|node| node.online), "the state is as it was: {status:?}");
    }
    assert!(cluster.peers[0].log().contains("unknown host"));
    let id = |peer: &Peer| peer.status().expect("it answers").answered_by;
    let other = cluster.peers.iter().position(|peer| id(peer) == "node-2").expect("a peer");
    let (_, code) = cluster.peers[other].stop();
    assert_eq!(code, Some(0));
    cluster.peers[other].start(None);
    everybody(cluster, "unhealthy still", bad);
    for id in [3, 4, 5] {
        emit(&cluster.peers[1], "HOST_ONLINE", id);
    }
    everybody(cluster, "healthy again", good);
    // An operator can also say that the whole cluster is unhealthy; no peer repeats it as its own verdict.
    let own =
        |cluster: &Cluster| cluster.peers[1..].iter().map(|peer| verdicts(peer).len()).collect::<Vec<_>>();
    cluster.peers.iter().for_each(|peer| drop(told(peer, "P2P_CLUSTER_HEALTHY")));
    let before = own(cluster);
    let payload = r#"{"node_count": 5, "healthy_nodes": 1, "reason": "drill"}"#;
    for (event, says) in
        [("P2P_CLUSTER_UNHEALTHY", paused as fn(&Status) -> bool), ("P2P_CLUSTER_HEALTHY", good)]
    {
        let emitted = cluster.peers[0].read(&["events", "emit", event, "--payload", payload]);
        assert_eq!(emitted.code, Some(0), "{emitted:?}");
        everybody(cluster, event, says);
    }
    assert_eq!(own(cluster), before);
    for peer in &cluster.peers {
        let hosts = peer.status().expect("it answers").view.hosts;
        assert!(hosts.len() == COUNT && hosts.values().all(|host| *host == HostState::Online), "{hosts:?}");
    }
}

/// An operator drains a member, sees what it has left, and takes it back.
fn a_member_drains(cluster: &Cluster) {
    let peer = &cluster.peers[0];
    let nobody = peer.read(&["cluster", "drain", "node-99"]);
    assert_eq!(nobody.code, Some(2), "{nobody:?}");
    let drained = peer.read(&["cluster", "drain", "n5", "--reason", "a new disk"]);
    assert_eq!(drained.code, Some(0), "{drained:?}");
    let member = |what: &str, good: fn(&Value) -> bool| {
        until(what, SOON, || {
            let (code, members) = peer.ask(&["cluster", "members"]);
            assert_eq!(code, Some(0), "{members}");
            let found = members.as_array().expect("a list").iter().find(|it| it["host"] == "n5").cloned();
            let found = found.expect("a member");
            when(good(&found), (), || found.to_string())
        });
    };
    member("it drains", |it| {
        it["draining"] == "ordered: a new disk" && it["handover"]["leases"] == 0 && it["online"] == true
    });
    let shown = peer.read(&["cluster", "members"]);
    assert!(shown.stdout.contains("drain"), "{shown:?}");
    let undone = peer.read(&["cluster", "drain", "n5", "--undo"]);
    assert_eq!(undone.code, Some(0), "{undone:?}");
    member("it works again", |it| it["draining"].is_null() && it["handover"].is_null());
}

/// Every peer raises an alert for people. Nothing trains or evaluates here, so nothing begins anew.
fn a_regression_alarms_everybody(cluster: &Cluster) {
    let payload = r#"{"config_key": "hex8_2p", "elo_drop": 150.0, "reason": "drill"}"#;
    // Without a previous champion the regression is over after two seconds, and a peer may miss it. So the
    // event is emitted again.
    let mut told: Option<Instant> = None;
    let (mut alarmed, mut shown) = (BTreeSet::new(), false);
    until("everybody is alarmed, and a person is told", SOON, || {
        if told.is_none_or(|at| at.elapsed() > AGAIN) {
            drop(cluster.peers[0].emit("REGRESSION_CRITICAL", serde_json::from_str(payload).expect("JSON"))?);
            told = Some(Instant::now());
        }
        let mut seen = Vec::new();
        for peer in cluster.peers.iter().filter(|peer| !alarmed.contains(&peer.name)) {
            let view = peer.status()?.view;
            let alert = view.alerts.iter().any(|alert| alert.name == "regression_critical:hex8_2p");
            if alert && view.score.is_some_and(|score| score <= 75.0) {
                seen.push(peer.name.clone());
            }
        }
        alarmed.extend(seen);
        if !shown {
            shown = cluster.peers[0].read(&["status"]).stdout.contains("ALERT   regression_critical:hex8_2p");
        }
        when(alarmed.len() == COUNT && shown, (), || format!("{alarmed:?} {shown}"))
    });
    everybody(cluster, "as it was", |status| {
        let mut handlers = status.events.handlers.iter();
        let handled = handlers.any(|it| it.handler == "supervisor" && it.handled > 0 && it.waiting == 0);
        let known = |daemon: &str| status.failures.iter().any(|it| it.daemon == daemon);
        handled && !known("trainer") && !known("gauntlet")
    });
}
