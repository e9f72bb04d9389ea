//! Exclusive work over HTTP: the queue, the leases, and an operator's order to stop some of it.

use super::{
    front::{Front, Shared},
    operator::{Operator, Order},
    refused::Refused,
};
use crate::{
    api::work::{Cancellation, Cancelled, QueueItem},
    clock::now_ms,
    leader::queue::queue,
};
use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use cluster_state::{Command, EndCause, LeaseKind, TEXT_BYTES_MAX, command::CancelLease};
use std::sync::Arc;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new().route("/v1/work", get(list)).route("/v1/work/cancel", post(cancel))
}

async fn list(State(front): Shared) -> Result<Json<Vec<QueueItem>>, Refused> {
    let handles = front.handles()?;
    let view = Arc::clone(&handles.view.borrow());
    Ok(Json(queue(&handles.node.raft.local(), &view, now_ms())))
}

async fn cancel(
    Operator(node): Operator,
    Order(Cancellation { kind, config_key, reason }): Order<Cancellation>,
) -> Result<Json<Cancelled>, Refused> {
    let named = [LeaseKind::Training, LeaseKind::Evaluation].into_iter().find(|it| it.to_string() == kind);
    let kind = named.ok_or_else(|| {
        Refused::bad_request(format!("there is no work of kind {kind:?}: training or evaluation"))
    })?;
    let state = node.raft.local();
    let live = state.config(&config_key).and_then(|config| config.lease(kind).live.clone());
    let lease = live.ok_or_else(|| {
        Refused(StatusCode::NOT_FOUND, format!("there is no {kind} of {config_key} to cancel"))
    })?;
    let reason = format!("operator: {}", if reason.is_empty() { "no reason given" } else { &reason });
    if reason.len() > TEXT_BYTES_MAX {
        return Err(Refused::bad_request("the reason is too long"));
    }
    let epoch = lease.epoch;
    node.propose_for_operator(Command::CancelLease(CancelLease {
        kind,
        config_key,
        epoch,
        cause: EndCause::Ordered,
        reason,
        at_ms: now_ms(),
    }))
    .await?;
    Ok(Json(Cancelled { epoch, node_id: crate::events::caused::node_name(lease.node) }))
}
