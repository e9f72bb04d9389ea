//! The members of the cluster over HTTP.

use super::{
    front::{Front, Shared},
    operator::{Operator, Order},
    refused::Refused,
};
use crate::{
    api::cluster::{Drain, NodeView, PardonOrder, Pardoned},
    clock::now_ms,
};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use cluster_state::{
    Command, DrainCause, Refusal,
    command::{PardonNode, SetDraining},
};
use std::sync::Arc;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/v1/members", get(members))
        .route("/v1/drain", post(drain))
        .route("/v1/pardon", post(pardon))
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

async fn pardon(
    Operator(node): Operator,
    Order(order): Order<PardonOrder>,
) -> Result<Json<Pardoned>, Refused> {
    let PardonOrder { node: id, reason } = order;
    let state = node.raft.linearizable().await;
    let state = state.map_err(|error| Refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let conflict = |refusal: Refusal| Refused(StatusCode::CONFLICT, refusal.to_string());
    let member = state.nodes.get(&id).ok_or_else(|| conflict(Refusal::UnknownNode(id)))?;
    let epoch = node.events.shunned().borrow().get(&member.peer_id).map(|event| event.epoch);
    let pardoned = Pardoned { node: id, distrusted: !state.is_trusted(id), shunned: epoch.is_some() };
    node.propose_for_operator(PardonNode { node: id, epoch, reason, at_ms: now_ms() }.into()).await?;
    tracing::info!(node = id.0, ?epoch, "an operator pardons a node");
    Ok(Json(pardoned))
}
