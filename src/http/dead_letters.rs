//! Dead letters over HTTP, of this node or of all nodes.

use super::{
    front::{Front, Shared},
    operator::{Operator, Order},
    refused::Refused,
};
use crate::{
    api::dead_letters::{DeadLetter, LetterFilter, NodeLetters},
    events::Logged,
    peer::letters::LettersRequest,
};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{get, post},
};
use serde::Deserialize;
use std::sync::Arc;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/v1/dlq", get(dead_letters))
        .route("/v1/dlq/{id}", get(dead_letter))
        .route("/v1/dlq/everywhere", post(everywhere))
        .route("/v1/dlq/replay", post(replay))
        .route("/v1/dlq/purge", post(purge))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct After {
    #[serde(default)]
    after: i64,
}

async fn ask(
    front: &Front,
    ask: LettersRequest,
    all: bool,
) -> Result<Json<Vec<NodeLetters<Logged>>>, Refused> {
    let letters = &front.handles()?.letters;
    Ok(Json(if all { letters.everywhere(ask).await } else { vec![letters.here(ask).await] }))
}

async fn dead_letters(
    State(front): Shared,
    Query(After { after }): Query<After>,
) -> Result<Json<Vec<NodeLetters<Logged>>>, Refused> {
    ask(&front, LettersRequest::List { after }, false).await
}

/// The oldest dead letters of every node. It asks all of them, so it needs the token.
async fn everywhere(_: Operator, State(front): Shared) -> Result<Json<Vec<NodeLetters<Logged>>>, Refused> {
    ask(&front, LettersRequest::List { after: 0 }, true).await
}

async fn dead_letter(State(front): Shared, Path(id): Path<i64>) -> Result<Json<DeadLetter<Logged>>, Refused> {
    let found = front.handles()?.letters.one(id).await.map_err(Refused::internal)?;
    found.map(Json).ok_or_else(|| Refused(StatusCode::NOT_FOUND, format!("there is no dead letter {id}")))
}

async fn replay(
    _: Operator,
    State(front): Shared,
    Order(LetterFilter { max_age_hours, all }): Order<LetterFilter>,
) -> Result<Json<Vec<NodeLetters<Logged>>>, Refused> {
    ask(&front, LettersRequest::Replay { max_age_hours: max_age_hours.unwrap_or(24) }, all).await
}

async fn purge(
    _: Operator,
    State(front): Shared,
    Order(LetterFilter { max_age_hours, all }): Order<LetterFilter>,
) -> Result<Json<Vec<NodeLetters<Logged>>>, Refused> {
    ask(&front, LettersRequest::Purge { max_age_hours }, all).await
}
