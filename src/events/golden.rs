//! Holds the events' JSON, and with it every field's name and type.
//!
//! Other programs read it: a change of `golden.json` is a change of the interface.

use super::*;
use cluster_state::{ConfigKey, ModelId, SegmentId};
use serde_json::{Map, Value};
use wire::Hash;

const GOLDEN: &str = include_str!("golden.json");
const MAP: &str = include_str!("../../docs/EVENT_FLOW_INTEGRATION.md");

/// An example of the variant that follows; a new variant does not compile until it has one.
fn next(event: Option<&Event>) -> Option<Event> {
    let config_key = || "hex8_2p".into();
    let node_id = || "node-2".to_owned();
    let (model_id, segment, timestamp) = (Hash([0xab; 32]), Hash([0xcd; 32]), 1_735_500_000.25);
    let candidate = || "models/candidate_hex8_2p.safetensors".to_owned();
    let canonical = || "models/canonical_hex8_2p.safetensors".to_owned();
    let games = || Games {
        config_key: config_key(),
        node_id: node_id(),
        game_count: 150,
        total_games: 5000,
        db_path: "data/games/canonical_hex8_2p.db".into(),
        segment: SegmentId(segment),
        timestamp,
    };
    let Some(event) = event else { return Some(Event::SelfplayComplete(games())) };
    Some(match event {
        Event::SelfplayComplete(_) => Event::NewGamesAvailable(games()),
        Event::NewGamesAvailable(_) => Event::TrainingThresholdReached(TrainingThresholdReached {
            config_key: config_key(),
            node_id: node_id(),
            crossing: 3,
            game_count: 512,
            threshold: 500,
            timestamp,
        }),
        Event::TrainingThresholdReached(_) => Event::TrainingStarted(TrainingStarted {
            config_key: config_key(),
            node_id: node_id(),
            job_id: "training:hex8_2p:3".into(),
            parent: Some(ModelId(model_id)),
            model_path: candidate(),
            timestamp,
        }),
        Event::TrainingStarted(_) => Event::TrainingProgress(TrainingProgress {
            config_key: config_key(),
            node_id: node_id(),
            job_id: "training:hex8_2p:3".into(),
            epochs_completed: 1,
            total_epochs: 4,
            loss: 0.5,
            checkpoint_path: candidate(),
            timestamp,
        }),
        Event::TrainingProgress(_) => Event::TrainingCompleted(TrainingCompleted {
            config_key: config_key(),
            node_id: node_id(),
            model_id: ModelId(model_id),
            model_path: candidate(),
            board_type: "hex8".into(),
            num_players: 2,
            epochs_trained: 50,
            final_loss: 0.234,
            val_loss: 0.256,
            elo_estimate: 1450.0,
            timestamp,
        }),
        Event::TrainingCompleted(_) => Event::EvaluationStarted(EvaluationStarted {
            config_key: config_key(),
            node_id: node_id(),
            job_id: "evaluation:hex8_2p:3".into(),
            model_id: ModelId(model_id),
            model_path: candidate(),
            games_planned: 400,
            timestamp,
        }),
        Event::EvaluationStarted(_) => Event::EvaluationCompleted(EvaluationCompleted {
            config_key: config_key(),
            node_id: node_id(),
            model_id: ModelId(model_id),
            model_path: candidate(),
            elo_delta: 45.0,
            elo_error: 12.5,
            win_rate_vs_random: 0.95,
            win_rate_vs_heuristic: 0.65,
            passed_gauntlet: true,
            games_played: 100,
            timestamp,
        }),
        Event::EvaluationCompleted(_) => Event::ModelPromoted(ModelPromoted {
            config_key: config_key(),
            node_id: node_id(),
            model_id: ModelId(model_id),
            model_path: canonical(),
            generation: 2,
            previous_elo: 1400.0,
            new_elo: 1450.0,
            elo_delta: 50.0,
            promotion_reason: "gauntlet_passed".into(),
            timestamp,
        }),
        Event::ModelPromoted(_) => Event::ModelDistributionComplete(ModelDistributionComplete {
            config_key: config_key(),
            node_id: node_id(),
            model_id: ModelId(model_id),
            model_path: canonical(),
            target_hosts: vec!["node-1".into(), "node-2".into()],
            offline_hosts: vec!["node-3".into()],
            timestamp,
        }),
        Event::ModelDistributionComplete(_) => {
            Event::HostOnline(HostOnline { node_id: node_id(), host: "alpha".into(), timestamp })
        }
        Event::HostOnline(_) => Event::HostOffline(HostOffline {
            node_id: node_id(),
            host: "alpha".into(),
            reason: "no heartbeat".into(),
            timestamp,
        }),
        Event::HostOffline(_) => Event::LeaderElected(LeaderElected {
            leader_id: node_id(),
            node_id: node_id(),
            term: 7,
            previous_leader_id: Some("node-1".into()),
            timestamp,
        }),
        other => return more(other),
    })
}

/// The examples after the first twelve variants.
fn more(event: &Event) -> Option<Event> {
    let (config_key, node_id) = (ConfigKey::from("hex8_2p"), "node-2".to_owned());
    let (model_id, segment, timestamp) = (Hash([0xab; 32]), Hash([0xcd; 32]), 1_735_500_000.25);
    let canonical = "models/canonical_hex8_2p.safetensors".to_owned();
    let backpressure = |active| EvaluationBackpressure {
        config_key: "hex8_2p".into(),
        node_id: "node-2".into(),
        queue_depth: 9,
        threshold: 8,
        release_threshold: 3,
        backpressure_active: active,
        source: "evaluation".into(),
        timestamp,
    };
    let regression = |elo_drop| ChampionRegression {
        config_key: "hex8_2p".into(),
        node_id: "node-2".into(),
        elo_drop,
        model_id: Some(ModelId(model_id)),
        current_elo: Some(1400.0),
        baseline_elo: Some(1450.0),
        games_played: 200,
        reason: "sequential test".into(),
        timestamp,
    };
    let health = |healthy_nodes| ClusterHealth {
        node_id: "node-2".into(),
        node_count: 5,
        healthy_nodes,
        quorum_met: healthy_nodes > 2,
        leader_id: Some("node-1".into()),
        reason: "members".into(),
        timestamp,
    };
    let work = |error: &str| Work {
        config_key: "hex8_2p".into(),
        node_id: "node-2".into(),
        work_id: "training:hex8_2p:3".into(),
        work_type: "training".into(),
        error: error.into(),
        timestamp,
    };
    Some(match event {
        Event::LeaderElected(_) => Event::TrainingFailed(TrainingFailed {
            config_key,
            node_id,
            job_id: "training:hex8_2p:3".into(),
            error: "disk full".into(),
            timestamp,
        }),
        Event::TrainingFailed(_) => Event::EvaluationFailed(EvaluationFailed {
            config_key,
            node_id,
            job_id: "evaluation:hex8_2p:3".into(),
            model_id: Some(ModelId(model_id)),
            error: "disk full".into(),
            timestamp,
        }),
        Event::EvaluationFailed(_) => Event::EvaluationBackpressure(backpressure(true)),
        Event::EvaluationBackpressure(_) => Event::EvaluationBackpressureReleased(backpressure(false)),
        Event::EvaluationBackpressureReleased(_) => Event::PromotionRejected(PromotionRejected {
            config_key,
            node_id,
            model_id: ModelId(model_id),
            reason: "not shown to be stronger".into(),
            elo_improvement: Some(3.5),
            timestamp,
        }),
        Event::PromotionRejected(_) => Event::PromotionRolledBack(PromotionRolledBack {
            config_key,
            node_id,
            model_id: ModelId(model_id),
            from_version: 4,
            to_version: 3,
            reason: "regression".into(),
            triggered_by: "REGRESSION_CRITICAL".into(),
            timestamp,
        }),
        Event::PromotionRolledBack(_) => Event::ModelDistributionStarted(ModelDistributionStarted {
            config_key,
            node_id,
            model_id: ModelId(model_id),
            model_path: canonical,
            target_hosts: vec!["node-1".into()],
            timestamp,
        }),
        Event::ModelDistributionStarted(_) => Event::ModelDistributionFailed(ModelDistributionFailed {
            config_key,
            node_id,
            model_id: ModelId(model_id),
            error: "no holder".into(),
            failed_nodes: vec!["node-3".into()],
            timestamp,
        }),
        Event::ModelDistributionFailed(_) => Event::RegressionDetected(regression(60.0)),
        Event::RegressionDetected(_) => Event::RegressionCritical(regression(150.0)),
        Event::RegressionCritical(_) => Event::RegressionCleared(regression(0.5)),
        Event::RegressionCleared(_) => Event::TrainingRollbackNeeded(TrainingRollbackNeeded {
            config_key,
            node_id,
            model_id: Some(ModelId(model_id)),
            reason: "regression".into(),
            timestamp,
        }),
        Event::TrainingRollbackNeeded(_) => Event::CurriculumEmergencyUpdate(CurriculumEmergencyUpdate {
            config_key,
            node_id,
            old_weight: 1.5,
            new_weight: 0.5,
            reason: "regression".into(),
            timestamp,
        }),
        Event::CurriculumEmergencyUpdate(_) => Event::P2pClusterHealthy(health(5)),
        Event::P2pClusterHealthy(_) => Event::P2pClusterUnhealthy(health(2)),
        Event::P2pClusterUnhealthy(_) => Event::DataSyncCompleted(DataSync {
            config_key,
            node_id,
            host: "node-1".into(),
            games_synced: 150,
            bytes_transferred: 4096,
            duration: 0.5,
            segment: SegmentId(segment),
            timestamp,
        }),
        Event::DataSyncCompleted(_) => Event::DataSyncFailed(DataSyncFailed {
            config_key,
            node_id,
            segment: SegmentId(segment),
            error: "no holder".into(),
            retry_count: 2,
            timestamp,
        }),
        Event::DataSyncFailed(_) => Event::WorkQueued(work("")),
        Event::WorkQueued(_) => Event::WorkClaimed(work("")),
        Event::WorkClaimed(_) => Event::WorkCompleted(work("")),
        Event::WorkCompleted(_) => Event::WorkFailed(work("disk full")),
        Event::WorkFailed(_) => Event::WorkTimeout(work("disk full")),
        Event::WorkTimeout(_) => Event::WorkCancelled(work("")),
        Event::WorkCancelled(_) => Event::ForgeryFound(ForgeryFound {
            config_key,
            node_id,
            segment: SegmentId(segment),
            game: 7,
            ply: 41,
            confirmed_by: vec!["node-1".into(), "node-3".into()],
            timestamp,
        }),
        other => {
            assert_eq!(other.name(), "FORGERY_FOUND", "has no example");
            return None;
        }
    })
}

/// One example of every event, in the order of the encoding.
pub(crate) fn examples() -> Vec<Event> {
    std::iter::successors(next(None), |event| next(Some(event))).collect()
}

fn payload(name: &str) -> Map<String, Value> {
    let event = examples().into_iter().find(|event| event.name() == name).unwrap();
    serde_json::to_value(event).unwrap()[name].as_object().unwrap().clone()
}

#[test]
fn json_is_golden() {
    let examples = examples();
    assert!(examples.iter().map(Event::name).eq(Event::NAMES.iter().copied()));
    let text = serde_json::to_string_pretty(&examples).unwrap() + "\n";
    assert_eq!(text, GOLDEN, "now:\n{text}");
    assert_eq!(serde_json::from_str::<Vec<Event>>(GOLDEN).unwrap(), examples);
}

#[test]
fn the_only_key_is_the_name() {
    for event in examples() {
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), [event.name()]);
        let payload = &json[event.name()];
        assert!(payload["timestamp"].is_f64() && payload["node_id"].is_string(), "{event:?}");
    }
}

/// The map's sample payloads, in its order, as (field, value as written in Python).
fn samples() -> Vec<Vec<(&'static str, &'static str)>> {
    let field = |line: &'static str| {
        let (name, value) = line.trim().strip_prefix('"')?.split_once("\":")?;
        let value = value.split_once('#').map_or(value, |(value, _)| value);
        Some((name, value.trim().trim_end_matches(',')))
    };
    let blocks = MAP.split("### Required Payload").skip(1);
    blocks.map(|block| block.split("```").nth(1).unwrap().lines().filter_map(field).collect()).collect()
}

#[test]
fn the_maps_fields_are_there_with_their_types() {
    let names = ["NEW_GAMES_AVAILABLE", "TRAINING_COMPLETED", "EVALUATION_COMPLETED", "MODEL_PROMOTED"];
    let samples = samples();
    assert_eq!(samples.iter().map(Vec::len).collect::<Vec<_>>(), [5, 9, 8, 6]);
    for (name, sample) in names.into_iter().zip(samples) {
        let payload = payload(name);
        for (field, value) in sample {
            let found = payload.get(field).unwrap_or_else(|| panic!("{name} lacks {field}"));
            let counts = ["count", "games", "players", "epochs"].iter().any(|part| field.contains(part));
            let fits = match value {
                "True" | "False" => found.is_boolean(),
                text if text.starts_with('"') => found.is_string(),
                number if number.contains('.') => found.is_f64(),
                _ if counts => found.is_u64(),
                _ => found.is_number(),
            };
            assert!(fits, "{name}.{field}: {found} is not like {value}");
        }
    }
    assert!(payload("SELFPLAY_COMPLETE").keys().eq(payload("NEW_GAMES_AVAILABLE").keys()));
    // Scenario 1 of the map reads it.
    assert!(payload("MODEL_PROMOTED")["elo_delta"].is_f64());
}

#[test]
fn bytes_are_golden() {
    let lines = examples().into_iter().map(|event| {
        let bytes = wire::encode(0, &event, 4096).unwrap();
        assert_eq!(wire::decode::<Event, 4096>(0, &bytes).unwrap(), event);
        format!("{} {}\n", event.name(), hex::encode(&bytes[8..bytes.len() - 4]))
    });
    let text: String = lines.collect();
    assert_eq!(text, include_str!("golden.hex"), "now:\n{text}");
}

/// Every name in capitals that the map mentions as an event is one.
#[test]
fn the_maps_events_exist() {
    let words = MAP.split(|c: char| !(c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit()));
    let named = words.filter(|word| word.len() > 8 && word.contains('_') && !word.starts_with('_'));
    let missing: Vec<&str> = named
        .filter(|word| !Event::NAMES.contains(word))
        // As the picture shortens it, and two files of its own documentation.
        .filter(|word| {
            !["TRAINING_THRESHOLD", "EVENT_SUBSCRIPTION_MATRIX", "DAEMON_LIFECYCLE"].contains(word)
        })
        .filter(|word| !word.ends_with('_') && *word != "EVENT_FLOW_INTEGRATION")
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn an_operators_event_is_checked() {
    let check = |name: &str, payload: Value, expected: &str| {
        let found = match Event::from_operator(name, payload, "node-1", 5.5) {
            Ok(event) => serde_json::to_string(&event).unwrap(),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{found}");
    };
    use serde_json::json;
    let critical = json!({"config_key": "hex8_2p", "elo_drop": 150});
    check("REGRESSION_CRITICAL", critical, "\"node_id\":\"node-1\",\"elo_drop\":150.0");
    check("HOST_OFFLINE", json!({"node_id": "node-3"}), "\"timestamp\":5.5");
    check("HOST_OFFLINE", json!({}), "missing field `node_id`");
    check("HOST_GONE", json!({}), "there is no event \"HOST_GONE\"");
    check("REGRESSION_CRITICAL", json!({"config_key": "hex8_2p"}), "missing field `elo_drop`");
    check("REGRESSION_CRITICAL", json!({"config_key": 7, "elo_drop": 1}), "invalid type");
    check("REGRESSION_CRITICAL", json!({"config_key": "hex9_2p", "elo_drop": 1}), "no configuration");
    check("HOST_OFFLINE", json!({"node_id": "n", "raeson": "x"}), "no field \"raeson\"");
    check("HOST_OFFLINE", json!([1]), "no JSON object");
    let nan = Event::RegressionCritical(ChampionRegression {
        config_key: "hex8_2p".into(),
        node_id: String::new(),
        elo_drop: f64::NAN,
        model_id: None,
        current_elo: None,
        baseline_elo: None,
        games_played: 0,
        reason: String::new(),
        timestamp: 0.0,
    });
    assert!(matches!(nan.check(), Err(EventError::Value(_))));
    examples().iter().for_each(|event| event.check().unwrap());
}
