//! Who emits which event, and which daemon does what about it.
//!
//! Invariant: it names what exists. A test compares it with the handlers that are registered.

use super::Event;
use serde::Serialize;

/// What one daemon does about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Handles {
    /// The daemon, as the file in `src/daemons` or `src/leader`.
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
const SIGNALS: &str = "the leader weighs anew what to ask of training and self-play";
const BUSY: &str = "the host is not idle";
const WORK: &str = "the leader looks at what work waits";
const SCORE: &str = "moves the health score";
const PAUSES: &str = "no new training while it lasts";
const TARGETS: &str = "the leader sets what self-play is to do";
const WEIGHTS: &str = "the leader sets the configuration's share of self-play";
const VIEW: &str = "updates the view of the cluster";

/// (event, daemon, effect).
const HANDLERS: &[(&str, &str, &str)] = &[
    ("SELFPLAY_COMPLETE", "consolidation", MERGE),
    ("SELFPLAY_COMPLETE", "feedback", SIGNALS),
    ("SELFPLAY_COMPLETE", "idle_shutdown", BUSY),
    ("SELFPLAY_COMPLETE", "sync", "has the segments of this node acknowledged"),
    ("NEW_GAMES_AVAILABLE", "consolidation", MERGE),
    ("NEW_GAMES_AVAILABLE", "data_pipeline", COUNT),
    ("NEW_GAMES_AVAILABLE", "queue", WORK),
    ("NEW_GAMES_AVAILABLE", "replication", COPY),
    ("NEW_GAMES_AVAILABLE", "training", LEASES),
    ("TRAINING_THRESHOLD_REACHED", "training", LEASES),
    ("TRAINING_STARTED", "feedback", SIGNALS),
    ("TRAINING_STARTED", "idle_shutdown", BUSY),
    ("TRAINING_PROGRESS", "distribution", "fetches ahead what the coming candidate needs, from 80 % on"),
    ("TRAINING_COMPLETED", "data_pipeline", COUNT),
    ("TRAINING_COMPLETED", "distribution", FETCH),
    ("TRAINING_COMPLETED", "feedback", SIGNALS),
    ("TRAINING_COMPLETED", "feedback_loop", "the leader has the candidate evaluated"),
    ("TRAINING_COMPLETED", "queue", WORK),
    ("TRAINING_FAILED", "training", LEASES),
    ("EVALUATION_STARTED", "sync", "has games that wait here acknowledged, before the verdict counts them"),
    ("EVALUATION_COMPLETED", "auto_promotion", "the leader judges the evidence"),
    ("EVALUATION_COMPLETED", "curriculum", WEIGHTS),
    ("EVALUATION_COMPLETED", "feedback", SIGNALS),
    ("EVALUATION_COMPLETED", "feedback_loop", "the leader closes the loop, or evaluates once more"),
    ("EVALUATION_FAILED", "evaluation", EVALUATE),
    (
        "EVALUATION_BACKPRESSURE",
        "data_pipeline",
        "no thresholds are crossed while it lasts; counting goes on",
    ),
    ("EVALUATION_BACKPRESSURE", "training", PAUSES),
    ("EVALUATION_BACKPRESSURE_RELEASED", "data_pipeline", COUNT),
    ("EVALUATION_BACKPRESSURE_RELEASED", "training", LEASES),
    ("MODEL_PROMOTED", "cache", "drops loaded models that play no more"),
    ("MODEL_PROMOTED", "curriculum", WEIGHTS),
    ("MODEL_PROMOTED", "distribution", FETCH),
    ("MODEL_PROMOTED", "feedback", SIGNALS),
    ("MODEL_PROMOTED", "scheduler", TARGETS),
    ("PROMOTION_REJECTED", "feedback", SIGNALS),
    ("PROMOTION_REJECTED", "training", LEASES),
    ("PROMOTION_ROLLED_BACK", "cache", "drops loaded models that play no more"),
    ("PROMOTION_ROLLED_BACK", "curriculum", WEIGHTS),
    ("PROMOTION_ROLLED_BACK", "distribution", FETCH),
    ("PROMOTION_ROLLED_BACK", "training", "the leader ends the pause once the champion has settled"),
    ("MODEL_DISTRIBUTION_FAILED", "health", "raises an alert"),
    ("REGRESSION_DETECTED", "feedback", SIGNALS),
    ("REGRESSION_DETECTED", "health", SCORE),
    ("REGRESSION_DETECTED", "training", "the leader reduces the learning rate"),
    ("REGRESSION_CRITICAL", "curriculum", "the leader cuts the configuration's share at once"),
    ("REGRESSION_CRITICAL", "health", "moves the health score and raises an alert"),
    ("REGRESSION_CRITICAL", "supervisor", "restarts what trains or evaluates the configuration here"),
    ("REGRESSION_CRITICAL", "training", "stops the running job at once, and starts none"),
    ("REGRESSION_CLEARED", "curriculum", WEIGHTS),
    ("REGRESSION_CLEARED", "health", SCORE),
    ("REGRESSION_CLEARED", "training", LEASES),
    ("TRAINING_ROLLBACK_NEEDED", "training", "the leader brings the champion before back, once"),
    ("CURRICULUM_EMERGENCY_UPDATE", "scheduler", TARGETS),
    ("HOST_OFFLINE", "health", "the host counts as offline"),
    ("HOST_OFFLINE", "node_monitor", "the leader takes away the host's leases"),
    ("HOST_OFFLINE", "replication", COPY),
    ("HOST_OFFLINE", "roles", "the leader gives the host's work to others"),
    ("HOST_OFFLINE", "watchdog", VIEW),
    ("HOST_ONLINE", "health", "the host counts as online"),
    ("HOST_ONLINE", "replication", COPY),
    ("HOST_ONLINE", "watchdog", VIEW),
    ("P2P_CLUSTER_UNHEALTHY", "autoscaler", "recommends nothing while it lasts"),
    ("P2P_CLUSTER_UNHEALTHY", "health", "takes an operator's word for it, for a while"),
    ("P2P_CLUSTER_UNHEALTHY", "scheduler", "self-play here slows down"),
    ("P2P_CLUSTER_UNHEALTHY", "training", PAUSES),
    ("P2P_CLUSTER_HEALTHY", "autoscaler", "recommends again"),
    ("P2P_CLUSTER_HEALTHY", "health", "an operator's word to the contrary ends"),
    ("P2P_CLUSTER_HEALTHY", "scheduler", "self-play here goes at full speed"),
    ("P2P_CLUSTER_HEALTHY", "training", LEASES),
    ("LEADER_ELECTED", "roles", "the leader's daemons take their turn at once"),
    ("DATA_SYNC_COMPLETED", "replication", COPY),
    ("DATA_SYNC_FAILED", "sync", "tries again, later each time"),
    ("WORK_QUEUED", "queue", WORK),
    ("WORK_CLAIMED", "idle_shutdown", BUSY),
    ("WORK_COMPLETED", "queue", WORK),
    ("WORK_FAILED", "queue", WORK),
    ("WORK_TIMEOUT", "roles", "the leader gives the work to others"),
    ("WORK_CANCELLED", "queue", WORK),
];

fn emitters(event: &str) -> &'static [&'static str] {
    match event {
        "SELFPLAY_COMPLETE" => &["selfplay"],
        "NEW_GAMES_AVAILABLE" => &["sync"],
        "TRAINING_THRESHOLD_REACHED" => &["data_pipeline"],
        "TRAINING_STARTED" | "TRAINING_PROGRESS" | "TRAINING_COMPLETED" | "TRAINING_FAILED" => &["training"],
        "EVALUATION_STARTED" => &["evaluation", "feedback_loop", "regression"],
        "EVALUATION_COMPLETED" | "EVALUATION_FAILED" => &["evaluation", "gauntlet"],
        "EVALUATION_BACKPRESSURE" | "EVALUATION_BACKPRESSURE_RELEASED" => &["evaluation"],
        "MODEL_PROMOTED" | "PROMOTION_REJECTED" => &["auto_promotion", "promotion"],
        "PROMOTION_ROLLED_BACK" => &["training"],
        "MODEL_DISTRIBUTION_STARTED" | "MODEL_DISTRIBUTION_COMPLETE" | "MODEL_DISTRIBUTION_FAILED" => {
            &["distribution"]
        }
        "REGRESSION_DETECTED" | "REGRESSION_CRITICAL" | "REGRESSION_CLEARED" => &["regression"],
        "TRAINING_ROLLBACK_NEEDED" => &["regression"],
        "CURRICULUM_EMERGENCY_UPDATE" => &["curriculum"],
        "HOST_ONLINE" | "HOST_OFFLINE" => &["node_monitor"],
        "P2P_CLUSTER_HEALTHY" | "P2P_CLUSTER_UNHEALTHY" => &["health"],
        "LEADER_ELECTED" => &["roles"],
        "DATA_SYNC_COMPLETED" | "DATA_SYNC_FAILED" => &["replication"],
        "WORK_QUEUED" => &["queue"],
        "WORK_CLAIMED" | "WORK_COMPLETED" | "WORK_FAILED" | "WORK_CANCELLED" => &["evaluation", "training"],
        "WORK_TIMEOUT" => &["node_monitor"],
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

    /// Where a daemon stands whose file has another name: its name is written into databases and stays.
    const ELSEWHERE: [(&str, &str); 2] =
        [("replication", "segments/copy.rs"), ("sync", "segments/acknowledge.rs")];

    /// Whether a daemon is a file in a room of daemons or deciders, or where [`ELSEWHERE`] says.
    fn has_file(daemon: &str) -> bool {
        let exists =
            |file: &str| std::path::Path::new(&format!("{}/src/{file}", env!("CARGO_MANIFEST_DIR"))).exists();
        match ELSEWHERE.iter().find(|(name, _)| *name == daemon) {
            Some((_, file)) => exists(file),
            None => ["daemons", "leader"].iter().any(|room| exists(&format!("{room}/{daemon}.rs"))),
        }
    }

    #[test]
    fn every_name_in_the_registry_exists() {
        for (event, daemon, _) in HANDLERS {
            assert!(Event::NAMES.contains(event), "{event}");
            assert!(has_file(daemon), "{daemon}");
        }
        let entries = entries();
        assert_eq!(entries.len(), Event::NAMES.len());
        for daemon in entries.iter().flat_map(|entry| entry.emitters) {
            assert!(has_file(daemon), "{daemon}");
        }
        let json = serde_json::to_value(&entries[0]).unwrap();
        assert_eq!(json["event"], "SELFPLAY_COMPLETE");
        assert_eq!(json["emitters"][0], "selfplay");
        assert_eq!(json["handlers"][0]["daemon"], "consolidation");
    }
}
