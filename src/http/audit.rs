//! What this node really has, checked byte by byte against what the cluster believes it has.

use crate::{
    api::content::{Audit, AuditedModel},
    peer::{Context, WorkError},
};

/// Reads everything. Slow by nature: a check for drills and doubts.
pub(super) async fn audit(node: &Context) -> Result<Audit, WorkError> {
    let state = node.raft.local();
    let mut segments = Vec::new();
    let mut games = 0;
    for (hash, segment) in state.segments.iter() {
        segments.push((*hash, node.stored(*hash).await?.is_some()));
        games += segment.games;
    }
    let mut champions = Vec::new();
    for config in state.configs.values() {
        let history = config.history.iter().map(|promotion| (promotion.generation, promotion.model));
        for (generation, model) in std::iter::once((0, config.initial)).chain(history) {
            let here = node.stored(model).await?.is_some();
            let config_key = config.config_key.clone();
            champions.push(AuditedModel { config_key, generation, model, here });
        }
    }
    Ok(Audit { node_id: node.name(), applied: state.applied, segments, games, champions })
}
