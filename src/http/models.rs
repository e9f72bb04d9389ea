//! Models over HTTP: the status of each, and an operator's order that changes the champion.
//!
//! Invariant: an operator changes the champion in the same way as the leader, by a command that names the
//! champion that it replaces. The order needs a reason.

use super::{
    front::{Front, Shared},
    operator::{Operator, Order},
    refused::Refused,
};
use crate::{
    api::models::{ChampionMoved, ChampionOrder, ModelView, PromotionView},
    clock::now_ms,
    events::caused::node_name,
    peer::Context,
};
use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{get, post},
};
use cluster_state::ModelId;
use cluster_state::{
    Check, ClusterState, Command, ConfigKey, ConfigState, Model, ModelStatus, Response, TEXT_BYTES_MAX,
    command::{Appoint, Rollback},
};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};

/// Maximum time for the leader to confirm a read.
const CONFIRM: Duration = Duration::from_secs(2);
/// Minimum number of hex digits that name a model.
const PREFIX_MIN: usize = 4;
/// Maximum number of models in one answer.
const PAGE_MAX: usize = 1_000;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/v1/models", get(list))
        .route("/v1/models/{name}", get(show))
        .route("/v1/models/promote", post(promote))
        .route("/v1/models/rollback", post(rollback))
}

/// The filter of the list of models.
#[derive(Deserialize)]
struct Which {
    #[serde(default)]
    config_key: Option<ConfigKey>,
    #[serde(default = "page")]
    limit: usize,
}

fn page() -> usize {
    50
}

fn view(state: &ClusterState, hash: ModelId, model: &Model) -> ModelView {
    let (status, reason) = match &model.status {
        ModelStatus::Candidate => ("candidate", None),
        ModelStatus::Champion => ("champion", None),
        ModelStatus::Retired => ("retired", None),
        ModelStatus::Rejected { reason } => ("rejected", Some(reason.clone())),
    };
    let config = state.config(&model.config_key);
    let first = config.filter(|config| config.initial == hash).map(|_| 0);
    let later = config.into_iter().flat_map(|config| &config.history).filter(|step| step.model == hash);
    ModelView {
        model: hash,
        config_key: model.config_key.clone(),
        status: status.to_owned(),
        reason,
        generations: first.into_iter().chain(later.map(|step| step.generation)).collect(),
        size: model.info.size,
        parent: model.info.parent,
        step: model.info.step,
        trained_by: model.trained_by.map(node_name),
        holders: model.holders.iter().map(|id| node_name(*id)).collect(),
        report: model.report.clone(),
        evidence: model.evidence.clone(),
        evaluated_by: model.review.as_ref().map(|review| node_name(review.evaluated_by)),
        confirmed_by: answers(model, true),
        denied_by: answers(model, false),
        at_ms: model.at_ms,
    }
}

/// The nodes that counted the games of the evidence again, and came to the same or not.
fn answers(model: &Model, same: bool) -> Vec<String> {
    let checks = model.review.iter().flat_map(|review| &review.checks);
    checks
        .filter(|(_, check)| (**check == Check::Confirmed) == same)
        .map(|(node, _)| node_name(*node))
        .collect()
}

/// The one model whose hash begins with `name`.
fn named<'a>(state: &'a ClusterState, name: &str) -> Result<(ModelId, &'a Model), Refused> {
    let refused = |status, text: &str| Err(Refused(status, format!("{text} {name:?}")));
    if name.len() < PREFIX_MIN || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let status = StatusCode::BAD_REQUEST;
        return refused(status, &format!("a model is named by {PREFIX_MIN} hex digits or more, not by"));
    }
    let name = name.to_ascii_lowercase();
    let mut found = state.models.iter().filter(|(hash, _)| hash.to_string().starts_with(&name));
    match (found.next(), found.next()) {
        (Some((hash, model)), None) => Ok((*hash, model)),
        (None, _) => refused(StatusCode::NOT_FOUND, "there is no model"),
        (Some(_), Some(_)) => refused(StatusCode::CONFLICT, "more than one model begins with"),
    }
}

/// The state that a quorum confirms.
async fn confirmed(node: &Context) -> Result<Arc<ClusterState>, Refused> {
    let state = node.raft.linearizable_within(CONFIRM).await;
    state.map_err(|error| Refused(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
}

async fn list(
    State(front): Shared,
    Query(Which { config_key, limit }): Query<Which>,
) -> Result<Json<Vec<ModelView>>, Refused> {
    let state = front.node()?.raft.local();
    let ours = |model: &Model| config_key.as_ref().is_none_or(|key| *key == model.config_key);
    let mut found: Vec<_> = state.models.iter().filter(|(_, model)| ours(model)).collect();
    found.sort_by_key(|(_, model)| std::cmp::Reverse(model.log_index));
    found.truncate(limit.min(PAGE_MAX));
    Ok(Json(found.into_iter().map(|(hash, model)| view(&state, *hash, model)).collect()))
}

async fn show(State(front): Shared, Path(name): Path<String>) -> Result<Json<ModelView>, Refused> {
    let state = front.node()?.raft.local();
    let (hash, model) = named(&state, &name)?;
    Ok(Json(view(&state, hash, model)))
}

async fn promote(
    Operator(node): Operator,
    Order(order): Order<ChampionOrder>,
) -> Result<Json<ChampionMoved>, Refused> {
    let state = confirmed(&node).await?;
    let config = config(&state, &order)?;
    let name = order.model.as_deref().unwrap_or_default();
    let (model, _) = named(&state, name)?;
    let command = Command::Appoint(Appoint {
        config_key: order.config_key.clone(),
        model,
        expected_champion: config.champion,
        reason: order.reason.clone(),
        at_ms: now_ms(),
    });
    moved(&node, &order, command).await
}

async fn rollback(
    Operator(node): Operator,
    Order(order): Order<ChampionOrder>,
) -> Result<Json<ChampionMoved>, Refused> {
    if order.model.is_some() {
        return Err(Refused::bad_request("a rollback names no model"));
    }
    let state = confirmed(&node).await?;
    let champion = config(&state, &order)?.champion;
    let command = Command::Rollback(Rollback {
        config_key: order.config_key.clone(),
        expected_champion: Some(champion),
        reason: order.reason.clone(),
        triggered_by: "operator".to_owned(),
        trigger: None,
        at_ms: now_ms(),
    });
    moved(&node, &order, command).await
}

/// The configuration of the order; an order without a reason is refused.
fn config<'a>(state: &'a ClusterState, order: &ChampionOrder) -> Result<&'a ConfigState, Refused> {
    if order.reason.trim().is_empty() || order.reason.len() > TEXT_BYTES_MAX {
        let text = format!("a reason of 1 to {TEXT_BYTES_MAX} bytes is needed");
        return Err(Refused::bad_request(text));
    }
    let unknown = || format!("there is no configuration {:?}", order.config_key);
    state.config(&order.config_key).ok_or_else(|| Refused(StatusCode::NOT_FOUND, unknown()))
}

/// Proposes the command, and returns the champion after it.
async fn moved(
    node: &Context,
    order: &ChampionOrder,
    command: Command,
) -> Result<Json<ChampionMoved>, Refused> {
    let name = command.name();
    let promotion = match node.propose_for_operator(command).await? {
        Response::Promoted { promotion, .. } | Response::RolledBack { promotion, .. } => Some(promotion),
        // The model was champion already.
        Response::Done
        | Response::Unchanged
        | Response::Node { .. }
        | Response::Online { .. }
        | Response::Segment { .. }
        | Response::Duplicate
        | Response::Lease(_)
        | Response::Held { .. }
        | Response::Refused(_)
        | Response::Internal
        | Response::Noted
        | Response::Removed { .. } => None,
    };
    tracing::info!(command = name, config = %order.config_key, reason = order.reason, "an operator's word");
    let state = confirmed(node).await?;
    let config = config(&state, order)?;
    Ok(Json(ChampionMoved {
        config_key: order.config_key.clone(),
        champion: config.champion,
        generation: config.generation,
        promotion: promotion.as_ref().map(PromotionView::from),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World, hash};

    #[test]
    fn a_model_is_named_by_the_beginning_of_its_name() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        let name = hash::<ModelId>("a").to_string();
        let check = |name: &str, expected: Result<ModelId, StatusCode>| {
            let found = named(&world.state, name).map(|(hash, _)| hash).map_err(|refused| refused.0);
            assert_eq!(found, expected, "{name}");
        };
        check(&name, Ok(hash("a")));
        check(&name[..8].to_uppercase(), Ok(hash("a")));
        check(&name[..3], Err(StatusCode::BAD_REQUEST));
        check("../etc", Err(StatusCode::BAD_REQUEST));
        check("", Err(StatusCode::BAD_REQUEST));
        check("00000000", Err(StatusCode::NOT_FOUND));
    }

    #[test]
    fn a_view_says_what_became_of_a_model() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        world.evaluate("a", 3, true);
        (1..=3).for_each(|node| world.held("a", node));
        world.promote("a");
        world.apply(Command::Rollback(Rollback {
            config_key: KEY.into(),
            expected_champion: Some(hash("a")),
            reason: "worse".into(),
            triggered_by: "operator".into(),
            trigger: None,
            at_ms: 1,
        }));
        let seen = |name: &str| view(&world.state, hash(name), world.state.models.get(&hash(name)).unwrap());
        let (untrained, a) = (seen("untrained"), seen("a"));
        assert_eq!((untrained.status.as_str(), untrained.generations), ("champion", vec![0, 2]));
        assert_eq!((a.status.as_str(), a.reason.as_deref()), ("rejected", Some("rolled back: worse")));
        assert_eq!((a.generations, a.trained_by.as_deref()), (vec![1], Some("node-2")));
        assert!(a.evidence.is_some() && a.report.is_some());
    }

    #[test]
    fn a_verdict_needs_a_reason_and_a_known_configuration() {
        let world = World::with_nodes(1);
        let check = |key: &str, reason: &str, expected: Option<StatusCode>| {
            let order = ChampionOrder { config_key: key.into(), model: None, reason: reason.into() };
            let found = config(&world.state, &order).err().map(|refused| refused.0);
            assert_eq!(found, expected, "{key} {reason}");
        };
        check(KEY, "it plays badly", None);
        check(KEY, "  ", Some(StatusCode::BAD_REQUEST));
        check(KEY, &"x".repeat(257), Some(StatusCode::BAD_REQUEST));
        check("square8_2p", "why", Some(StatusCode::NOT_FOUND));
    }
}
