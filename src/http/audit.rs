//! What this node really has, checked byte by byte against what the cluster believes it has.

use crate::peer::{Context, WorkError};
use serde::{Deserialize, Serialize};
use wire::Hash;

/// Every acknowledged segment and every model that is or was champion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// The node that was audited.
    pub node_id: String,
    /// Log entries applied here.
    pub applied: u64,
    /// Acknowledged segments, and whether verified bytes of each are here.
    pub segments: Vec<(Hash, bool)>,
    /// Games in them.
    pub games: u64,
    /// Champions by configuration, oldest first.
    pub champions: Vec<AuditedModel>,
}

/// One champion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedModel {
    /// Configuration.
    pub config_key: String,
    /// Its number.
    pub generation: u64,
    /// Which.
    pub model: Hash,
    /// Verified bytes are here.
    pub here: bool,
}

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
