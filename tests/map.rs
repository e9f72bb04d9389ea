//! The chains of the event-flow map are in the table that the binary prints, and docs/event-flow.md says the
//! same.

use super::support::run;
use serde_json::Value;
use std::{collections::BTreeSet, fs};

/// The map's arrows, flow by flow: who emits which event, and who handles it.
const CHAINS: &[(&[&str], &str, &[&str])] = &[
    // 1. Self-play to training.
    (&["selfplay"], "SELFPLAY_COMPLETE", &["consolidation", "feedback", "idle_shutdown", "sync"]),
    // Games of every origin are available once two nodes have them.
    (&["selfplay"], "NEW_GAMES_AVAILABLE", &["data_pipeline", "training", "replication", "queue"]),
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

/// Returns the rows of docs/event-flow.md for one event.
fn rows(entry: &Value) -> Vec<String> {
    let event = entry["event"].as_str().expect("a name");
    let emitters = entry["emitters"].as_array().expect("a list").iter();
    let emitters: Vec<String> =
        emitters.map(|name| format!("`{}`", name.as_str().expect("a name"))).collect();
    let emitters = if emitters.is_empty() { "operators".to_owned() } else { emitters.join(", ") };
    let row = |handler: &Value| {
        let (daemon, effect) = (&handler["daemon"].as_str().expect("a name"), &handler["effect"]);
        let (effect, file) = (effect.as_str().expect("an effect"), handler["file"].as_str().expect("a file"));
        format!("| `{event}` | {emitters} | `{daemon}` | {effect} | `{file}` |")
    };
    let handlers: Vec<String> = entry["handlers"].as_array().expect("a list").iter().map(row).collect();
    if handlers.is_empty() { vec![format!("| `{event}` | {emitters} | - | - | - |")] } else { handlers }
}

#[test]
fn the_page_says_what_the_program_does() {
    let printed = run(&["events", "--map", "--json"]);
    let entries: Vec<Value> = serde_json::from_str(&printed.stdout).expect("JSON");
    let program: BTreeSet<String> = entries.iter().flat_map(rows).collect();
    let page = fs::read_to_string("docs/event-flow.md").expect("the page");
    let page: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| `") && line.ends_with("|")).collect();
    let page: BTreeSet<String> =
        page.into_iter().filter(|line| line.matches('|').count() == 6).map(str::to_owned).collect();
    let lacks: Vec<&String> = program.difference(&page).collect();
    let knows_better: Vec<&String> = page.difference(&program).collect();
    assert!(lacks.is_empty() && knows_better.is_empty(), "add {lacks:#?}\nremove {knows_better:#?}");
}
