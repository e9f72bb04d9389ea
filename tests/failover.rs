//! A minority and a majority of the peers are killed and stopped: what was acknowledged stays, and the
//! cluster goes on.

use crate::support::{Cluster, Peer, QUICK, SOON, until, when};
use cluster_state::SegmentId;
use ringrift::{
    api::content::Audit,
    api::status::Status,
    store::{PendingSegment, PendingSegments},
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// How long it may take until there is a new leader.
const ELECTION: Duration = Duration::from_secs(3);
/// How long a peer that is asked to stop may take.
const STOP: Duration = Duration::from_secs(10);

#[test]
fn a_cluster_outlives_its_peers() {
    // Nothing is trained, because these tests are about games and their acknowledgement.
    let settings = QUICK.replace("threshold_games = 60", "threshold_games = 1000000");
    let mut cluster = Cluster::start(3, &settings);
    until("games are acknowledged", SOON, || {
        cluster.games(0).and_then(|n| when(n > 0, (), || format!("{n}")))
    });
    the_leader_is_killed(&mut cluster);
    the_majority_is_killed(&mut cluster);
    a_peer_is_stopped(&mut cluster, &settings);
}

/// Returns the acknowledged segments.
fn segments(audit: &Audit) -> BTreeSet<SegmentId> {
    audit.segments.iter().map(|(hash, _)| *hash).collect()
}

/// Waits until some peer has verified bytes of each of these segments, which every running peer must know.
fn nothing_is_lost(cluster: &Cluster, acknowledged: &BTreeSet<SegmentId>) {
    until("all that was acknowledged is there", SOON, || {
        let mut here = BTreeSet::new();
        for peer in cluster.peers.iter().filter(|peer| peer.is_running()) {
            let audit = peer.audit();
            let known = segments(&audit);
            let forgotten: Vec<_> = acknowledged.difference(&known).collect();
            when(forgotten.is_empty(), (), || format!("{} does not know {forgotten:?}", peer.name))?;
            here.extend(audit.segments.iter().filter(|(_, here)| *here).map(|(hash, _)| *hash));
        }
        let lost: Vec<_> = acknowledged.difference(&here).collect();
        when(lost.is_empty(), (), || format!("nobody has {lost:?}"))
    });
}

fn the_leader_is_killed(cluster: &mut Cluster) {
    let victim = cluster.leader();
    let others: Vec<usize> = (0..3).filter(|index| *index != victim).collect();
    let name = cluster.peers[victim].name.clone();
    let acknowledged = segments(&cluster.peers[others[0]].audit());
    assert!(!acknowledged.is_empty());
    cluster.peers[victim].kill();
    let killed = Instant::now();
    let leader = until("somebody else leads", SOON, || {
        let answers = others.iter().filter_map(|index| cluster.peers[*index].status().ok());
        let mut leaders = answers.filter(|status| !status.stale).filter_map(|status| status.leader);
        leaders.find(|leader| leader.host != name).ok_or_else(|| "nobody".to_owned())
    });
    let took = killed.elapsed();
    eprintln!("{} leads {took:?} after {name} was killed", leader.host);
    assert!(took < ELECTION, "{took:?}");
    let degraded = cluster.peers[others[0]].until_status("the loss is seen", |status| {
        status.nodes.iter().any(|node| node.host == name && !node.online)
    });
    assert_eq!(degraded.voters_up, 2);
    let (code, status) = cluster.peers[others[0]].ask(&["status"]);
    assert_eq!(code, Some(1), "{status}");
    assert_eq!(status["health"], "DEGRADED", "{status}");
    games_go_on(cluster, others[0]);
    nothing_is_lost(cluster, &acknowledged);

    // The peer is started as it was the first time, but without the address.
    cluster.peers[victim].start(None);
    let back = Instant::now();
    cluster.whole();
    eprintln!("{name} is back after {:?}", back.elapsed());
    let mark = cluster.peers[victim].events().len();
    let me = cluster.peers[victim].status().unwrap().answered_by;
    until("the peer that was killed hears gossip again", SOON, || {
        let news = cluster.peers[victim].events().split_off(mark);
        let mut played = news.iter().filter(|(event, _)| event == "SELFPLAY_COMPLETE");
        when(played.any(|(_, payload)| payload["node_id"] != *me), (), || format!("{} events", news.len()))
    });
    caught_up(cluster, victim);
    nothing_is_lost(cluster, &acknowledged);
}

/// Waits until the peer has applied what the others had applied when this was called.
fn caught_up(cluster: &Cluster, index: usize) {
    let applied =
        cluster.peers.iter().filter_map(|peer| peer.status().ok()).map(|status| status.applied).max();
    cluster.peers[index].until_status("it has caught up", |status| Some(status.applied) >= applied);
}

fn games_go_on(cluster: &Cluster, index: usize) {
    let before = until("games are known", SOON, || cluster.games(index));
    until("more games are acknowledged", SOON, || {
        let games = cluster.games(index)?;
        when(games > before, (), || format!("{games} games"))
    });
}

fn the_majority_is_killed(cluster: &mut Cluster) {
    let acknowledged = segments(&cluster.peers[0].audit());
    let leader = cluster.leader();
    let survivor = (0..3).find(|index| *index != leader).unwrap();
    for index in (0..3).filter(|index| *index != survivor) {
        cluster.peers[index].kill();
    }
    let last = &cluster.peers[survivor];
    let look = |what: &str, good: &dyn Fn(&Status) -> bool| {
        until(what, SOON, || {
            let status = last.status()?;
            when(good(&status), status.clone(), || format!("{status:?}"))
        })
    };
    look("the answer is stale", &|status| status.stale);
    let waiting = look("self-play goes on and waits", &|status| status.work.selfplay.unacknowledged > 0);
    assert!(waiting.stale && waiting.work.selfplay.paused.is_none(), "{waiting:?}");
    let more = look("self-play still goes on", &|s| s.work.selfplay.games > waiting.work.selfplay.games);
    assert!(more.age_ms > waiting.age_ms, "the view gets older: {} then {}", waiting.age_ms, more.age_ms);

    let asked = Instant::now();
    let (code, status) = last.ask(&["status"]);
    assert!(asked.elapsed() < ELECTION, "{:?}", asked.elapsed());
    assert_eq!(code, Some(2), "{status}");
    assert_eq!(status["health"], "NO QUORUM", "{status}");
    assert_eq!(status["stale"], true);
    assert!(status["age_ms"].as_u64().unwrap() > 0);
    let blocked: Vec<&str> =
        status["blocked"].as_array().unwrap().iter().filter_map(|b| b.as_str()).collect();
    let says = |text: &str| blocked.iter().any(|reason| reason.contains(text));
    assert!(says("no decisions: 1 of 3 voters are up, 2 are needed"), "{blocked:?}");
    let (code, report) = last.ask(&["cluster", "leader"]);
    assert_eq!(code, Some(2), "{report}");
    assert_eq!(report["stale"], true, "{report}");
    let text = last.read(&["status"]);
    assert_eq!(text.code, Some(2), "{text:?}");
    for part in ["NO QUORUM", "STALE", "2 are needed"] {
        assert!(text.stdout.contains(part), "{part}: {text:?}");
    }

    let pending = pending(last);
    assert!(!pending.is_empty(), "what was played waits on disk");
    for index in (0..3).filter(|index| *index != survivor) {
        cluster.peers[index].start(None);
    }
    cluster.whole();
    acknowledged_later(cluster, &pending);
    nothing_is_lost(cluster, &acknowledged);
    games_go_on(cluster, survivor);
}

/// Returns the games that a peer has played and nobody has acknowledged.
fn pending(peer: &Peer) -> Vec<PendingSegment> {
    PendingSegments::open(&peer.folder.join("segments.db")).unwrap().pending().unwrap()
}

fn acknowledged_later(cluster: &Cluster, pending: &[PendingSegment]) {
    let wanted: BTreeSet<SegmentId> = pending.iter().map(|segment| segment.hash).collect();
    until("what waited is acknowledged", SOON, || {
        let known = segments(&cluster.peers[0].audit());
        let missing: Vec<_> = wanted.difference(&known).collect();
        when(missing.is_empty(), (), || format!("{missing:?}"))
    });
    nothing_is_lost(cluster, &wanted);
}

/// After SIGTERM a peer ends in time with status 0. The games that it has finished are kept, also those of
/// segments that were not full yet, and are acknowledged after the next start.
fn a_peer_is_stopped(cluster: &mut Cluster, settings: &str) {
    let slow = settings.replace("segment_games = 32", "segment_games = 256");
    let slow = slow.replace("segment_seconds = 1", "segment_seconds = 3600");
    let peer = &mut cluster.peers[2];
    assert_eq!(peer.stop().1, Some(0));
    peer.configure(&slow);
    peer.start(None);
    let played = until("it plays games that are in no segment yet", SOON, || {
        let status = peer.status()?;
        let play = &status.work.selfplay;
        when(play.games >= 3 && play.unacknowledged == 0, play.games, || format!("{play:?}"))
    });
    let (took, code) = peer.stop();
    eprintln!("stopped after {took:?}");
    assert_eq!(code, Some(0), "{}", peer.log());
    assert!(took < STOP, "{took:?}");
    let kept = pending(peer);
    let games: u64 = kept.iter().map(|segment| segment.games).sum();
    assert!(games >= played, "{played} games were finished, {games} are kept");
    assert_eq!(peer.read(&["status"]).code, Some(3), "it is not running, and says so");
    cluster.peers[2].configure(settings);
    cluster.peers[2].start(None);
    cluster.whole();
    acknowledged_later(cluster, &kept);
}
