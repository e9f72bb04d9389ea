//! The first scenario of the event-flow map: it goes event by event from one batch of games to a champion
//! that every peer holds.

use crate::support::{Cluster, Peer, QUICK, SOON, until, when};
use cluster_state::SegmentId;
use ringrift::{
    events::{Event, Logged, envelope::PARTS_MAX},
    store::Segment,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

const KEY: &str = "hex8_2p";
/// How long the way from the verdict to the champion may take, as the map has it.
const PROMOTED: Duration = Duration::from_secs(60);
/// How long training and evaluation may take, on two cores that others use as well.
const LOOP: Duration = Duration::from_secs(240);

/// Games decide whether a candidate is better, and they differ each time. If one candidate is rejected, the
/// test goes on with another.
const BATCHES: usize = 2;

/// The peer that has the batches. It has the id of the peer that played them, because others keep a segment
/// for its player only.
const HOLDER: usize = 0;

/// The peers that emit the event of a batch which another peer has.
const TELLERS: [usize; 2] = [2, 1];

/// Settings of a peer that plays batches and trains on nothing.
const PLAYS: &str = "
selfplay_threads = 2
[selfplay]
simulations = 16
segment_games = 256
segment_seconds = 3600
[training]
threshold_games = 1000000
";

/// Settings of a peer that plays nothing by itself.
const LEARNS: &str = "
[selfplay]
enabled = false
[training]
threshold_games = 256
batch = 128
seconds_max = 30
window_positions = 50000
[evaluation]
simulations = 8
games_max = 200
baseline_games = 10
elo1 = 100.0
elo_delta_min = 10.0
win_rate_vs_random_min = 0.5
";

const CHAIN: [&str; 8] = [
    "NEW_GAMES_AVAILABLE",
    "TRAINING_THRESHOLD_REACHED",
    "TRAINING_STARTED",
    "TRAINING_COMPLETED",
    "EVALUATION_STARTED",
    "EVALUATION_COMPLETED",
    "MODEL_PROMOTED",
    "MODEL_DISTRIBUTION_COMPLETE",
];

/// Returns batches of games that a node really played: their names and their bytes.
fn batches() -> Vec<(SegmentId, Vec<u8>)> {
    let cluster = Cluster::start(1, PLAYS);
    let peer = &cluster.peers[0];
    let segments = until("batches of games", LOOP, || {
        let audit = peer.audit();
        when(audit.segments.len() >= BATCHES, audit.segments, || format!("{} games", audit.games))
    });
    let batch = |(hash, here): (SegmentId, bool)| {
        assert!(here, "{hash}");
        let bytes = fs::read(blob(peer, hash)).expect("its bytes");
        let games = Segment::open(bytes.clone()).expect("a sound segment").games().len();
        assert_eq!(games, 256);
        (hash, bytes)
    };
    segments.into_iter().take(BATCHES).map(batch).collect()
}

fn blob(peer: &Peer, hash: SegmentId) -> PathBuf {
    peer.folder.join("blobs").join(hash.to_string())
}

fn named<'a>(log: &'a [Logged], name: &str) -> Option<&'a Logged> {
    log.iter().find(|logged| logged.event.name() == name)
}

/// Returns what happened after this many candidates were rejected.
fn since(log: Vec<Logged>, rejected: usize) -> Vec<Logged> {
    let is_rejection = |logged: &Logged| logged.event.name() == "PROMOTION_REJECTED";
    let mut left = rejected;
    let later = log.into_iter().skip_while(|logged| {
        let before = left > 0;
        left -= usize::from(before && is_rejection(logged));
        before
    });
    later.collect()
}

#[test]
fn one_batch_of_games_becomes_a_champion() {
    let batches = batches();
    let cluster = Cluster::start(3, LEARNS);
    for peer in &cluster.peers {
        peer.until_status("a configuration", |status| status.configs.iter().any(|it| it.config_key == KEY));
        let log = peer.logged().expect("its log");
        let early = CHAIN.iter().chain(&["SELFPLAY_COMPLETE"]).find(|name| named(&log, name).is_some());
        assert_eq!(early, None, "{}: nobody plays, so nothing happens", peer.name);
    }
    let mut batches = batches.into_iter().enumerate();
    let (rejected, segment) = loop {
        let (rejected, (segment, bytes)) = batches.next().expect("one of the candidates is promoted");
        a_batch_is_told(&cluster, segment, bytes);
        if a_candidate_is_promoted(&cluster, rejected) {
            break (rejected, segment);
        }
    };
    for peer in &cluster.peers {
        let log = until(&format!("{} has heard of all", peer.name), SOON, || {
            let log = since(peer.logged()?, rejected);
            let missing = CHAIN.iter().find(|it| named(&log, it).is_none());
            when(missing.is_none(), log, || format!("{missing:?}"))
        });
        in_order(&log, &peer.name, segment);
    }
    // The event comes before all that it caused, on the node that has the games and on the one where the
    // event began.
    for peer in [HOLDER, TELLERS[0]].map(|it| &cluster.peers[it]) {
        let log = peer.logged().expect("its log");
        let position = |name| {
            let of_it = |event: &Event| event.subject() == Some(segment.to_string());
            log.iter().find(|it| it.event.name() == name && of_it(&it.event)).map(|logged| logged.position)
        };
        let (told, counted) = (position("SELFPLAY_COMPLETE"), position("NEW_GAMES_AVAILABLE"));
        assert!(told.is_some() && told < counted, "{}: {told:?} {counted:?}", peer.name);
    }
    one_round(&cluster, rejected);
    everything_is_told_again(&cluster, rejected);
    one_round(&cluster, rejected);
    let refused = cluster.peers[0].read(&["work", "cancel", "training", KEY]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
}

/// A peer has a batch, and two others emit its event.
fn a_batch_is_told(cluster: &Cluster, segment: SegmentId, bytes: Vec<u8>) {
    let holder = &cluster.peers[HOLDER];
    fs::write(blob(holder, segment), bytes).expect("the batch is stored");
    let payload = json!({
        "config_key": KEY, "node_id": holder.status().expect("it runs").answered_by, "game_count": 256,
        "total_games": 256, "db_path": "data/games/canonical_hex8_2p.db", "segment": segment.to_string(),
    });
    for teller in TELLERS {
        cluster.peers[teller].emit("SELFPLAY_COMPLETE", payload.clone()).expect("an event");
    }
}

/// Waits for the chain that a batch begins, after so many candidates were rejected. It returns false if this
/// candidate is rejected as well.
fn a_candidate_is_promoted(cluster: &Cluster, rejected: usize) -> bool {
    let began = Instant::now();
    let mut judged = None;
    for name in CHAIN {
        let found = until(name, if name == "MODEL_PROMOTED" { PROMOTED } else { LOOP }, || {
            let log = since(cluster.peers[0].logged()?, rejected);
            let worse = named(&log, "PROMOTION_REJECTED");
            when(named(&log, name).is_some() || worse.is_some(), worse.cloned(), || "not yet".to_owned())
        });
        if let Some(worse) = found {
            eprintln!("one more batch is needed: {worse:?}");
            return false;
        }
        eprintln!("{name} after {:?}", began.elapsed());
        if name == "EVALUATION_COMPLETED" {
            judged = Some(Instant::now());
        }
        if name == "TRAINING_STARTED" {
            a_lease_is_shown(&cluster.peers[0]);
            a_candidate_is_prepared_for(cluster);
        }
    }
    assert!(judged.is_some_and(|judged| judged.elapsed() < PROMOTED));
    true
}

/// Once an event says that the training is nearly done, a node that has no part in it fetches what the
/// candidate will need.
fn a_candidate_is_prepared_for(cluster: &Cluster) {
    let status = cluster.peers[0].until_status("it answers", |_| true);
    let lease = &status.configs[0].training;
    let trainer = lease.node_id.clone().expect("somebody trains");
    let job = format!("training:{KEY}:{}", lease.epoch);
    let nearly = json!({
        "config_key": KEY, "node_id": trainer, "job_id": job, "epochs_completed": 9_999, "total_epochs": 10_000, "loss": 1.0,
        "checkpoint_path": "",
    });
    cluster.peers[0].emit("TRAINING_PROGRESS", nearly).expect("an event");
    for peer in &cluster.peers {
        until(&format!("{} prepares for the candidate", peer.name), SOON, || {
            let status = peer.status()?;
            let prepared = status.work.prefetched.get(KEY) == Some(&job);
            when(prepared || status.answered_by == trainer, (), || format!("{:?}", status.work.prefetched))
        });
    }
}

/// Checks that each batch was counted once and trained on once, and that the last candidate is the champion.
fn one_round(cluster: &Cluster, rejected: usize) {
    let rounds = rejected + 1;
    let audit = cluster.peers[0].audit();
    assert_eq!(cluster.games(0), Ok(256 * rounds as u64));
    assert_eq!(audit.champions.len(), 2, "{audit:?}");
    for peer in &cluster.peers {
        let log = peer.logged().expect("its log");
        let counts = ["NEW_GAMES_AVAILABLE", "TRAINING_COMPLETED", "PROMOTION_REJECTED", "MODEL_PROMOTED"]
            .map(|name| log.iter().filter(|it| !it.injected && it.event.name() == name).count());
        assert_eq!(counts, [rounds, rounds, rejected, 1], "{}", peer.name);
    }
    let (code, answer) = cluster.peers[0].ask(&["work", "list"]);
    assert_eq!((code, answer), (Some(0), json!([])), "the work is done");
}

/// Emits all events once more, unchanged, at a peer that caused none of them: every handler has handled them
/// already.
fn everything_is_told_again(cluster: &Cluster, rejected: usize) {
    let log = since(cluster.peers[0].logged().expect("its log"), rejected);
    for name in CHAIN.iter().chain(&["SELFPLAY_COMPLETE"]) {
        let event = serde_json::to_value(&named(&log, name).expect("it happened").event).expect("JSON");
        cluster.peers[0].emit(name, event[*name].clone()).expect("an event");
    }
    // The events of every batch, and those that say that its training is nearly done.
    let told = (TELLERS.len() + 1) * (rejected + 1) + CHAIN.len() + 1;
    for peer in &cluster.peers {
        until(&format!("{} has handled it all again", peer.name), SOON, || {
            let injected = peer.logged()?.iter().filter(|logged| logged.injected).count();
            let waiting: u64 = peer.status()?.events.handlers.iter().map(|handler| handler.waiting).sum();
            when(injected == told && waiting == 0, (), || format!("{injected} of {told}, {waiting} wait"))
        });
    }
}

/// Checks that each event of the chain follows the one before, in the log and by the cause that it names.
fn in_order(log: &[Logged], peer: &str, segment: SegmentId) {
    let find = |name: &str| named(log, name).expect("it was there");
    for pair in CHAIN.windows(2) {
        assert!(find(pair[0]).position < find(pair[1]).position, "{peer}: {pair:?}");
    }
    for (effect, cause) in [
        ("TRAINING_COMPLETED", "TRAINING_STARTED"),
        ("EVALUATION_COMPLETED", "EVALUATION_STARTED"),
        ("MODEL_DISTRIBUTION_COMPLETE", "MODEL_PROMOTED"),
    ] {
        let (effect, cause) = (find(effect), find(cause));
        let of_one_command = cause.sequence / PARTS_MAX == effect.sequence / PARTS_MAX;
        assert!(
            of_one_command
                || effect.causes.iter().any(|id| id.sequence / PARTS_MAX == cause.sequence / PARTS_MAX),
            "{peer}: {effect:?} names no {}",
            cause.event.name()
        );
    }
    let Event::NewGamesAvailable(games) = &find("NEW_GAMES_AVAILABLE").event else { panic!() };
    assert_eq!((games.segment, games.game_count), (segment, 256));
    let Event::TrainingCompleted(trained) = &find("TRAINING_COMPLETED").event else { panic!() };
    let Event::EvaluationCompleted(evaluated) = &find("EVALUATION_COMPLETED").event else { panic!() };
    let Event::ModelPromoted(promoted) = &find("MODEL_PROMOTED").event else { panic!() };
    let Event::ModelDistributionComplete(held) = &find("MODEL_DISTRIBUTION_COMPLETE").event else { panic!() };
    assert_eq!([evaluated.model_id, promoted.model_id, held.model_id], [trained.model_id; 3]);
    assert!(evaluated.passed_gauntlet && promoted.elo_delta > 0.0, "{peer}: {promoted:?}");
    assert_eq!(held.target_hosts.len(), 3, "{peer}: {held:?}");
}

/// Checks that `ringrift work list` names the training and the node that does it.
fn a_lease_is_shown(peer: &Peer) {
    let (code, answer) = peer.ask(&["work", "list"]);
    assert_eq!(code, Some(0), "{answer}");
    let item = &answer[0];
    assert_eq!((&item["kind"], &item["config_key"]), (&json!("training"), &json!(KEY)), "{answer}");
    assert!(item["node_id"].as_str().is_some_and(|node| node.starts_with("node-")), "{answer}");
    assert_eq!(item["waits_for"], Value::Null, "{answer}");
}

#[test]
fn an_operator_stops_what_a_node_is_doing() {
    let cluster = Cluster::start(1, QUICK);
    let peer = &cluster.peers[0];
    let kind = until("work is cancelled", LOOP, || {
        let (_, items) = peer.ask(&["work", "list"]);
        let live = items.as_array().expect("a list").iter().find(|item| item["node_id"].is_string());
        let kind = live.ok_or("nothing goes on")?["kind"].as_str().expect("a kind").to_owned();
        let ended = peer.read(&["work", "cancel", &kind, KEY, "--reason", "a test"]);
        // The training may have ended by itself meanwhile.
        when(ended.code == Some(0), kind, || format!("{ended:?}"))
    });
    let event = until("everybody is told", SOON, || {
        let events = peer.events();
        let found = events.into_iter().find(|(name, _)| name == "WORK_CANCELLED");
        found.ok_or_else(|| "not yet".to_owned())
    });
    assert_eq!(event.1["work_type"], kind);
    assert_eq!(event.1["error"], "cancelled: operator: a test");
    let (_, items) = peer.ask(&["work", "list"]);
    let waits = items.as_array().expect("a list").iter().find(|item| item["kind"] == kind);
    assert!(waits.is_none_or(|item| item["node_id"] == Value::Null), "it rests: {items}");
}
