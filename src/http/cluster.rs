//! The cluster's members over HTTP.
//!
//! Invariant: what changes something needs the token of the node's data folder.

use super::{Front, Refused, Shared, events::allowed};
use crate::{
    api::cluster::{Drain, NodeView},
    clock::now_ms,
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::HeaderMap,
    routing::{get, post},
};
use cluster_state::Command;
use cluster_state::command::SetDraining;
use std::sync::Arc;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new().route("/v1/members", get(members)).route("/v1/drain", post(drain))
}

async fn members(State(front): Shared) -> Result<Json<Vec<NodeView>>, Refused> {
    let node = front.node()?;
    Ok(Json(crate::node::status::status(node, "").await.nodes))
}

async fn drain(State(front): Shared, headers: HeaderMap, body: Bytes) -> Result<Json<Drain>, Refused> {
    let node = allowed(&front, &headers)?;
    let wanted: Drain = super::events::parse(&body)?;
    let Drain { node: id, draining, reason } = wanted.clone();
    // An order is told from a host's own wish by its words.
    let reason = if reason.is_empty() { "ordered".to_owned() } else { format!("ordered: {reason}") };
    node.propose(Command::SetDraining(SetDraining { node: id, draining, reason, at_ms: now_ms() })).await?;
    tracing::info!(node = id, draining, "an operator drains a node, or no longer");
    Ok(Json(wanted))
}
