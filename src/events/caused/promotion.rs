//! Which model is champion, and who holds it.

use super::{AppliedCommand, leases, live, names, seconds};
use crate::{
    events::{
        ChampionRegression, Event, ModelDistributionComplete, ModelDistributionStarted, ModelPromoted,
        PromotionRejected, PromotionRolledBack,
    },
    store::paths,
};
use cluster_state::{
    ConfigKey, LeaseKind, ModelId, Response,
    command::{ModelHeld, Reject, Rollback},
};

/// A candidate became champion, by its evidence or because an operator appointed it.
pub(super) fn promoted(config_key: &ConfigKey, at_ms: u64, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let Response::Promoted { promotion, distributed } = applied.response else { return Vec::new() };
    let timestamp = seconds(at_ms);
    let promoted = Event::ModelPromoted(ModelPromoted {
        config_key: config_key.to_owned(),
        node_id: applied.leader(),
        model_id: promotion.model,
        model_path: paths::canonical(config_key),
        generation: promotion.generation,
        previous_elo: promotion.previous_elo,
        new_elo: promotion.new_elo,
        elo_delta: promotion.elo_delta,
        promotion_reason: promotion.reason.clone(),
        timestamp,
    });
    let mut events = vec![promoted];
    events.extend(moved(config_key, *distributed, applied, timestamp));
    events
}

pub(super) fn rolled_back(command: &Rollback, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let Response::RolledBack { promotion, versions, distributed } = applied.response else {
        return Vec::new();
    };
    let (key, timestamp) = (&command.config_key, seconds(command.at_ms));
    let mut events = vec![Event::PromotionRolledBack(PromotionRolledBack {
        config_key: key.clone(),
        node_id: applied.leader(),
        model_id: promotion.model,
        from_version: versions.0,
        to_version: versions.1,
        reason: promotion.reason.clone(),
        triggered_by: command.triggered_by.clone(),
        timestamp,
    })];
    events.extend(moved(key, *distributed, applied, timestamp));
    for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
        if let Some(lease) = live(applied.before, kind, key) {
            events.extend(leases::cancels(lease, "the champion was rolled back", timestamp));
        }
    }
    events
}

pub(super) fn rejected(command: &Reject, applied: &AppliedCommand<'_>) -> Vec<Event> {
    if !applied.is_done() {
        return Vec::new();
    }
    let candidate = applied.before.models.get(&command.candidate);
    let evidence = candidate.and_then(|model| model.evidence.as_ref());
    vec![Event::PromotionRejected(PromotionRejected {
        config_key: command.config_key.clone(),
        node_id: applied.leader(),
        model_id: command.candidate,
        reason: command.reason.clone(),
        elo_improvement: evidence.map(|evidence| evidence.elo_delta),
        timestamp: seconds(command.at_ms),
    })]
}

/// With this holder, every online node may hold the champion.
pub(super) fn held(command: &ModelHeld, applied: &AppliedCommand<'_>) -> Vec<Event> {
    let Response::Held { distributed: true } = applied.response else { return Vec::new() };
    let known = applied.state.models.get(&command.model);
    let complete =
        known.map(|known| distributed(&known.config_key, command.model, applied, seconds(command.at_ms)));
    complete.into_iter().collect()
}

/// The champion moved: it is on its way to those who lack it, or has arrived; what was said against the one
/// before is settled, unless that one came back for it.
pub(super) fn moved(
    config_key: &ConfigKey,
    everywhere: bool,
    applied: &AppliedCommand<'_>,
    timestamp: f64,
) -> Vec<Event> {
    let Some(config) = applied.state.config(config_key) else { return Vec::new() };
    let mut events = vec![if everywhere {
        distributed(config_key, config.champion, applied, timestamp)
    } else {
        Event::ModelDistributionStarted(ModelDistributionStarted {
            config_key: config_key.to_owned(),
            node_id: applied.leader(),
            model_id: config.champion,
            model_path: paths::canonical(config_key),
            target_hosts: names(applied.state.online().map(|node| node.id)),
            timestamp,
        })
    }];
    let before = applied.before.config(config_key);
    let regressed = before.and_then(|config| config.steering.regression.as_ref());
    if let Some(regressed) = regressed.filter(|_| config.steering.regression.is_none()) {
        events.push(Event::RegressionCleared(ChampionRegression {
            config_key: config_key.to_owned(),
            node_id: applied.leader(),
            elo_drop: 0.0,
            model_id: Some(regressed.champion),
            current_elo: None,
            baseline_elo: None,
            games_played: 0,
            reason: "another champion plays".to_owned(),
            timestamp,
        }));
    }
    events
}

/// Every online node holds the champion.
pub(super) fn distributed(
    config_key: &ConfigKey,
    model: ModelId,
    applied: &AppliedCommand<'_>,
    timestamp: f64,
) -> Event {
    let state = applied.state;
    let holders = state.models.get(&model).into_iter().flat_map(|model| &model.holders).copied();
    let away = state.nodes.values().filter(|node| !node.online);
    Event::ModelDistributionComplete(ModelDistributionComplete {
        config_key: config_key.to_owned(),
        node_id: applied.leader(),
        model_id: model,
        model_path: paths::canonical(config_key),
        target_hosts: names(holders.filter(|id| state.is_online(*id))),
        offline_hosts: names(away.map(|node| node.id)),
        timestamp,
    })
}
