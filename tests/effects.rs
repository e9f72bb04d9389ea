//! Each event of the map is injected into a live cluster: every handler's cursor moves past it, and its
//! effect shows.

use super::support::{Cluster, Peer, SOON, until, when};
use cluster_state::NodeId;
use ringrift::{
    api::{
        health::HostState,
        status::{ConfigView, Status},
        work::PauseCause,
    },
    events::{self, Event},
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeSet, time::Instant};

const KEY: &str = "hex8_2p";
/// Settings with which peers play games, but too few to train on.
const SETTINGS: &str = "
selfplay_threads = 1
[training]
threshold_games = 1000000
[selfplay]
simulations = 4
parallel_games = 4
segment_games = 8
segment_seconds = 1
";
/// Settings of the last peer, which shows no work by itself.
const IDLE: &str = "enabled = false\n";

/// How an effect shows at one node.
enum Shows {
    /// The effect shows in the status.
    Status(fn(&Status) -> bool),
    /// This event is in the log after the injected one.
    Follows(&'static str),
    /// The host counts as busy from then on.
    Busy(String),
    /// Only the cursors show it: the handlers look at the state, where nothing has changed.
    Cursors,
}

/// Each event, what of its payload matters, the effect in words, and how it shows. The order matters, because
/// some events undo what others did.
#[rustfmt::skip]
fn table(segment: &str, idle: &str) -> Vec<(&'static str, Value, &'static str, Shows)> {
    use Shows::{Busy, Cursors, Follows, Status};
    let works = || json!({"node_id": idle});
    let games = json!({"segment": segment, "game_count": 8, "total_games": 8, "db_path": "games.db"});
    vec![
        ("HOST_OFFLINE", json!({"node_id": "node-3"}), "the host counts as offline",
            Status(|s| s.view.hosts.get(&NodeId(3)) == Some(&HostState::Offline))),
        ("HOST_ONLINE", json!({"node_id": "node-3"}), "the host counts as online",
            Status(|s| s.view.hosts.get(&NodeId(3)) == Some(&HostState::Online))),
        ("P2P_CLUSTER_UNHEALTHY", json!({}), "training pauses", Status(|s| paused(s, PauseCause::ClusterUnhealthy))),
        ("P2P_CLUSTER_HEALTHY", json!({}), "training resumes", Status(|s| !paused(s, PauseCause::ClusterUnhealthy))),
        ("EVALUATION_BACKPRESSURE", json!({"queue_depth": 9}), "training pauses",
            Status(|s| paused(s, PauseCause::EvaluationBackpressure))),
        ("EVALUATION_BACKPRESSURE_RELEASED", json!({"queue_depth": 0}), "training resumes",
            Status(|s| !paused(s, PauseCause::EvaluationBackpressure))),
        ("REGRESSION_DETECTED", json!({"elo_drop": 30.0}), "the learning rate falls",
            Status(|s| config(s).steering.learning_rate < 1.0)),
        ("REGRESSION_CLEARED", json!({"elo_drop": 0.0}), "the learning rate is back",
            Status(|s| config(s).steering.regression.is_none() && config(s).steering.learning_rate >= 1.0)),
        ("REGRESSION_CRITICAL", json!({"elo_drop": 150.0}), "the curriculum reacts at once",
            Follows("CURRICULUM_EMERGENCY_UPDATE")),
        ("CURRICULUM_EMERGENCY_UPDATE", json!({"new_weight": 0.5}), "the targets are looked at", Cursors),
        ("TRAINING_ROLLBACK_NEEDED", json!({}), "refused: there is no champion before", Status(|s| config(s).generation == 0)),
        ("PROMOTION_ROLLED_BACK", json!({"from_version": 2, "to_version": 1}), "models are looked at", Cursors),
        ("MODEL_DISTRIBUTION_FAILED", json!({"error": "x"}), "an alert",
            Status(|s| s.view.alerts.iter().any(|alert| alert.name.contains("distribution")))),
        ("SELFPLAY_COMPLETE", games.clone(), "the batch is merged, acknowledged already", Cursors),
        ("NEW_GAMES_AVAILABLE", games, "the batch is merged, and counted already", Cursors),
        ("TRAINING_THRESHOLD_REACHED", json!({}), "nothing to train on", Status(|s| config(s).training.node_id.is_none())),
        ("TRAINING_STARTED", works(), "the host is not idle", Busy(idle.to_owned())),
        ("TRAINING_PROGRESS", json!({"epochs_completed": 9, "total_epochs": 10}), "what the candidate needs is fetched", Cursors),
        ("TRAINING_COMPLETED", json!({}), "no such candidate: nothing is evaluated",
            Status(|s| config(s).evaluation.node_id.is_none())),
        ("TRAINING_FAILED", json!({}), "nothing to train on", Cursors),
        ("EVALUATION_STARTED", json!({}), "waiting games are acknowledged", Cursors),
        ("EVALUATION_COMPLETED", json!({"passed_gauntlet": true, "elo_delta": 900.0}), "no evidence: nothing is promoted",
            Status(|s| config(s).generation == 0)),
        ("EVALUATION_FAILED", json!({}), "no such candidate", Cursors),
        ("MODEL_PROMOTED", json!({"generation": 9}), "the champion is the state's", Status(|s| config(s).generation == 0)),
        ("PROMOTION_REJECTED", json!({}), "no such candidate", Cursors),
        ("MODEL_DISTRIBUTION_STARTED", json!({}), "told", Cursors),
        ("MODEL_DISTRIBUTION_COMPLETE", json!({}), "told", Cursors),
        ("LEADER_ELECTED", json!({"leader_id": "node-3", "term": 0}), "who leads is Raft's alone",
            Status(|s| s.leader.as_ref().is_some_and(|leader| leader.term > 0))),
        ("DATA_SYNC_COMPLETED", json!({"segment": segment, "games_synced": 8}), "copies are looked at", Cursors),
        ("DATA_SYNC_FAILED", json!({"segment": segment, "error": "x"}), "tried again later", Cursors),
        ("WORK_QUEUED", json!({}), "the queue is looked at", Cursors),
        ("WORK_CLAIMED", works(), "the host is not idle", Busy(idle.to_owned())),
        ("WORK_COMPLETED", json!({}), "the queue is looked at", Cursors),
        ("WORK_FAILED", json!({}), "the queue is looked at", Cursors),
        ("WORK_TIMEOUT", json!({}), "leases are looked at", Cursors),
        ("WORK_CANCELLED", json!({}), "the queue is looked at", Cursors),
        ("FORGERY_FOUND", json!({"segment": segment, "game": 0, "ply": 0}), "who is trusted is the state's", Cursors),
    ]
}

fn config(status: &Status) -> &ConfigView {
    status.configs.iter().find(|config| config.config_key == KEY).expect("the configuration")
}

fn paused(status: &Status, cause: PauseCause) -> bool {
    config(status).training_paused.iter().any(|pause| pause.cause == cause)
}

/// Returns the payload with the other fields of the event.
fn payload(event: &str, matters: &Value) -> Value {
    let nothing = "00000000000000000000000000000000000000000000000000000000000000bb";
    let all = r#"{
        "config_key": "hex8_2p", "node_id": "node-1", "job_id": "training:hex8_2p:99", "model_path": "x", "loss": 0.5,
        "epochs_completed": 1, "total_epochs": 9, "checkpoint_path": "x", "model_id": "NOTHING", "board_type": "hex8",
        "num_players": 2, "epochs_trained": 1, "final_loss": 0.5, "val_loss": 0.5, "elo_estimate": 1.0, "crossing": 99,
        "games_planned": 4, "elo_delta": 1.0, "elo_error": 1.0, "win_rate_vs_random": 0.5, "threshold": 9,
        "win_rate_vs_heuristic": 0.5, "passed_gauntlet": false, "games_played": 4, "queue_depth": 3, "game_count": 1,
        "generation": 9, "previous_elo": 1.0, "new_elo": 2.0, "promotion_reason": "x", "target_hosts": [],
        "offline_hosts": [], "reason": "drill", "from_version": 2, "to_version": 1, "new_weight": 0.5,
        "elo_drop": 1.0, "work_id": "training:hex8_2p:99", "work_type": "training", "leader_id": "node-1", "term": 0,
        "node_count": 3, "healthy_nodes": 1, "error": "x"
    }"#;
    let all: Value = serde_json::from_str(&all.replace("NOTHING", nothing)).expect("JSON");
    let mut fields: Map<String, Value> = all.as_object().expect("an object").clone();
    if event.starts_with("REGRESSION") || event == "TRAINING_ROLLBACK_NEEDED" {
        fields.remove("model_id"); // the present champion is meant
    }
    fields.extend(matters.as_object().expect("an object").clone());
    // A field that the event does not have is refused by name: leave the field out and ask again.
    loop {
        match Event::from_operator(event, Value::Object(fields.clone()), "node-1", 1.5) {
            Ok(_) => return Value::Object(fields),
            Err(ringrift::events::EventError::Field { field, .. }) => drop(fields.remove(&field)),
            Err(error) => panic!("{event}: {error}"),
        }
    }
}

/// Returns where the injected event is in a node's log, and the names of the events after it.
fn after(peer: &Peer, event: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    loop {
        let last = all.last().map_or(0, |logged: &ringrift::events::Logged| logged.position);
        let page = peer.client()?.events(last, 500).map_err(|error| format!("{error:?}"))?;
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    let at = all.iter().rposition(|it| it.injected && it.event.name() == event);
    let at = at.ok_or_else(|| format!("{event} is not in the log of {}", peer.name))?;
    Ok(all[at + 1..].iter().map(|it| it.event.name().to_owned()).collect())
}

#[test]
fn each_event_injected_moves_every_cursor_and_shows_its_effect() {
    let cluster = Cluster::start_with_last(3, SETTINGS, IDLE);
    let idle = cluster.peers[2].status().expect("it runs").answered_by;
    let segment = until("a batch of games", SOON, || {
        let events = cluster.peers[0].events();
        let found = events.iter().find(|(name, _)| name == "NEW_GAMES_AVAILABLE");
        found
            .and_then(|(_, games)| games["segment"].as_str().map(str::to_owned))
            .ok_or_else(|| format!("{events:?}"))
    });
    let rows = table(&segment, &idle);
    let told: BTreeSet<&str> = rows.iter().map(|(event, ..)| *event).collect();
    assert_eq!(told, Event::NAMES.iter().copied().collect(), "the table names every event");
    for (event, matters, effect, shows) in &rows {
        let began = Instant::now();
        let emitted = cluster.peers[0].read(&[
            "events",
            "emit",
            event,
            "--payload",
            &payload(event, matters).to_string(),
        ]);
        assert_eq!(emitted.code, Some(0), "{event}: {emitted:?}");
        let daemons = events::pairs().filter(|(of, _)| of == event).map(|(_, daemon)| daemon);
        let daemons: Vec<&str> = daemons.collect();
        for peer in &cluster.peers {
            until(&format!("{event} at {}: {effect}", peer.name), SOON, || {
                // The event is in the log, and afterwards none of its handlers has anything left to do.
                let later = after(peer, event)?;
                let status = peer.status()?;
                let handlers = status.events.handlers.iter();
                let behind = handlers.filter(|it| it.waiting > 0 && daemons.contains(&it.handler.as_str()));
                let behind: Vec<_> = behind.collect();
                when(behind.is_empty(), (), || format!("{behind:?}"))?;
                let shown = match shows {
                    Shows::Status(shows) => shows(&status),
                    Shows::Follows(name) => later.iter().any(|it| it == name),
                    Shows::Busy(host) => {
                        let idle_ms =
                            status.nodes.iter().find(|it| it.node_id == *host).and_then(|it| it.idle_ms);
                        idle_ms.is_some_and(|idle_ms| u128::from(idle_ms) <= began.elapsed().as_millis())
                    }
                    Shows::Cursors => true,
                };
                when(shown, (), || format!("{status:?}"))
            });
        }
    }
}
