//! The event-flow map's first scenario: from one batch of games to a champion that every peer holds, event by event.

use crate::support::{Cluster, Peer, QUICK, SOON, until, when};
use ringrift::{
    events::{Event, log::Logged},
    http::Injection,
    store::Segment,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};
use wire::Hash;

const KEY: &str = "hex8_2p";
/// From the verdict to the champion, as the map has it.
const PROMOTED: Duration = Duration::from_secs(60);
/// Training and evaluation, on two cores that others use as well.
const LOOP: Duration = Duration::from_secs(240);

/// A peer that plays one batch and trains on nothing.
const PLAYS: &str = "
selfplay_threads = 2
[selfplay]
simulations = 16
segment_games = 256
segment_seconds = 3600
[training]
threshold_games = 1000000
";

/// A peer that plays nothing by itself.
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

/// A batch of games that a node really played: its name and its bytes.
fn batch() -> (Hash, Vec<u8>) {
    let cluster = Cluster::start(1, PLAYS);
    let peer = &cluster.peers[0];
    let segment = until("a batch of games", LOOP, || {
        let audit = peer.audit();
        when(audit.games >= 256, audit.segments.first().copied(), || format!("{} games", audit.games))
    });
    let (hash, here) = segment.expect("a segment of 256 games");
    assert!(here, "{hash}");
    let bytes = fs::read(blob(peer, hash)).expect("its bytes");
    let games = Segment::open(bytes.clone()).expect("a sound segment").games().len();
    assert_eq!(games, 256);
    (hash, bytes)
}

fn blob(peer: &Peer, hash: Hash) -> PathBuf {
    peer.folder.join("blobs").join(hash.to_string())
}

fn log(peer: &Peer) -> Vec<Logged> {
    let mut all: Vec<Logged> = Vec::new();
    loop {
        let last = all.last().map_or(0, |logged| logged.position);
        let page = peer.client().expect("it runs").events(last, 500).expect("its events");
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn named<'a>(log: &'a [Logged], name: &str) -> Option<&'a Logged> {
    log.iter().find(|logged| logged.event.name() == name)
}

#[test]
fn one_batch_of_games_becomes_a_champion() {
    let (segment, bytes) = batch();
    let cluster = Cluster::start(3, LEARNS);
    let holder = &cluster.peers[1];
    fs::write(blob(holder, segment), bytes).expect("the batch is stored");
    let node_id = holder.status().expect("it runs").answered_by;
    for peer in &cluster.peers {
        peer.until_status("a configuration", |status| status.configs.iter().any(|it| it.config_key == KEY));
        let log = log(peer);
        let early = CHAIN.iter().chain(&["SELFPLAY_COMPLETE"]).find(|name| named(&log, name).is_some());
        assert_eq!(early, None, "{}: nobody plays, so nothing happens", peer.name);
    }

    let began = Instant::now();
    let payload = json!({
        "config_key": KEY, "node_id": node_id, "game_count": 256, "total_games": 256,
        "db_path": "data/games/canonical_hex8_2p.db", "segment": segment.to_string(),
    });
    let injection = Injection { event: "SELFPLAY_COMPLETE".into(), payload };
    cluster.peers[2].client().expect("it runs").emit(&injection).expect("an event");
    let mut judged = None;
    for name in CHAIN {
        until(name, if name == "MODEL_PROMOTED" { PROMOTED } else { LOOP }, || {
            let log = log(&cluster.peers[0]);
            if let Some(rejected) = named(&log, "PROMOTION_REJECTED") {
                panic!("{rejected:?}");
            }
            when(named(&log, name).is_some(), (), || "not yet".to_owned())
        });
        eprintln!("{name} after {:?}", began.elapsed());
        if name == "EVALUATION_COMPLETED" {
            judged = Some(Instant::now());
        }
        if name == "TRAINING_STARTED" {
            a_lease_is_shown(&cluster.peers[0]);
        }
    }
    assert!(judged.is_some_and(|judged| judged.elapsed() < PROMOTED));
    for peer in &cluster.peers {
        until(&format!("{} has heard of all", peer.name), SOON, || {
            let log = log(peer);
            let missing = CHAIN.iter().chain(&["SELFPLAY_COMPLETE"]).find(|it| named(&log, it).is_none());
            when(missing.is_none(), (), || format!("{missing:?}"))
        });
        in_order(&log(peer), &peer.name, segment);
    }
    // On the node that has the games and on the one where the event began, it comes before all that it caused.
    for peer in &cluster.peers[1..] {
        let log = log(peer);
        let position = |name| named(&log, name).map(|logged| logged.position);
        assert!(position("SELFPLAY_COMPLETE") < position("NEW_GAMES_AVAILABLE"), "{}", peer.name);
    }
    // One batch, one round of the loop.
    let audit = cluster.peers[0].audit();
    assert_eq!(cluster.games(0), Ok(256));
    assert_eq!(audit.champions.len(), 2, "{audit:?}");
    let (code, answer) = cluster.peers[0].ask(&["work", "list"]);
    assert_eq!((code, answer), (Some(0), json!([])), "the work is done");
    let refused = cluster.peers[0].read(&["work", "cancel", "training", KEY]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
}

/// Each of the chain follows the one before, in the log and where it names its cause.
fn in_order(log: &[Logged], peer: &str, segment: Hash) {
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
        let of_one_command = cause.sequence / 16 == effect.sequence / 16;
        assert!(
            of_one_command || effect.causes.iter().any(|id| id.sequence / 16 == cause.sequence / 16),
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

/// `ringrift work list` names the training and who does it.
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
        // It may have ended by itself meanwhile.
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
