//! Events over HTTP: the log, events that an operator emits, and drills.

use super::{
    drill,
    front::{Front, Shared},
    operator::{Operator, Order},
    refused::Refused,
};
use crate::{
    api::events::{Commit, Drill, Drilled, Injection},
    clock::{now_ms, now_us},
    events::{Emission, Event, LogError, Logged, caused, envelope},
    peer::{Context, WorkError},
};
use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    routing::{get, post},
};
use cluster_state::ClusterState;
use serde::Deserialize;
use std::sync::Arc;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/v1/events", get(list).post(emit))
        .route("/v1/events/drill", post(run_drill))
        .route("/v1/events/commits", get(commits))
}

#[derive(Deserialize)]
struct Since {
    #[serde(default)]
    since: i64,
    #[serde(default = "page")]
    limit: usize,
}

fn page() -> usize {
    100
}

async fn list(
    State(front): Shared,
    Query(Since { since, limit }): Query<Since>,
) -> Result<Json<Vec<Logged>>, Refused> {
    let log = Arc::clone(&front.node()?.events);
    let found = crate::peer::blocking(move || log.since(since, limit)).await.map_err(Refused::internal)?;
    found.map(Json).map_err(Refused::internal)
}

/// Counts and logs an operator's invalid event in the same way as a peer's.
fn refused(node: &Context, why: &envelope::EventRefusal) -> Refused {
    node.events.count_refused(why);
    tracing::warn!(reason = why.kind(), %why, "an operator's event was refused");
    Refused(StatusCode::BAD_REQUEST, why.to_string())
}

/// Adds the champion to a regression or a rollback that names none: the champion that this node knows, or,
/// while a champion settles after a rollback, the one that the rollback replaced. So the event never means a
/// later champion, wherever and whenever it arrives.
fn name_the_champion(event: &mut Event, state: &ClusterState) {
    let (config_key, named, clears) =
        if let Event::RegressionDetected(it) | Event::RegressionCritical(it) = event {
            (&it.config_key, &mut it.model_id, false)
        } else if let Event::RegressionCleared(it) = event {
            (&it.config_key, &mut it.model_id, true)
        } else if let Event::TrainingRollbackNeeded(it) = event {
            (&it.config_key, &mut it.model_id, false)
        } else {
            return;
        };
    let Some(config) = state.config(config_key).filter(|_| named.is_none()) else { return };
    let settles = config.steering.regression.as_ref().is_some_and(|regression| regression.rolled_back);
    let gone = config.history.last().filter(|_| settles && !clears).map(|step| step.previous);
    *named = Some(gone.unwrap_or(config.champion));
}

async fn emit(
    Operator(node): Operator,
    Order(Injection { event, payload }): Order<Injection>,
) -> Result<Json<Event>, Refused> {
    let at = caused::seconds(now_ms());
    let mut event = Event::from_operator(&event, payload, &node.name(), at)
        .map_err(|error| refused(&node, &error.into()))?;
    name_the_champion(&mut event, &node.raft.local());
    let emission = Emission { event: event.clone(), causes: Vec::new(), injected: true };
    match node.emit_as(emission).await {
        Ok(()) => {
            tracing::info!(event = event.name(), "an operator emitted an event");
            Ok(Json(event))
        }
        Err(WorkError::Log(LogError::Wire(error))) => {
            let told = refused(&node, &error.into()).1;
            Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, format!("{told}: it is too large")))
        }
        Err(error) => Err(Refused::internal(error)),
    }
}

async fn run_drill(
    Operator(node): Operator,
    Order(drill): Order<Drill>,
) -> Result<Json<Vec<Drilled>>, Refused> {
    drill.check(now_us()).map_err(Refused::bad_request)?;
    drill::run(&drill, &node).await.map(Json).map_err(Refused::internal)
}

async fn commits(
    State(front): Shared,
    Query(Since { since, .. }): Query<Since>,
) -> Result<Json<Vec<Commit>>, Refused> {
    Ok(Json(front.node()?.events.commits(since)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World, hash};
    use cluster_state::{Command, ModelId, Severity, command::Rollback};
    use serde_json::json;

    /// The model that an operator's event names once the champion is filled in.
    fn named(state: &ClusterState, name: &str, payload: serde_json::Value) -> Option<wire::Hash> {
        let mut event = Event::from_operator(name, payload, "node-1", 1.5).unwrap();
        name_the_champion(&mut event, state);
        let value = serde_json::to_value(&event).unwrap();
        serde_json::from_value(value[name]["model_id"].clone()).unwrap()
    }

    #[test]
    fn what_names_no_champion_means_the_one_that_its_teller_knows() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        world.evaluate("a", 3, true);
        (1..=3).for_each(|node| world.held("a", node));
        world.promote("a");
        let check = |world: &World, expected: [(&str, &str); 4]| {
            for (name, model) in expected {
                let payload = |key: &str| match name {
                    "TRAINING_ROLLBACK_NEEDED" => json!({"config_key": key}),
                    _ => json!({"config_key": key, "elo_drop": 150}),
                };
                assert_eq!(named(&world.state, name, payload(KEY)), Some(hash(model)), "{name}");
                assert_eq!(named(&world.state, name, payload("square8_2p")), None, "{name}: unknown");
                let mut other = payload(KEY);
                other["model_id"] = json!(hash::<ModelId>("other"));
                assert_eq!(named(&world.state, name, other), Some(hash("other")), "{name}");
            }
        };
        let all = |it, cleared| {
            let [detected, critical] = ["REGRESSION_DETECTED", "REGRESSION_CRITICAL"].map(|name| (name, it));
            [detected, critical, ("TRAINING_ROLLBACK_NEEDED", it), ("REGRESSION_CLEARED", cleared)]
        };
        check(&world, all("a", "a"));
        world.regress(Some(Severity::Critical), 150.0);
        check(&world, all("a", "a"));
        let mut event =
            Event::from_operator("HOST_OFFLINE", json!({"node_id": "node-2"}), "node-1", 1.5).unwrap();
        let before = event.clone();
        name_the_champion(&mut event, &world.state);
        assert_eq!(event, before);

        // The same event again, while the champion before settles, does not affect that champion; nor does it
        // afterwards.
        world.apply(Command::Rollback(Rollback {
            config_key: KEY.into(),
            expected_champion: Some(hash("a")),
            reason: "worse".into(),
            triggered_by: "regression".into(),
            trigger: None,
            at_ms: world.now,
        }));
        assert_eq!(world.state.config(KEY).unwrap().champion, hash("untrained"));
        check(&world, all("a", "untrained"));
        world.regress(None, 0.0);
        check(&world, all("untrained", "untrained"));
    }
}
