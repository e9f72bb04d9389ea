//! The network of five real peers is cut, with the leader on the smaller side, while peers are killed and
//! stalled and all of them emit. The greater side goes on under another leader, and the smaller one reports
//! its state as stale. Afterwards every event that either side acknowledged is in every log, once and in
//! causal order. `RINGRIFT_CUT_SECONDS=60` chooses how long the cut lasts, `RINGRIFT_SEED=7` the course of
//! things.

use super::chaos::{PEERS, Storm};
use crate::support::{Network, SOON, turn, until, when};
use std::time::{Duration, Instant};

/// How long the cut lasts, unless the environment says otherwise.
const CUT_SECONDS: u64 = 15;
/// How long the test may take without the cut.
const REST: Duration = Duration::from_secs(300);
/// How long peers are killed and stalled after the cut.
const AFTER: Duration = Duration::from_secs(4);

#[test]
fn peers_that_are_cut_off_lose_nothing() {
    let asked = std::env::var("RINGRIFT_CUT_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let cut = Duration::from_secs(asked.unwrap_or(CUT_SECONDS));
    let Some(network) = in_turn(cut + REST) else { return };
    let mut storm = Storm::new(Some(network));
    let away = smaller_side(&storm);
    let network = storm.cluster.network.as_ref().expect("it is in one");
    network.cut(&away);
    let began = Instant::now();
    let leader = another_leads(&storm, &away);
    println!(
        "{leader} leads {:.1} s after the leader and one more were cut off",
        began.elapsed().as_secs_f64()
    );
    let before = storm.acknowledged;
    storm.blow(began + cut);
    let during = |peer: usize| storm.acknowledged[peer] - before[peer];
    let smaller: usize = away.into_iter().map(during).sum();
    let greater = (0..PEERS).map(during).sum::<usize>() - smaller;
    println!(
        "within {cut:?} of a cut, events acknowledged by the greater side: {greater}, the smaller: {smaller}"
    );
    assert!(greater > 30 && smaller > 10, "both sides go on");
    storm.cluster.network.as_ref().expect("it is in one").mend();
    storm.blow(Instant::now() + AFTER);
    storm.calm();
}

/// Waits until no other test runs a cluster, and returns the network. The test that runs inside the network
/// has the turn of the test that waits for it.
fn in_turn(limit: Duration) -> Option<Network> {
    let _turn = turn();
    Network::enter("delivery::partition::peers_that_are_cut_off_lose_nothing", PEERS, limit)
}

/// Returns the leader and a peer that does not vote, so that the other side has the quorum.
fn smaller_side(storm: &Storm) -> [usize; 2] {
    let leader = storm.cluster.leader();
    let status = storm.cluster.peers[leader].until_status("it leads", |_| true);
    let host = |index: usize| &storm.cluster.peers[index].name;
    let votes = |index: usize| {
        status.nodes.iter().any(|node| node.host == *host(index) && status.voters.contains(&node.id))
    };
    let other = (0..PEERS).find(|index| *index != leader && !votes(*index)).expect("three of five vote");
    [leader, other]
}

/// Waits until the other peers have a new leader and those that are cut off report a stale state.
fn another_leads(storm: &Storm, away: &[usize]) -> String {
    let peers = &storm.cluster.peers;
    let here = (0..PEERS).find(|index| !away.contains(index)).expect("three are left");
    let old = &peers[away[0]].name;
    let leader = until("another peer leads", SOON, || {
        let status = peers[here].status()?;
        let leader = status.leader.map(|leader| leader.host).ok_or("nobody leads")?;
        when(!status.stale && leader != *old, leader.clone(), || format!("{leader} leads"))
    });
    for index in away {
        until("who is cut off knows that it is", SOON, || {
            let status = peers[*index].status()?;
            when(status.stale, (), || format!("{} says it is up to date", peers[*index].name))
        });
    }
    leader
}
