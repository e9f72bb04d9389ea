//! The whole loop on real processes: games, training, evaluation, promotion, and their events.

use crate::support::{Busy, Cluster, Peer, QUICK, SOON, until, when};
use kernels::Checkpoint;
use ringrift::store::{GameKind, GamesDb};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

const KEY: &str = "hex8_2p";
/// How long the first promotion may take, on two cores that others use as well.
const LOOP: Duration = Duration::from_secs(300);
/// How long every core is kept busy.
const BUSY: Duration = Duration::from_secs(20);
/// How long an answer about the cluster may take, also when every core is busy.
const ANSWER: Duration = Duration::from_secs(2);

/// Every event, with the fields of its payload and their types as the event-flow map has them; where the map
/// has none, those that this project has added. `u` is a whole number, `f` one with a fraction, `n` either.
const EVENTS: [(&str, &str); 13] = [
    ("SELFPLAY_COMPLETE", "config_key:s game_count:u total_games:u db_path:s segment:s"),
    ("NEW_GAMES_AVAILABLE", "config_key:s game_count:u total_games:u db_path:s segment:s"),
    ("TRAINING_THRESHOLD_REACHED", "config_key:s crossing:u game_count:u threshold:u"),
    ("TRAINING_STARTED", "config_key:s job_id:s model_path:s"),
    ("TRAINING_PROGRESS", "config_key:s epochs_completed:u total_epochs:u loss:f checkpoint_path:s"),
    (
        "TRAINING_COMPLETED",
        "config_key:s model_path:s board_type:s num_players:u epochs_trained:u final_loss:f val_loss:f \
         elo_estimate:n model_id:s",
    ),
    ("EVALUATION_STARTED", "config_key:s job_id:s model_id:s model_path:s games_planned:u"),
    (
        "EVALUATION_COMPLETED",
        "config_key:s model_path:s elo_delta:n win_rate_vs_random:f win_rate_vs_heuristic:f \
         passed_gauntlet:b games_played:u model_id:s elo_error:n",
    ),
    (
        "MODEL_PROMOTED",
        "config_key:s model_path:s previous_elo:n new_elo:n promotion_reason:s elo_delta:n model_id:s",
    ),
    ("MODEL_DISTRIBUTION_COMPLETE", "config_key:s model_id:s model_path:s target_hosts:a offline_hosts:a"),
    ("HOST_ONLINE", "host:s"),
    ("HOST_OFFLINE", "host:s reason:s"),
    ("LEADER_ELECTED", "leader_id:s term:u"),
];

#[test]
fn three_peers_learn_and_every_one_of_them_knows() {
    let mut cluster = Cluster::start(3, QUICK);
    let began = Instant::now();
    until("a promotion that every peer knows of and holds", LOOP, || {
        for peer in &cluster.peers {
            let status = peer.status()?;
            let config = status.configs.first().ok_or("no configuration yet")?;
            when(config.generation > 0 && config.distributed, (), || format!("{config:?}"))?;
        }
        Ok(())
    });
    eprintln!("first promotion after {:?}", began.elapsed());
    no_election_while_every_core_is_busy(&cluster);
    // These are for the two events that only a loss causes.
    let (took, code) = cluster.peers[2].stop();
    assert_eq!(code, Some(0), "{took:?}");
    cluster.peers[0].until_status("a lost peer is seen", |s| s.nodes.iter().any(|node| !node.online));
    cluster.peers[2].start(None);
    cluster.whole();
    for peer in &cluster.peers {
        every_event_is_there(peer);
        paths_are_the_readers_own(peer);
    }
    same_history(&cluster);
}

/// While as many loops as there are cores run at normal priority, no peer is elected, and status answers.
fn no_election_while_every_core_is_busy(cluster: &Cluster) {
    let terms = |cluster: &Cluster| -> Vec<u64> {
        cluster.peers.iter().map(|peer| peer.status().unwrap().term).collect()
    };
    let before = terms(cluster);
    let busy = Busy::start();
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    until("the busy time is over", BUSY * 3, || {
        for peer in &cluster.peers {
            let asked = Instant::now();
            let status = peer.status().unwrap();
            slowest = slowest.max(asked.elapsed());
            assert!(!status.stale, "{}: {status:?}", peer.name);
        }
        when(began.elapsed() >= BUSY, (), String::new)
    });
    let delays: Vec<u64> = cluster.peers.iter().map(|peer| peer.status().unwrap().delay_ms).collect();
    drop(busy);
    eprintln!("every core busy: slowest answer {slowest:?}, delays {delays:?} ms");
    assert!(slowest < ANSWER, "{slowest:?}");
    assert_eq!(terms(cluster), before, "an election");
}

fn every_event_is_there(peer: &Peer) {
    let events = until(&format!("{} has every event", peer.name), SOON, || {
        let events = peer.events();
        let found: BTreeSet<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
        let missing: Vec<_> = EVENTS.iter().filter(|(name, _)| !found.contains(name)).collect();
        when(missing.is_empty(), (), || format!("{missing:?}"))?;
        Ok(events)
    });
    for (name, payload) in &events {
        assert!(ringrift::events::Event::NAMES.contains(&name.as_str()), "{name}");
        // Other events may happen as well, such as a rejected candidate or a lease that ran out.
        let fields = EVENTS.iter().find(|(known, _)| known == name).map_or("", |(_, fields)| *fields);
        for field in fields.split_whitespace().chain(["node_id:s", "timestamp:f"]) {
            let (field, kind) = field.split_once(':').unwrap();
            let value = &payload[field];
            let fits = match kind {
                "s" => value.as_str().is_some_and(|text| !text.is_empty()),
                "u" => value.is_u64(),
                "f" => value.is_f64(),
                "n" => value.is_number(),
                "b" => value.is_boolean(),
                _ => value.is_array(),
            };
            assert!(fits, "{}: {name}.{field} in {payload}", peer.name);
        }
        if let Some(key) = payload.get("config_key") {
            assert_eq!(key, KEY, "{name}");
        }
    }
    in_order(&events, "TRAINING_STARTED", "TRAINING_COMPLETED");
    in_order(&events, "EVALUATION_STARTED", "EVALUATION_COMPLETED");
    let position = |name: &str, model: &Value| {
        events.iter().position(|(known, payload)| known == name && payload["model_id"] == *model)
    };
    let promoted = events.iter().filter(|(name, _)| name == "MODEL_PROMOTED");
    for (_, promotion) in promoted {
        let model = &promotion["model_id"];
        assert!(promotion["elo_delta"].as_f64().unwrap() > 0.0, "{promotion}");
        let at = position("MODEL_PROMOTED", model);
        if let Some(distributed) = position("MODEL_DISTRIBUTION_COMPLETE", model) {
            assert!(at.unwrap() < distributed, "{}: {model}", peer.name);
        }
        assert!(position("TRAINING_COMPLETED", model) < position("EVALUATION_COMPLETED", model));
        assert!(position("EVALUATION_COMPLETED", model) < at);
    }
}

/// Checks that at no time more leases were completed than started.
fn in_order(events: &[(String, Value)], started: &str, completed: &str) {
    let mut open = 0;
    for (name, payload) in events {
        open += i32::from(name == started);
        open -= i32::from(name == completed);
        assert!(open >= 0, "{completed} before {started}: {payload}");
    }
}

/// Checks that the file which an event names exists in the folder of the peer that reads the event.
fn paths_are_the_readers_own(peer: &Peer) {
    let events = peer.events();
    let path = |name: &str, field: &str| {
        let (_, payload) = events.iter().find(|(known, _)| known == name).unwrap();
        payload[field].as_str().unwrap().to_owned()
    };
    let games = path("NEW_GAMES_AVAILABLE", "db_path");
    assert_eq!(games, "data/games/canonical_hex8_2p.db");
    let file = peer.folder.join(games);
    until(&format!("{} has games", peer.name), SOON, || {
        when(file.is_file(), (), || format!("no {}", file.display()))?;
        let opened = GamesDb::open(&file, KEY.parse().unwrap(), "test").map_err(|error| error.to_string())?;
        assert_eq!(opened.set_aside, None);
        let count = opened.db.count(GameKind::Selfplay).map_err(|error| error.to_string())?;
        when(count.games > 0, (), || "no games".to_owned())
    });
    let candidate = path("TRAINING_COMPLETED", "model_path");
    let canonical = path("MODEL_PROMOTED", "model_path");
    assert_eq!(candidate, "models/candidate_hex8_2p.safetensors");
    assert_eq!(canonical, "models/canonical_hex8_2p.safetensors");
    for model in [candidate, canonical] {
        let file = peer.folder.join(model);
        until(&format!("{} has {}", peer.name, file.display()), SOON, || {
            let bytes = fs::read(&file).map_err(|error| error.to_string())?;
            let loaded = Checkpoint::for_config(&bytes, KEY.parse().unwrap());
            let loaded = loaded.map_err(|error| error.to_string())?;
            when(loaded.header.step > 0, (), || "an untrained network".to_owned())
        });
    }
}

/// Checks that every peer reports the same champions in the same order, and holds the last.
fn same_history(cluster: &Cluster) {
    let history = until("the peers agree", SOON, || {
        let statuses: Result<Vec<_>, _> = cluster.peers.iter().map(Peer::status).collect();
        let mut histories: Vec<_> = statuses?.iter().map(|s| s.configs[0].history.clone()).collect();
        let first = histories.swap_remove(0);
        when(histories.iter().all(|other| *other == first), first, || "different histories".to_owned())
    });
    assert!(!history.is_empty());
    for peer in &cluster.peers {
        until(&format!("{} holds the champion", peer.name), SOON, || {
            let audit = peer.audit();
            let told: Vec<_> = audit.champions.iter().filter(|c| c.generation > 0).collect();
            for (champion, promotion) in told.iter().zip(&history) {
                assert_eq!(champion.model, promotion.model, "{}", peer.name);
            }
            let held = told.len() >= history.len() && told.last().is_some_and(|last| last.here);
            when(held, (), || format!("{told:?}"))
        });
    }
}
