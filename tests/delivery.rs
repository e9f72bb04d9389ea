//! Delivery of events on real peers: events emitted by hand reach every log and every handler; dead letters;
//! the same without gossip, among kills, stalls and cuts of the network, and against a peer that lies.

mod chaos;
mod hostile;
mod partition;

use crate::support::{Cluster, Ended, Peer, SOON, run, until, when};
use ringrift::{
    api::status::Status,
    events::{self, Event},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// Settings of peers that play a little and never train. The value of `gossip` follows.
const SETTINGS: &str = "selfplay_threads = 1\n[selfplay]\nsimulations = 4\nparallel_games = 2\nsegment_games = 8\n\
    segment_seconds = 3600\n[training]\nthreshold_games = 1000000\n[events]\ngossip = ";
const KEY: &str = "hex8_2p";
const NOWHERE: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

/// A payload for each event. Nothing that it names exists, so nothing real happens.
fn payload(event: &str) -> Value {
    let model = "00000000000000000000000000000000000000000000000000000000000000bb";
    let all = r#"{
        "config_key": "hex8_2p", "game_count": 5, "total_games": 5, "db_path": "x", "segment": "NOWHERE", "crossing": 99,
        "threshold": 9, "games_synced": 5, "error": "x", "job_id": "training:hex8_2p:99", "model_path": "x",
        "epochs_completed": 1, "total_epochs": 2, "loss": 0.5, "checkpoint_path": "x", "model_id": "MODEL",
        "board_type": "hex8", "num_players": 2, "epochs_trained": 1, "final_loss": 0.5, "val_loss": 0.5,
        "elo_estimate": 1.0, "games_planned": 4, "elo_delta": 1.0, "elo_error": 1.0, "win_rate_vs_random": 0.5,
        "win_rate_vs_heuristic": 0.5, "passed_gauntlet": false, "games_played": 4, "queue_depth": 3,
        "generation": 99, "previous_elo": 1.0, "new_elo": 2.0, "promotion_reason": "x", "target_hosts": [],
        "offline_hosts": [], "reason": "x", "from_version": 2, "to_version": 1, "new_weight": 0.5, "elo_drop": 150.0,
        "work_id": "training:hex8_2p:99", "work_type": "training", "node_id": "node-99", "host": "x",
        "leader_id": "node-1", "term": 0, "node_count": 3, "healthy_nodes": 1, "game": 1, "ply": 2, "confirmed_by": []
    }"#;
    let all = all.replace("NOWHERE", NOWHERE).replace("MODEL", model);
    let all: Value = serde_json::from_str(&all).expect("JSON");
    let mut fields = all.as_object().expect("an object").clone();
    // A field that the event does not have is refused by name: leave the field out and ask again.
    loop {
        match Event::from_operator(event, Value::Object(fields.clone()), "node-1", 1.5) {
            Ok(_) => return Value::Object(fields),
            Err(ringrift::events::EventError::Field { field, .. }) => drop(fields.remove(&field)),
            Err(error) => panic!("{event}: {error}"),
        }
    }
}

/// Waits until everything injected by now is in every log, `each` times, and no handler has anything left to
/// do.
fn settled(peers: &[Peer], expected: &BTreeSet<&str>, each: usize) {
    for peer in peers {
        until("every event is everywhere and handled", SOON, || {
            let log = peer.logged()?;
            let mut missing = expected.clone();
            missing
                .retain(|event| log.iter().filter(|l| l.injected && l.event.name() == *event).count() < each);
            let waiting: u64 = peer.status()?.events.handlers.iter().map(|handler| handler.waiting).sum();
            when(missing.is_empty() && waiting == 0, (), || format!("{missing:?}, {waiting} wait"))
        });
    }
}

fn emit(peer: &Peer, event: &str, payload: &Value) -> Ended {
    peer.read(&["events", "emit", event, "--payload", &payload.to_string()])
}

#[test]
fn every_event_injected_reaches_every_log_and_every_handler() {
    let cluster = Cluster::start(3, &format!("{SETTINGS}true\n"));
    let peers = &cluster.peers;
    for event in Event::NAMES {
        let ended = emit(&peers[0], event, &payload(event));
        assert_eq!(ended.code, Some(0), "{event}: {ended:?}");
    }
    let all = Event::NAMES.iter().copied().collect();
    settled(peers, &all, 1);
    for peer in peers {
        let log = peer.logged().unwrap();
        let ids: BTreeSet<_> = log.iter().map(|logged| logged.id()).collect();
        assert_eq!(ids.len(), log.len(), "once each");
        let in_flow = |flow: &str| -> Vec<i64> {
            log.iter().filter(|l| l.injected && l.flow == flow).map(|l| l.sequence).collect()
        };
        assert_eq!(log.iter().filter(|l| l.injected).count(), Event::NAMES.len());
        assert!(in_flow(KEY).is_sorted() && in_flow("cluster").is_sorted());
        let handlers = peer.status().unwrap().events.handlers;
        for daemon in events::pairs().map(|(_, daemon)| daemon).collect::<BTreeSet<_>>() {
            let status = handlers.iter().find(|status| status.handler == daemon);
            assert!(status.is_some_and(|status| status.handled + status.dead > 0), "{daemon}: {handlers:?}");
        }
    }
    dead_letters(peers);
    a_second_emitter_changes_nothing(peers, &all);
    refusals(&peers[0]);
}

/// Returns what the cluster has decided, as one peer sees it, without what goes on by itself.
fn decisions(status: &Status) -> Vec<String> {
    let decided = status.configs.iter().map(|config| {
        let leases = [&config.training, &config.evaluation].map(|lease| (lease.epoch, lease.failures));
        let (key, champion, history) = (&config.config_key, &config.champion, config.history.len());
        format!("{key} {champion} {} {history} {:?} {leases:?}", config.generation, config.candidates)
    });
    decided.collect()
}

/// Emits every event once more, from another peer, about the same subject. Every handler passes over an event
/// that can happen only once, and nothing is decided anew.
fn a_second_emitter_changes_nothing(peers: &[Peer], all: &BTreeSet<&str>) {
    let before: Vec<Status> = peers.iter().map(|peer| peer.until_status("it answers", |_| true)).collect();
    for event in Event::NAMES {
        peers[1].emit(event, payload(event)).unwrap();
    }
    settled(peers, all, 2);
    let mut once: BTreeMap<&str, u64> = BTreeMap::new();
    for (event, daemon) in events::pairs() {
        let event = Event::from_operator(event, payload(event), "node-1", 1.5).unwrap();
        *once.entry(daemon).or_default() += u64::from(event.once().is_some());
    }
    for (peer, before) in peers.iter().zip(before) {
        let after = peer.until_status("nothing is decided anew", |now| decisions(now) == decisions(&before));
        for (daemon, once) in &once {
            let count = |status: &Status| {
                let mut handlers = status.events.handlers.iter();
                let found = handlers.find(|handler| handler.handler == *daemon);
                // An event that could not be handled the first time cannot be handled the second time.
                found.map_or(0, |handler| handler.duplicates + handler.dead)
            };
            let passed = count(&after) - count(&before);
            assert!(passed >= *once, "{daemon} at {}: {passed} of {once} passed over", peer.name);
        }
    }
}

fn dead_letters(peers: &[Peer]) {
    // A segment that does not exist cannot be merged: after three attempts every node has a dead letter.
    let (code, told) = peers[1].ask(&["dlq", "list", "--all"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(told.as_array().unwrap().len(), 3, "{told}");
    for node in told.as_array().unwrap() {
        let letters = node["letters"].as_array().unwrap();
        assert_eq!(letters.len(), 1, "{told}");
        assert_eq!(letters[0]["handler"], "consolidation");
        assert_eq!(letters[0]["retry_count"], 3);
        assert!(letters[0]["error"].as_str().unwrap().contains("nowhere"), "{told}");
        assert_eq!(letters[0]["payload"]["event"]["NEW_GAMES_AVAILABLE"]["segment"], NOWHERE);
        assert!(letters[0]["timestamp"].is_i64());
    }
    let id = peers[0].client().unwrap().dead_letters().unwrap()[0].letters[0].id.to_string();
    assert_eq!(peers[0].read(&["dlq", "show", &id]).code, Some(0));
    assert_eq!(peers[0].read(&["dlq", "show", "999"]).code, Some(1));
    let (code, told) = peers[0].ask(&["dlq", "replay", "--max-age-hours", "24", "--all"]);
    assert_eq!(code, Some(1), "{told}");
    for node in told.as_array().unwrap() {
        assert_eq!(
            node["replayed"],
            json!({"replayed": 1, "recovered": 0, "failed": 1, "waiting": 0, "left": 0}),
            "{told}"
        );
    }
    assert_eq!(peers[0].status().unwrap().events.dead_letters, 1);
    let purge = peers[0].read(&["dlq", "purge", "--all"]);
    assert_eq!(purge.code, Some(0), "{purge:?}");
    for peer in peers {
        assert_eq!(peer.status().unwrap().events.dead_letters, 0);
    }
}

fn refusals(peer: &Peer) {
    let refused = |event: &str, payload: Value, why: &str| {
        let ended = emit(peer, event, &payload);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(why), "{ended:?}");
    };
    refused("HOST_GONE", json!({}), "there is no event");
    refused("HOST_OFFLINE", json!({}), "missing field");
    refused("HOST_OFFLINE", json!({"node_id": "x".repeat(20_000)}), "too large");
    let key = peer.folder.join("token");
    fs::write(&key, "0".repeat(64)).unwrap();
    refused("HOST_OFFLINE", json!({"node_id": "node-99"}), "not allowed");
    fs::remove_file(&key).unwrap();
    assert_eq!(emit(peer, "HOST_OFFLINE", &json!({"node_id": "n"})).code, Some(3));
}

#[test]
fn without_gossip_everything_still_arrives_also_at_a_peer_that_was_away() {
    let mut cluster = Cluster::start(3, &format!("{SETTINGS}false\n"));
    let say = |cluster: &Cluster, event: &str| drop(cluster.peers[0].emit(event, payload(event)).unwrap());
    say(&cluster, "REGRESSION_CLEARED");
    settled(&cluster.peers, &BTreeSet::from(["REGRESSION_CLEARED"]), 1);
    cluster.peers[2].kill();
    say(&cluster, "WORK_QUEUED");
    say(&cluster, "WORK_CANCELLED");
    let all = BTreeSet::from(["REGRESSION_CLEARED", "WORK_QUEUED", "WORK_CANCELLED"]);
    settled(&cluster.peers[..2], &all, 1);
    cluster.peers[2].start(None);
    settled(&cluster.peers[2..], &all, 1);
}

#[test]
fn the_map_is_printed_from_the_table() {
    let printed = run(&["events", "--map", "--json"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let entries: Value = serde_json::from_str(&printed.stdout).unwrap();
    let names: Vec<&str> = entries.as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(names, Event::NAMES);
    assert_eq!(entries, serde_json::to_value(events::rows().collect::<Vec<_>>()).unwrap());
    let text = run(&["events", "--map"]).stdout;
    assert!(text.contains("NEW_GAMES_AVAILABLE <- selfplay\n    -> consolidation: merges"), "{text}");
}
