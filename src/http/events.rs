//! Events and dead letters over HTTP.
//!
//! Invariant: what changes something needs the token of the node's data folder.

use super::{
    Front, Refused, Shared,
    drill::{Drill, Drilled},
};
use crate::{
    clock::now_ms,
    events::{
        Event, caused,
        dlq::DeadLetter,
        envelope,
        log::{Commit, Emission, LogError, Logged},
    },
    node::{
        Context, WorkError,
        letters::{self, Ask, Told},
        token,
    },
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    routing::{get, post},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::sync::Arc;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/v1/events", get(list).post(emit))
        .route("/v1/events/drill", post(drill))
        .route("/v1/events/commits", get(commits))
        .route("/v1/dlq", get(dead_letters))
        .route("/v1/dlq/{id}", get(dead_letter))
        .route("/v1/dlq/replay", post(replay))
        .route("/v1/dlq/purge", post(purge))
}

/// An event that an operator emits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Injection {
    /// Its name.
    pub event: String,
    /// Its payload; `node_id` and `timestamp` may be missing.
    pub payload: serde_json::Value,
}

/// A replay or a purge.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Letters {
    /// Letters of at most this age; for a purge, older ones.
    #[serde(default)]
    pub max_age_hours: Option<u64>,
    /// On every node.
    #[serde(default)]
    pub all: bool,
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
    let found = crate::node::blocking(move || log.since(since, limit)).await.map_err(internal)?;
    found.map(Json).map_err(internal)
}

/// Counts and logs what an operator got wrong, as what a peer does.
fn refused(node: &Context, why: &envelope::Refused) -> Refused {
    node.events.count_refused(why);
    tracing::warn!(reason = why.kind(), %why, "an operator's event was refused");
    Refused(StatusCode::BAD_REQUEST, why.to_string())
}

async fn emit(State(front): Shared, headers: HeaderMap, body: Bytes) -> Result<Json<Event>, Refused> {
    let node = allowed(&front, &headers)?;
    let Injection { event, payload } = parse(&body)?;
    let at = caused::seconds(now_ms());
    let event = Event::from_operator(&event, payload, &node.name(), at)
        .map_err(|error| refused(node, &error.into()))?;
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

async fn drill(State(front): Shared, headers: HeaderMap, body: Bytes) -> Result<Json<Vec<Drilled>>, Refused> {
    let node = allowed(&front, &headers)?;
    let drill: Drill = parse(&body)?;
    drill.check().map_err(|why| Refused(StatusCode::BAD_REQUEST, why.to_owned()))?;
    drill.run(node).await.map(Json).map_err(internal)
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
    let Letters { max_age_hours, all } = parse(&body)?;
    Ok(ask(node, Ask::Replay { max_age_hours: max_age_hours.unwrap_or(24) }, all).await)
}

async fn purge(State(front): Shared, headers: HeaderMap, body: Bytes) -> Result<Json<Vec<Told>>, Refused> {
    let node = allowed(&front, &headers)?;
    let Letters { max_age_hours, all } = parse(&body)?;
    Ok(ask(node, Ask::Purge { max_age_hours }, all).await)
}
