//! Events and dead letters over HTTP.
//!
//! Invariant: what changes something needs the token of the node's data folder.

use super::{Front, Refused, Shared, drill};
use crate::{
    api::{
        dead_letters::LetterFilter,
        events::{Commit, Drill, Drilled, Injection},
    },
    clock::{now_ms, now_us},
    events::{
        Event, caused,
        dlq::DeadLetter,
        envelope,
        log::{Emission, LogError, Logged},
    },
    node::token,
    peer::{
        Context, WorkError,
        letters::{self, Ask, Told},
    },
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    routing::{get, post},
};
use cluster_state::ClusterState;
use serde::{Deserialize, de::DeserializeOwned};
use std::sync::Arc;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/v1/events", get(list).post(emit))
        .route("/v1/events/drill", post(run_drill))
        .route("/v1/events/commits", get(commits))
        .route("/v1/dlq", get(dead_letters))
        .route("/v1/dlq/{id}", get(dead_letter))
        .route("/v1/dlq/replay", post(replay))
        .route("/v1/dlq/purge", post(purge))
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

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: i64,
    #[serde(default)]
    all: bool,
}

fn internal(error: impl std::fmt::Display) -> Refused {
    Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// The node, for somebody who may change something.
pub(super) fn allowed<'a>(front: &'a Front, headers: &HeaderMap) -> Result<&'a Context, Refused> {
    let node = front.node()?;
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if token::allows(&node.token, header) {
        Ok(node)
    } else {
        let why = format!(
            "not allowed: send `authorization: Bearer` and what the data folder's file {:?} holds",
            token::TOKEN_FILE
        );
        Err(Refused(StatusCode::UNAUTHORIZED, why))
    }
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused(StatusCode::BAD_REQUEST, error.to_string()))
}

async fn list(
    State(front): Shared,
    Query(Since { since, limit }): Query<Since>,
) -> Result<Json<Vec<Logged>>, Refused> {
    let log = Arc::clone(&front.node()?.events);
    let found = crate::peer::blocking(move || log.since(since, limit)).await.map_err(internal)?;
    found.map(Json).map_err(internal)
}

/// Counts and logs what an operator got wrong, as what a peer does.
fn refused(node: &Context, why: &envelope::Refused) -> Refused {
    node.events.count_refused(why);
    tracing::warn!(reason = why.kind(), %why, "an operator's event was refused");
    Refused(StatusCode::BAD_REQUEST, why.to_string())
}

/// Names the champion that a regression or a rollback means if it names none: the one that this node knows of, or while one
/// settles the one before, which is gone. So it means no later one, wherever and whenever the event arrives.
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

async fn emit(State(front): Shared, headers: HeaderMap, body: Bytes) -> Result<Json<Event>, Refused> {
    let node = allowed(&front, &headers)?;
    let Injection { event, payload } = parse(&body)?;
    let at = caused::seconds(now_ms());
    let mut event = Event::from_operator(&event, payload, &node.name(), at)
        .map_err(|error| refused(node, &error.into()))?;
    name_the_champion(&mut event, &node.raft.local());
    let emission = Emission { event: event.clone(), causes: Vec::new(), injected: true };
    match node.emit_as(emission).await {
        Ok(()) => {
            tracing::info!(event = event.name(), "an operator emitted an event");
            Ok(Json(event))
        }
        Err(WorkError::Log(LogError::Wire(error))) => {
            let told = refused(node, &error.into()).1;
            Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, format!("{told}: it is too large")))
        }
        Err(error) => Err(internal(error)),
    }
}

async fn run_drill(
    State(front): Shared,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Vec<Drilled>>, Refused> {
    let node = allowed(&front, &headers)?;
    let drill: Drill = parse(&body)?;
    drill.check(now_us()).map_err(|why| Refused(StatusCode::BAD_REQUEST, why.to_owned()))?;
    drill::run(&drill, node).await.map(Json).map_err(internal)
}

async fn commits(
    State(front): Shared,
    Query(Since { since, .. }): Query<Since>,
) -> Result<Json<Vec<Commit>>, Refused> {
    Ok(Json(front.node()?.events.commits(since)))
}

async fn ask(node: &Context, ask: Ask, all: bool) -> Json<Vec<Told>> {
    Json(if all { letters::everywhere(node, ask).await } else { vec![letters::here(node, ask).await] })
}

async fn dead_letters(
    State(front): Shared,
    Query(After { after, all }): Query<After>,
) -> Result<Json<Vec<Told>>, Refused> {
    Ok(ask(front.node()?, Ask::List { after }, all).await)
}

async fn dead_letter(State(front): Shared, Path(id): Path<i64>) -> Result<Json<DeadLetter>, Refused> {
    let found = front.node()?.runner.dead_letter(id).await.map_err(internal)?;
    found.map(Json).ok_or_else(|| Refused(StatusCode::NOT_FOUND, format!("there is no dead letter {id}")))
}

async fn replay(State(front): Shared, headers: HeaderMap, body: Bytes) -> Result<Json<Vec<Told>>, Refused> {
    let node = allowed(&front, &headers)?;
    let LetterFilter { max_age_hours, all } = parse(&body)?;
    Ok(ask(node, Ask::Replay { max_age_hours: max_age_hours.unwrap_or(24) }, all).await)
}

async fn purge(State(front): Shared, headers: HeaderMap, body: Bytes) -> Result<Json<Vec<Told>>, Refused> {
    let node = allowed(&front, &headers)?;
    let LetterFilter { max_age_hours, all } = parse(&body)?;
    Ok(ask(node, Ask::Purge { max_age_hours }, all).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World, hash};
    use cluster_state::command::Rollback;
    use cluster_state::{Command, Severity};
    use serde_json::json;

    /// What an event of an operator names, as (event, model).
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
                other["model_id"] = json!(hash("other").to_string());
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

        // Told again while the one before settles, it leaves that one alone, also afterwards.
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
