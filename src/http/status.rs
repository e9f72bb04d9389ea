//! The status report and the leader over HTTP.

use super::front::{Front, Shared};
use super::refused::Refused;
use crate::api::{cluster::LeaderReport, status::Status};
use axum::{Json, Router, extract::State, routing::get};
use std::sync::Arc;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new().route("/v1/status", get(status)).route("/v1/leader", get(leader))
}

async fn status(State(front): Shared) -> Result<Json<Status>, Refused> {
    Ok(Json((front.handles()?.status)().await))
}

async fn leader(State(front): Shared) -> Result<Json<LeaderReport>, Refused> {
    Ok(Json((front.handles()?.leader)().await))
}
