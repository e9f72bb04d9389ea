//! The members of the cluster over HTTP.

use super::{
    front::{Front, Shared},
    operator::{Operator, Order},
    refused::Refused,
};
use crate::{
    api::cluster::{Drain, NodeView},
    clock::now_ms,
};
use axum::{
    Json, Router,
    extract::State,
    routing::{get, post},
};
use cluster_state::{Command, DrainCause, command::SetDraining};
use std::sync::Arc;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new().route("/v1/members", get(members)).route("/v1/drain", post(drain))
}

async fn members(State(front): Shared) -> Result<Json<Vec<NodeView>>, Refused> {
    Ok(Json((front.handles()?.status)().await.nodes))
}

async fn drain(Operator(node): Operator, Order(wanted): Order<Drain>) -> Result<Json<Drain>, Refused> {
    let Drain { node: id, draining, reason } = wanted.clone();
    let reason = if reason.is_empty() { "ordered".to_owned() } else { format!("ordered: {reason}") };
    node.propose_for_operator(Command::SetDraining(SetDraining {
        node: id,
        draining,
        cause: DrainCause::Ordered,
        reason,
        at_ms: now_ms(),
    }))
    .await?;
    tracing::info!(node = id.0, draining, "an operator drains a node, or no longer");
    Ok(Json(wanted))
}
