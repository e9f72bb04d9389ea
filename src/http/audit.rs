//! An audit over HTTP: which contents this node really has. Every byte is checked against the hash that the
//! cluster records.

use super::{
    front::{Front, Shared},
    operator::Operator,
    refused::Refused,
};
use crate::{
    api::content::{Audit, AuditedModel},
    peer::{Context, WorkError, blocking},
};
use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use cluster_state::{ClusterState, rows};
use std::sync::Arc;
use wire::Hash;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new().route("/v1/audit", post(order_audit))
}

async fn order_audit(Operator(node): Operator, State(front): Shared) -> Result<Json<Audit>, Refused> {
    let busy = |_| Refused(StatusCode::SERVICE_UNAVAILABLE, "an audit is going on".to_owned());
    let _turn = front.auditing.try_acquire().map_err(busy)?;
    let state = node.raft.local();
    let read = Arc::clone(&state);
    let digest = blocking(move || rows::digest(&read)).await.map_err(Refused::internal)?;
    let digest = digest.map_err(Refused::internal)?;
    audit(&node, &state, digest).await.map(Json).map_err(Refused::internal)
}

/// Reads every content and so takes long: an audit is for drills and for cases of doubt.
async fn audit(node: &Context, state: &ClusterState, digest: Hash) -> Result<Audit, WorkError> {
    let mut segments = Vec::new();
    let mut games = 0;
    for (hash, segment) in state.segments.iter() {
        segments.push((*hash, node.get_content(hash.0).await?.is_some()));
        games += segment.games;
    }
    let mut champions = Vec::new();
    for config in state.configs.values() {
        let history = config.history.iter().map(|promotion| (promotion.generation, promotion.model));
        for (generation, model) in std::iter::once((0, config.initial)).chain(history) {
            let here = node.get_content(model.0).await?.is_some();
            let config_key = config.config_key.clone();
            champions.push(AuditedModel { config_key, generation, model, here });
        }
    }
    Ok(Audit { node_id: node.name(), applied: state.applied, state: digest, segments, games, champions })
}
