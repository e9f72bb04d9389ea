//! The event-flow map: its chains are in the registry as the binary prints it.

use super::support::run;
use serde_json::Value;
use std::collections::BTreeSet;

/// The map's arrows, flow by flow: who emits which event, and who hears it.
const CHAINS: &[(&[&str], &str, &[&str])] = &[
    // 1. Self-play to training.
    (&["selfplay"], "SELFPLAY_COMPLETE", &["consolidation", "feedback", "idle_shutdown", "sync"]),
    // Games are available once the node that synced them has had them acknowledged.
    (&["sync"], "NEW_GAMES_AVAILABLE", &["data_pipeline", "training", "replication", "queue"]),
    (&["data_pipeline"], "TRAINING_THRESHOLD_REACHED", &["training"]),
    // 2. Training to evaluation.
    (&["training"], "TRAINING_STARTED", &["idle_shutdown", "feedback"]),
    (&["training"], "TRAINING_PROGRESS", &["distribution"]),
    (&["training"], "TRAINING_COMPLETED", &["feedback_loop", "queue", "feedback", "data_pipeline"]),
    (&["feedback_loop"], "EVALUATION_STARTED", &["sync"]),
    // 3. Evaluation to promotion.
    (&["evaluation"], "EVALUATION_STARTED", &["sync"]),
    (
        &["evaluation", "gauntlet"],
        "EVALUATION_COMPLETED",
        &["auto_promotion", "curriculum", "feedback", "feedback_loop"],
    ),
    (&["evaluation"], "EVALUATION_BACKPRESSURE", &["training", "data_pipeline"]),
    (&["evaluation"], "EVALUATION_BACKPRESSURE_RELEASED", &["training", "data_pipeline"]),
    // 4. Promotion to distribution.
    (
        &["auto_promotion", "promotion"],
        "MODEL_PROMOTED",
        &["distribution", "curriculum", "cache", "feedback", "scheduler"],
    ),
    (&["distribution"], "MODEL_DISTRIBUTION_COMPLETE", &[]),
    (&["promotion"], "PROMOTION_REJECTED", &[]),
    // 5. Regression to recovery.
    (&["regression"], "REGRESSION_DETECTED", &["training", "feedback", "health"]),
    (&["regression"], "REGRESSION_CRITICAL", &["training", "curriculum", "supervisor", "health"]),
    (&["curriculum"], "CURRICULUM_EMERGENCY_UPDATE", &["scheduler"]),
    (&["regression"], "TRAINING_ROLLBACK_NEEDED", &["training"]),
    (&["training"], "PROMOTION_ROLLED_BACK", &["cache"]),
    // 6. Health.
    (&["node_monitor"], "HOST_OFFLINE", &["health", "watchdog", "replication", "roles"]),
    (&["node_monitor"], "HOST_ONLINE", &["health", "watchdog", "replication"]),
    (&["health"], "P2P_CLUSTER_UNHEALTHY", &["training", "autoscaler", "scheduler"]),
    (&["health"], "P2P_CLUSTER_HEALTHY", &["training", "autoscaler", "scheduler"]),
    (&["roles"], "LEADER_ELECTED", &["roles"]),
];

#[test]
fn no_arrow_of_the_map_is_missing() {
    let printed = run(&["events", "--map", "--json"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let entries: Vec<Value> = serde_json::from_str(&printed.stdout).expect("JSON");
    let mut missing = Vec::new();
    for (emitters, event, handlers) in CHAINS {
        let Some(entry) = entries.iter().find(|entry| entry["event"] == *event) else {
            missing.push(format!("{event} does not exist"));
            continue;
        };
        let emit = names(entry["emitters"].as_array().expect("a list").iter());
        let handle = names(entry["handlers"].as_array().expect("a list").iter().map(|it| &it["daemon"]));
        missing
            .extend(emitters.iter().filter(|it| !emit.contains(**it)).map(|it| format!("{it} -> {event}")));
        missing
            .extend(handlers.iter().filter(|it| !handle.contains(**it)).map(|it| format!("{event} -> {it}")));
        for handler in entry["handlers"].as_array().expect("a list") {
            assert!(handler["effect"].as_str().is_some_and(|effect| effect.len() > 5), "{entry}");
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

fn names<'a>(all: impl Iterator<Item = &'a Value>) -> BTreeSet<&'a str> {
    all.map(|name| name.as_str().expect("a name")).collect()
}
