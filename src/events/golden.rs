//! Holds the events' JSON, and with it every field's name and type.
//!
//! Other programs read it: a change of `golden.json` is a change of the interface.

use super::*;
use serde_json::{Map, Value};
use wire::Hash;

const GOLDEN: &str = include_str!("golden.json");
const MAP: &str = include_str!("../../docs/EVENT_FLOW_INTEGRATION.md");

/// An example of the variant that follows; a new variant does not compile until it has one.
fn next(event: Option<&Event>) -> Option<Event> {
    let config_key = || "hex8_2p".to_owned();
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
        segment,
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
            parent: Some(model_id),
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
            model_id,
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
            model_id,
            model_path: candidate(),
            games_planned: 400,
            timestamp,
        }),
        Event::EvaluationStarted(_) => Event::EvaluationCompleted(EvaluationCompleted {
            config_key: config_key(),
            node_id: node_id(),
            model_id,
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
            model_id,
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
            model_id,
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
        Event::LeaderElected(_) => return None,
    })
}

fn examples() -> Vec<Event> {
    std::iter::successors(next(None), |event| next(Some(event))).collect()
}

fn payload(name: &str) -> Map<String, Value> {
    let event = examples().into_iter().find(|event| event.name() == name).unwrap();
    serde_json::to_value(event).unwrap()[name].as_object().unwrap().clone()
}

#[test]
fn json_is_golden() {
    let examples = examples();
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
        assert!(MAP.contains(event.name()), "{}", event.name());
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
