//! The state as rows of bytes: what `node.db` keeps and what a snapshot carries.
//!
//! Invariant: `restore(rows(state)) == state`, and `changes(before, after)` holds every row in which two
//! states differ. Rows are never removed, because nothing in the state ever is.

use crate::{
    config::{ConfigState, Promotion},
    id::{NodeId, SegmentId, TriggerId},
    key::ConfigKey,
    model::Model,
    node::{Leader, Node},
    segment::RegisteredSegment,
    state::ClusterState,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, sync::Arc};
use wire::{Hash, WireError};

/// Largest row in bytes, encoded: the membership of [`crate::state_machine::NODES_MAX`] nodes, which
/// consensus stores beside these rows, fits as well.
pub const ROW_BYTES_MAX: usize = 512 * 1024;

/// Frame kinds of the values, on disk and in snapshots. 0x20 to 0x23 and 0x2a to 0x2d are used by consensus.
pub mod kind {
    /// Values that belong to no single entity.
    pub const META: u8 = 0x24;
    /// A [`crate::Node`].
    pub const NODE: u8 = 0x25;
    /// A [`crate::ConfigState`].
    pub const CONFIG: u8 = 0x26;
    /// A [`crate::Promotion`].
    pub const PROMOTION: u8 = 0x27;
    /// A [`crate::Model`].
    pub const MODEL: u8 = 0x28;
    /// A [`crate::RegisteredSegment`].
    pub const SEGMENT: u8 = 0x29;
}

/// One entity of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRow {
    /// Frame kind of the value, which says what it is.
    pub kind: u8,
    /// Unique among the rows of its kind.
    pub key: Vec<u8>,
    /// The entity as a frame.
    pub value: Vec<u8>,
}

/// Why rows are not a state.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The value is not an entity of its kind, or it is too large.
    #[error("row of kind {kind:#x}: {source}")]
    Value {
        /// Frame kind of the value.
        kind: u8,
        /// The underlying error.
        source: WireError,
    },
    /// This version does not know the kind.
    #[error("row of unknown kind {0:#x}")]
    Kind(u8),
    /// Rows are missing, or there are too many.
    #[error("rows contradict each other: {0}")]
    Contradiction(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Meta {
    last_node_id: NodeId,
    leader: Option<Leader>,
    triggers: Vec<TriggerId>,
}

/// Every row of `state`.
///
/// # Errors
/// Returns [`RowError::Value`] for an entity that is too large.
pub fn rows(state: &ClusterState) -> Result<Vec<StateRow>, RowError> {
    changes(&ClusterState::default(), state)
}

/// The rows that turn `before` into `after`.
///
/// # Errors
/// Returns [`RowError::Value`] for an entity that is too large.
pub fn changes(before: &ClusterState, after: &ClusterState) -> Result<Vec<StateRow>, RowError> {
    let mut rows = Vec::new();
    let meta = |state: &ClusterState| (state.last_node_id, state.leader.clone(), Arc::clone(&state.triggers));
    if meta(before) != meta(after) {
        let meta = Meta {
            last_node_id: after.last_node_id,
            leader: after.leader.clone(),
            triggers: after.triggers.to_vec(),
        };
        rows.push(row(kind::META, Vec::new(), &meta)?);
    }
    if !Arc::ptr_eq(&before.nodes, &after.nodes) {
        for (id, node) in after.nodes.iter() {
            if before.nodes.get(id).is_none_or(|old| !Arc::ptr_eq(old, node)) {
                rows.push(row(kind::NODE, id.0.to_be_bytes().to_vec(), node.as_ref())?);
            }
        }
    }
    if !Arc::ptr_eq(&before.configs, &after.configs) {
        for (key, config) in after.configs.iter() {
            let old = before.configs.get(key);
            if old.is_none_or(|old| !Arc::ptr_eq(old, config)) {
                rows.push(row(kind::CONFIG, key.as_str().as_bytes().to_vec(), config.as_ref())?);
                let known = old.map_or(0, |old| old.history.len());
                for promotion in config.history.iter().skip(known) {
                    let key = promotion_key(key, promotion.generation);
                    rows.push(row(kind::PROMOTION, key, promotion.as_ref())?);
                }
            }
        }
    }
    for (hash, model) in after.models.changed_since(&before.models) {
        rows.push(row(kind::MODEL, hash.as_ref().to_vec(), model)?);
    }
    for (hash, segment) in after.segments.changed_since(&before.segments) {
        rows.push(row(kind::SEGMENT, hash.as_ref().to_vec(), segment)?);
    }
    Ok(rows)
}

/// The state that `rows` describe, after log entry `applied`.
///
/// # Errors
/// Returns [`RowError`] for rows that do not describe a state.
pub fn restore(rows: impl IntoIterator<Item = StateRow>, applied: u64) -> Result<ClusterState, RowError> {
    let mut state = ClusterState { applied, ..ClusterState::default() };
    let mut nodes = BTreeMap::new();
    let mut configs: BTreeMap<ConfigKey, ConfigState> = BTreeMap::new();
    let mut history: BTreeMap<Vec<u8>, Arc<Promotion>> = BTreeMap::new();
    for row in rows {
        match row.kind {
            kind::META => {
                let meta: Meta = value(&row)?;
                state.last_node_id = meta.last_node_id;
                state.leader = meta.leader;
                state.triggers = Arc::new(meta.triggers);
            }
            kind::NODE => {
                let node: Node = value(&row)?;
                nodes.insert(node.id, Arc::new(node));
            }
            kind::CONFIG => {
                let config: ConfigState = value(&row)?;
                configs.insert(config.config_key.clone(), config);
            }
            kind::PROMOTION => {
                let promotion: Promotion = value(&row)?;
                history.insert(row.key, Arc::new(promotion));
            }
            kind::MODEL => {
                let model: Model = value(&row)?;
                state.models.insert(model.info.hash, model);
            }
            kind::SEGMENT => {
                let hash = <[u8; 32]>::try_from(row.key.as_slice())
                    .map_err(|_| RowError::Contradiction("segment key".into()))?;
                let segment: RegisteredSegment = value(&row)?;
                state.segments.insert(SegmentId(Hash(hash)), segment);
            }
            other => return Err(RowError::Kind(other)),
        }
    }
    for (key, config) in &mut configs {
        for generation in 1..=config.generation {
            let promotion = history
                .remove(&promotion_key(key, generation))
                .ok_or_else(|| RowError::Contradiction(format!("{key} lacks promotion {generation}")))?;
            config.history.push(promotion);
        }
    }
    if let Some(promotion) = history.values().next() {
        return Err(RowError::Contradiction(format!("promotion of {} is in no history", promotion.model)));
    }
    state.nodes = Arc::new(nodes);
    state.configs = Arc::new(configs.into_iter().map(|(key, config)| (key, Arc::new(config))).collect());
    Ok(state)
}

fn promotion_key(config_key: &ConfigKey, generation: u64) -> Vec<u8> {
    let mut key = config_key.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend(generation.to_be_bytes());
    key
}

fn row<T: Serialize>(kind: u8, key: Vec<u8>, value: &T) -> Result<StateRow, RowError> {
    let value =
        wire::encode(kind, value, ROW_BYTES_MAX).map_err(|source| RowError::Value { kind, source })?;
    Ok(StateRow { kind, key, value })
}

fn value<T: DeserializeOwned>(row: &StateRow) -> Result<T, RowError> {
    wire::decode::<T, ROW_BYTES_MAX>(row.kind, &row.value)
        .map_err(|source| RowError::Value { kind: row.kind, source })
}

#[cfg(test)]
mod tests;
