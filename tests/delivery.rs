//! Events on three real peers: by hand, to every log and every handler; dead letters; and all of it without gossip.

use super::support::turn;
use ringrift::{
    client::Client,
    events::{Event, log::Logged, registry},
    node::status::Status,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

const SOON: Duration = Duration::from_secs(90);
const SETTINGS: &str = "selfplay_threads = 1\n[selfplay]\nsimulations = 4\nparallel_games = 2\nsegment_games = 8\n\
    segment_seconds = 3600\n[training]\nthreshold_games = 1000000\n[events]\ngossip = ";
const KEY: &str = "hex8_2p";
const NOWHERE: &str = "00000000000000000000000000000000000000000000000000000000000000aa";

fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        match look() {
            Ok(found) => return found,
            Err(why) => assert!(Instant::now() < deadline, "{what}: {why}"),
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// A peer that is killed when this is dropped.
struct Peer {
    folder: PathBuf,
    child: Child,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    fn start(root: &Path, name: &str, gossip: bool, join: Option<&str>) -> Self {
        let folder = root.join(name);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("ringrift.toml"), format!("{SETTINGS}{gossip}\n")).expect("settings");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringrift"));
        command.args(["node", "--exit-with-parent", "--name", name, "--data-dir"]).arg(&folder);
        if let Some(address) = join {
            command.args(["--bootstrap", address]);
        }
        let log =
            File::options().create(true).append(true).open(root.join(format!("{name}.log"))).expect("a log");
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("it starts");
        Self { folder, child }
    }

    fn client(&self) -> Result<Client, String> {
        Client::of_folder(&self.folder).map_err(|error| error.to_string())
    }

    fn address(&self) -> String {
        until("it listens", || {
            let mut text = String::new();
            let file = File::open(self.folder.join("runtime.json"));
            file.and_then(|mut file| file.read_to_string(&mut text)).map_err(|error| error.to_string())?;
            let runtime: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            runtime["p2p"][0].as_str().map(str::to_owned).ok_or(text)
        })
    }

    fn status(&self) -> Result<Status, String> {
        self.client()?.status().map_err(|error| format!("{error:?}"))
    }

    fn log(&self) -> Result<Vec<Logged>, String> {
        let mut all: Vec<Logged> = Vec::new();
        loop {
            let last = all.last().map_or(0, |logged| logged.position);
            let page = self.client()?.events(last, 500).map_err(|error| format!("{error:?}"))?;
            if page.is_empty() {
                return Ok(all);
            }
            all.extend(page);
        }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringrift"));
        command.args(args).arg("--data-dir").arg(&self.folder).output().expect("it runs")
    }

    fn emit(&self, event: &str, payload: &Value) -> Output {
        self.run(&["events", "emit", event, "--payload", &payload.to_string()])
    }
}

fn cluster(root: &Path, gossip: bool) -> Vec<Peer> {
    let first = Peer::start(root, "n1", gossip, None);
    let address = first.address();
    let mut peers = vec![first];
    peers.extend(["n2", "n3"].map(|name| Peer::start(root, name, gossip, Some(&address))));
    for peer in &peers {
        until("the cluster is whole", || {
            let status = peer.status()?;
            let up = status.nodes.iter().filter(|node| node.online && node.connected).count();
            let whole =
                up == 3 && !status.stale && status.configs.iter().any(|config| config.config_key == KEY);
            if whole { Ok(()) } else { Err(format!("{status:?}")) }
        });
    }
    peers
}

/// A payload for each event: nothing in it exists, so nothing real happens.
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
        "leader_id": "node-1", "term": 0, "node_count": 3, "healthy_nodes": 1
    }"#;
    let all = all.replace("NOWHERE", NOWHERE).replace("MODEL", model);
    let all: Value = serde_json::from_str(&all).expect("JSON");
    let mut fields = all.as_object().expect("an object").clone();
    // What the event does not have is refused by name: leave it out and ask again.
    loop {
        match Event::from_operator(event, Value::Object(fields.clone()), "node-1", 1.5) {
            Ok(_) => return Value::Object(fields),
            Err(ringrift::events::EventError::Field { field, .. }) => drop(fields.remove(&field)),
            Err(error) => panic!("{event}: {error}"),
        }
    }
}

/// Everything injected on `peers[0]` is in every log, and no handler has anything left to do.
fn settled(peers: &[Peer], expected: &BTreeSet<&str>) {
    for peer in peers {
        until("every event is everywhere and handled", || {
            let log = peer.log()?;
            let injected = log.iter().filter(|logged| logged.injected);
            let names: BTreeSet<&str> = injected.map(|logged| logged.event.name()).collect();
            let missing: Vec<_> = expected.difference(&names).collect();
            let waiting: u64 = peer.status()?.events.handlers.iter().map(|handler| handler.waiting).sum();
            if missing.is_empty() && waiting == 0 {
                Ok(())
            } else {
                Err(format!("{missing:?}, {waiting} wait"))
            }
        });
    }
}

#[test]
fn every_event_injected_reaches_every_log_and_every_handler() {
    let _turn = turn();
    let root = tempfile::tempdir().unwrap();
    let peers = cluster(root.path(), true);
    for event in Event::NAMES {
        let output = peers[0].emit(event, &payload(event));
        assert!(output.status.success(), "{event}: {output:?}");
    }
    settled(&peers, &Event::NAMES.iter().copied().collect());
    for peer in &peers {
        let log = peer.log().unwrap();
        let ids: BTreeSet<_> = log.iter().map(Logged::id).collect();
        assert_eq!(ids.len(), log.len(), "once each");
        let own: Vec<i64> = log.iter().filter(|l| l.injected).map(|l| l.sequence).collect();
        let in_flow = |flow: &str| -> Vec<i64> {
            log.iter().filter(|l| l.injected && l.flow == flow).map(|l| l.sequence).collect()
        };
        assert_eq!(own.len(), Event::NAMES.len());
        assert!(in_flow(KEY).is_sorted() && in_flow("cluster").is_sorted());
        let handlers = peer.status().unwrap().events.handlers;
        for daemon in registry::pairs().into_iter().map(|(_, daemon)| daemon).collect::<BTreeSet<_>>() {
            let status = handlers.iter().find(|status| status.handler == daemon);
            assert!(status.is_some_and(|status| status.handled + status.dead > 0), "{daemon}: {handlers:?}");
        }
    }

    // A segment that does not exist cannot be merged: on every node a dead letter, after three attempts.
    let list = peers[1].run(&["dlq", "list", "--all", "--json"]);
    assert_eq!(list.status.code(), Some(0), "{list:?}");
    let told: Value = serde_json::from_slice(&list.stdout).unwrap();
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
    assert!(peers[0].run(&["dlq", "show", &id]).status.success());
    assert_eq!(peers[0].run(&["dlq", "show", "999"]).status.code(), Some(1));
    let replay = peers[0].run(&["dlq", "replay", "--max-age-hours", "24", "--all", "--json"]);
    assert_eq!(replay.status.code(), Some(1), "{replay:?}");
    let told: Value = serde_json::from_slice(&replay.stdout).unwrap();
    for node in told.as_array().unwrap() {
        assert_eq!(
            node["replayed"],
            json!({"replayed": 1, "recovered": 0, "failed": 1, "waiting": 0}),
            "{told}"
        );
    }
    assert_eq!(peers[0].status().unwrap().events.dead_letters, 1);
    let purge = peers[0].run(&["dlq", "purge", "--all"]);
    assert_eq!(purge.status.code(), Some(0), "{purge:?}");
    for peer in &peers {
        assert_eq!(peer.status().unwrap().events.dead_letters, 0);
    }

    let refused = |event: &str, payload: Value, why: &str| {
        let output = peers[0].emit(event, &payload);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{output:?}");
    };
    refused("HOST_GONE", json!({}), "there is no event");
    refused("HOST_OFFLINE", json!({}), "missing field");
    refused("HOST_OFFLINE", json!({"node_id": "x".repeat(20_000)}), "too large");
    let key = peers[0].folder.join("token");
    fs::write(&key, "0".repeat(64)).unwrap();
    refused("HOST_OFFLINE", json!({"node_id": "node-99"}), "not allowed");
    fs::remove_file(&key).unwrap();
    assert_eq!(peers[0].emit("HOST_OFFLINE", &json!({"node_id": "n"})).status.code(), Some(3));
}

#[test]
fn without_gossip_everything_still_arrives_also_at_a_peer_that_was_away() {
    let _turn = turn();
    let root = tempfile::tempdir().unwrap();
    let mut peers = cluster(root.path(), false);
    let emit = |peers: &[Peer], event: &str| {
        let output = peers[0].emit(event, &payload(event));
        assert!(output.status.success(), "{output:?}");
    };
    emit(&peers, "REGRESSION_CLEARED");
    settled(&peers, &BTreeSet::from(["REGRESSION_CLEARED"]));
    let away = peers.pop().unwrap();
    let join = peers[0].address();
    drop(away); // kill -9
    emit(&peers, "WORK_QUEUED");
    emit(&peers, "WORK_CANCELLED");
    let all = BTreeSet::from(["REGRESSION_CLEARED", "WORK_QUEUED", "WORK_CANCELLED"]);
    settled(&peers, &all);
    peers.push(Peer::start(root.path(), "n3", false, Some(&join)));
    until("it is back", || peers[2].status().map(drop));
    settled(&peers[2..], &all);
}

#[test]
fn the_map_is_printed_from_the_registry() {
    let run = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_ringrift")).args(args).output().unwrap();
    let printed = run(&["events", "--map", "--json"]);
    assert!(printed.status.success(), "{printed:?}");
    let entries: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let names: Vec<&str> = entries.as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!(names, Event::NAMES);
    assert_eq!(entries, serde_json::to_value(registry::entries()).unwrap());
    let text = String::from_utf8(run(&["events", "--map"]).stdout).unwrap();
    assert!(text.contains("NEW_GAMES_AVAILABLE <- sync\n    -> consolidation: merges"), "{text}");
}
