//! Who emits which event, and which daemon does what about it.
//!
//! Invariant: it names what exists. A test compares it with the handlers that are registered.

use super::Event;
use serde::Serialize;

/// What one daemon does about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Handles {
    /// The daemon, as the file in `src/daemons`.
    pub daemon: &'static str,
    /// What it does.
    pub effect: &'static str,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its name.
    pub event: &'static str,
    /// Who emits it; operators can emit every event.
    pub emitters: &'static [&'static str],
    /// Who handles it.
    pub handlers: Vec<Handles>,
}

const MERGE: &str = "merges the segment into the canonical database, if this node holds it";
const COPY: &str = "looks for segments that lack copies";
const LEASES: &str = "the leader grants what training is due";
const EVALUATE: &str = "the leader grants what evaluation is due";
const FETCH: &str = "fetches and verifies the models that belong here";
const COUNT: &str = "the leader counts the games and says when a threshold is crossed";

/// (event, daemon, effect).
const HANDLERS: &[(&str, &str, &str)] = &[
    ("SELFPLAY_COMPLETE", "consolidation", MERGE),
    ("SELFPLAY_COMPLETE", "sync", "has the segments of this node acknowledged"),
    ("NEW_GAMES_AVAILABLE", "consolidation", MERGE),
    ("NEW_GAMES_AVAILABLE", "data_pipeline", COUNT),
    ("NEW_GAMES_AVAILABLE", "replication", COPY),
    ("NEW_GAMES_AVAILABLE", "training", LEASES),
    ("TRAINING_THRESHOLD_REACHED", "training", LEASES),
    ("TRAINING_COMPLETED", "data_pipeline", COUNT),
    ("TRAINING_COMPLETED", "distribution", FETCH),
    ("TRAINING_COMPLETED", "evaluation", EVALUATE),
    ("TRAINING_FAILED", "training", LEASES),
    ("EVALUATION_COMPLETED", "promotion", "the leader judges the evidence"),
    ("EVALUATION_FAILED", "evaluation", EVALUATE),
    ("PROMOTION_REJECTED", "training", LEASES),
    ("MODEL_PROMOTED", "distribution", FETCH),
    ("MODEL_PROMOTED", "scheduler", "the leader sets what self-play is to do"),
    ("HOST_OFFLINE", "replication", COPY),
    ("HOST_OFFLINE", "node_monitor", "the leader takes away the host's leases"),
    ("HOST_ONLINE", "replication", COPY),
    ("LEADER_ELECTED", "roles", "the leader's daemons take their turn at once"),
    ("WORK_TIMEOUT", "node_monitor", "the leader looks after the leases"),
];

fn emitters(event: &str) -> &'static [&'static str] {
    match event {
        "SELFPLAY_COMPLETE" => &["selfplay"],
        "NEW_GAMES_AVAILABLE" => &["sync"],
        "TRAINING_THRESHOLD_REACHED" => &["data_pipeline"],
        "TRAINING_STARTED" | "TRAINING_PROGRESS" | "TRAINING_COMPLETED" | "TRAINING_FAILED" => &["training"],
        "EVALUATION_STARTED" | "EVALUATION_COMPLETED" | "EVALUATION_FAILED" => &["evaluation"],
        "MODEL_PROMOTED" | "PROMOTION_REJECTED" => &["promotion"],
        "MODEL_DISTRIBUTION_COMPLETE" => &["distribution"],
        "HOST_ONLINE" | "HOST_OFFLINE" | "WORK_TIMEOUT" => &["node_monitor"],
        "LEADER_ELECTED" => &["roles"],
        "WORK_CLAIMED" | "WORK_COMPLETED" | "WORK_FAILED" => &["evaluation", "training"],
        _ => &[],
    }
}

/// Every event, in the order of its encoding.
#[must_use]
pub fn entries() -> Vec<Entry> {
    let handlers = |event: &str| {
        let own = HANDLERS.iter().filter(|(name, ..)| *name == event);
        own.map(|&(_, daemon, effect)| Handles { daemon, effect }).collect()
    };
    let entry = |&event: &&'static str| Entry { event, emitters: emitters(event), handlers: handlers(event) };
    Event::NAMES.iter().map(entry).collect()
}

/// The events that a daemon handles.
#[must_use]
pub fn handled_by(daemon: &str) -> Vec<&'static str> {
    HANDLERS.iter().filter(|(_, handler, _)| *handler == daemon).map(|(event, ..)| *event).collect()
}

/// Pairs of event and handler.
#[must_use]
pub fn pairs() -> Vec<(&'static str, &'static str)> {
    HANDLERS.iter().map(|(event, daemon, _)| (*event, *daemon)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_in_the_registry_exists() {
        for (event, daemon, _) in HANDLERS {
            assert!(Event::NAMES.contains(event), "{event}");
            let file = format!("{}/src/daemons/{daemon}.rs", env!("CARGO_MANIFEST_DIR"));
            assert!(std::path::Path::new(&file).exists(), "{file}");
        }
        let entries = entries();
        assert_eq!(entries.len(), Event::NAMES.len());
        for daemon in entries.iter().flat_map(|entry| entry.emitters) {
            let file = format!("{}/src/daemons/{daemon}.rs", env!("CARGO_MANIFEST_DIR"));
            assert!(std::path::Path::new(&file).exists(), "{file}");
        }
        let json = serde_json::to_value(&entries[0]).unwrap();
        assert_eq!(json["event"], "SELFPLAY_COMPLETE");
        assert_eq!(json["emitters"][0], "selfplay");
        assert_eq!(json["handlers"][0]["daemon"], "consolidation");
    }
}
