//! The state as rows of bytes: what `node.db` keeps and what a snapshot carries.
//!
//! Invariant: `restore(rows(state)) == state`, and `changes(before, after)` holds every row in which two
//! states differ, and names every row of the first that the second lacks.

use crate::{
    admission::{Admissions, Secret, ShutOut, Ticket, TicketId},
    config::{ConfigState, Promotion},
    id::{NodeId, SegmentId, TriggerId},
    key::ConfigKey,
    model::Model,
    node::{Forgery, Leader, Node, Pardon},
    segment::RegisteredSegment,
    state::ClusterState,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};
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
    /// The secrets of [`crate::Admissions`], and where operators are believed.
    pub const SECRETS: u8 = 0x2e;
    /// A [`crate::admission::Ticket`].
    pub const TICKET: u8 = 0x2f;
    /// A [`crate::admission::ShutOut`].
    pub const SHUT_OUT: u8 = 0x30;
    /// A [`crate::Forgery`], by the node that is distrusted for it.
    pub const FORGERY: u8 = 0x31;
    /// A [`crate::Pardon`], by the node.
    pub const PARDON: u8 = 0x32;
}

/// One entity of the state.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateRow {
    /// Frame kind of the value, which says what it is.
    pub kind: u8,
    /// Unique among the rows of its kind.
    #[serde(with = "wire::bytes")]
    pub key: Vec<u8>,
    /// The entity as a frame.
    #[serde(with = "wire::bytes")]
    pub value: Vec<u8>,
}

/// The value may hold a secret, so it is not printed.
impl fmt::Debug for StateRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key, value } = self;
        write!(f, "row of kind {kind:#x}, key {key:?}, {} bytes", value.len())
    }
}

/// What turns one state into another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Rows that are new or different.
    pub put: Vec<StateRow>,
    /// Kind and key of rows that are gone.
    pub removed: Vec<(u8, Vec<u8>)>,
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

#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Secrets {
    present: Option<Secret>,
    previous: Vec<Secret>,
    by_secret: bool,
    operators: BTreeSet<NodeId>,
}

impl Secrets {
    fn of(admissions: &Admissions) -> Self {
        let Admissions { secret, previous, by_secret, operators, tickets: _, shut_out: _ } = admissions;
        let (present, previous) = (secret.clone(), previous.clone());
        Self { present, previous, by_secret: *by_secret, operators: operators.clone() }
    }
}

/// Every row of `state`.
///
/// # Errors
/// Returns [`RowError::Value`] for an entity that is too large.
pub fn rows(state: &ClusterState) -> Result<Vec<StateRow>, RowError> {
    Ok(changes(&ClusterState::default(), state)?.put)
}

/// Hash of every row of `state`, whatever entry was applied last: replicas that agree have the same.
///
/// # Errors
/// Returns [`RowError::Value`] for an entity that is too large.
pub fn digest(state: &ClusterState) -> Result<Hash, RowError> {
    let mut rows = rows(state)?;
    rows.sort_by(|one, other| (one.kind, &one.key).cmp(&(other.kind, &other.key)));
    let mut hasher = blake3::Hasher::new();
    for StateRow { kind, key, value } in &rows {
        hasher.update(&[*kind]);
        for part in [key, value] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
        }
    }
    Ok(Hash(*hasher.finalize().as_bytes()))
}

/// What turns `before` into `after`.
///
/// # Errors
/// Returns [`RowError::Value`] for an entity that is too large.
pub fn changes(before: &ClusterState, after: &ClusterState) -> Result<Changes, RowError> {
    let mut changes = Changes::default();
    let rows = &mut changes.put;
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
        let gone = before.nodes.keys().filter(|id| !after.nodes.contains_key(id));
        changes.removed.extend(gone.map(|id| (kind::NODE, id.0.to_be_bytes().to_vec())));
    }
    if !Arc::ptr_eq(&before.admissions, &after.admissions) {
        admissions(&before.admissions, &after.admissions, &mut changes)?;
    }
    let rows = &mut changes.put;
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
    if !Arc::ptr_eq(&before.forgeries, &after.forgeries) {
        for (id, forgery) in after.forgeries.iter() {
            if before.forgeries.get(id).is_none_or(|old| !Arc::ptr_eq(old, forgery)) {
                rows.push(row(kind::FORGERY, id.0.to_be_bytes().to_vec(), forgery.as_ref())?);
            }
        }
        let gone = before.forgeries.keys().filter(|id| !after.forgeries.contains_key(id));
        changes.removed.extend(gone.map(|id| (kind::FORGERY, id.0.to_be_bytes().to_vec())));
    }
    let rows = &mut changes.put;
    if !Arc::ptr_eq(&before.pardons, &after.pardons) {
        for (id, pardon) in after.pardons.iter() {
            if before.pardons.get(id).is_none_or(|old| !Arc::ptr_eq(old, pardon)) {
                rows.push(row(kind::PARDON, id.0.to_be_bytes().to_vec(), pardon.as_ref())?);
            }
        }
    }
    for (hash, model) in after.models.changed_since(&before.models) {
        rows.push(row(kind::MODEL, hash.as_ref().to_vec(), model)?);
    }
    for (hash, segment) in after.segments.changed_since(&before.segments) {
        rows.push(row(kind::SEGMENT, hash.as_ref().to_vec(), segment)?);
    }
    Ok(changes)
}

/// Adds what turns `before` into `after`.
fn admissions(before: &Admissions, after: &Admissions, changes: &mut Changes) -> Result<(), RowError> {
    let secrets = Secrets::of(after);
    if Secrets::of(before) != secrets {
        changes.put.push(row(kind::SECRETS, Vec::new(), &secrets)?);
    }
    for (id, ticket) in after.tickets.iter().filter(|(id, ticket)| before.tickets.get(id) != Some(ticket)) {
        changes.put.push(row(kind::TICKET, id.0.0.to_vec(), ticket)?);
    }
    for (peer, it) in after.shut_out.iter().filter(|(peer, it)| before.shut_out.get(*peer) != Some(it)) {
        changes.put.push(row(kind::SHUT_OUT, peer.as_bytes().to_vec(), it)?);
    }
    let tickets = before.tickets.keys().filter(|id| !after.tickets.contains_key(id));
    changes.removed.extend(tickets.map(|id| (kind::TICKET, id.0.0.to_vec())));
    let peers = before.shut_out.keys().filter(|peer| !after.shut_out.contains_key(*peer));
    changes.removed.extend(peers.map(|peer| (kind::SHUT_OUT, peer.as_bytes().to_vec())));
    Ok(())
}

/// The state that `rows` describe, after log entry `applied`.
///
/// # Errors
/// Returns [`RowError`] for rows that do not describe a state.
pub fn restore(rows: impl IntoIterator<Item = StateRow>, applied: u64) -> Result<ClusterState, RowError> {
    let mut state = ClusterState { applied, ..ClusterState::default() };
    let (mut nodes, mut forgeries, mut pardons) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut admissions = Admissions::default();
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
                let segment: RegisteredSegment = value(&row)?;
                state.segments.insert(SegmentId(hash_key(&row)?), segment);
            }
            kind::FORGERY => {
                let forgery: Forgery = value(&row)?;
                forgeries.insert(node_key(&row)?, Arc::new(forgery));
            }
            kind::PARDON => {
                let pardon: Pardon = value(&row)?;
                pardons.insert(node_key(&row)?, Arc::new(pardon));
            }
            other => restore_admissions(&mut admissions, other, row)?,
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
    state.forgeries = Arc::new(forgeries);
    state.pardons = Arc::new(pardons);
    state.admissions = Arc::new(admissions);
    state.configs = Arc::new(configs.into_iter().map(|(key, config)| (key, Arc::new(config))).collect());
    Ok(state)
}

/// Adds a row of the admissions.
fn restore_admissions(admissions: &mut Admissions, kind: u8, row: StateRow) -> Result<(), RowError> {
    match kind {
        kind::SECRETS => {
            let Secrets { present, previous, by_secret, operators } = value(&row)?;
            (admissions.secret, admissions.previous) = (present, previous);
            (admissions.by_secret, admissions.operators) = (by_secret, operators);
        }
        kind::TICKET => {
            let ticket: Ticket = value(&row)?;
            admissions.tickets.insert(TicketId(hash_key(&row)?), ticket);
        }
        kind::SHUT_OUT => {
            let shut_out: ShutOut = value(&row)?;
            let peer = String::from_utf8(row.key);
            let peer = peer.map_err(|_| RowError::Contradiction("key of a peer".into()))?;
            admissions.shut_out.insert(peer, shut_out);
        }
        other => return Err(RowError::Kind(other)),
    }
    Ok(())
}

/// A key that is the id of a node.
fn node_key(row: &StateRow) -> Result<NodeId, RowError> {
    let bytes = <[u8; 8]>::try_from(row.key.as_slice());
    let id = bytes.map(|bytes| NodeId(u64::from_be_bytes(bytes)));
    id.map_err(|_| RowError::Contradiction(format!("key of a row of kind {:#x}", row.kind)))
}

/// A key that is a hash.
fn hash_key(row: &StateRow) -> Result<Hash, RowError> {
    let bytes = <[u8; 32]>::try_from(row.key.as_slice());
    bytes.map(Hash).map_err(|_| RowError::Contradiction(format!("key of a row of kind {:#x}", row.kind)))
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
