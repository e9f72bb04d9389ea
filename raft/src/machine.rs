//! The replicated state machine, on disk.
//!
//! Invariant: `node.db` always holds the state after exactly the entries up to its recorded last log id, with
//! the hook's effects of exactly these entries, because each batch is one synced transaction. The state in
//! memory is never ahead of it.

use crate::{
    error::StoreError,
    hook::ApplyHook,
    sqlite,
    types::{Entry, LogId, Membership, SNAPSHOT_BYTES_MAX, SnapshotMeta, TypeConfig, kind},
};
use cluster_state::{
    ClusterState, NodeId, Place, Proposal, Response,
    rows::{self, Changes, ROW_BYTES_MAX, StateRow},
    state_machine,
};
use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot,
    entry::RaftEntry,
    storage::{EntryResponder, RaftStateMachine},
};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::Path,
    sync::{Arc, PoisonError},
};
use tokio::sync::watch;

/// Maximum number of entries that are applied in one transaction.
const BATCH: usize = 256;
/// Version of the tables of this crate in `node.db`, and of the encoding of their rows.
const FORMAT: i64 = 5;

/// A snapshot in memory: a bounded number of bytes, which are encoded rows.
pub(crate) type SnapshotBytes = Arc<Vec<u8>>;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Applied {
    last_log_id: Option<LogId>,
    membership: Membership,
}

struct Db {
    connection: Connection,
    hook: Box<dyn ApplyHook>,
    state: ClusterState,
    applied: Applied,
}

/// The state machine, shared between openraft's worker (which applies) and the builders of snapshots.
#[derive(Clone)]
pub(crate) struct Machine {
    /// The standard library's lock, which a panic poisons: nothing more is applied to what a write left half
    /// done.
    db: Arc<std::sync::Mutex<Db>>,
    current: Arc<Mutex<Option<(SnapshotMeta, SnapshotBytes)>>>,
    published: watch::Sender<Arc<ClusterState>>,
}

impl Machine {
    /// Opens `path`, creates the tables of this crate if needed, and loads the state.
    pub(crate) fn open(
        path: &Path,
        node: NodeId,
        peer: &str,
        mut hook: Box<dyn ApplyHook>,
    ) -> Result<Self, StoreError> {
        let connection = sqlite::open(path)?;
        create(&connection, path)?;
        claim(&connection, path, node, peer)?;
        let (state, applied) = load(&connection, path)?;
        hook.on_open(&state);
        let (published, _) = watch::channel(Arc::new(state.clone()));
        Ok(Self {
            db: Arc::new(std::sync::Mutex::new(Db { connection, hook, state, applied })),
            current: Arc::default(),
            published,
        })
    }

    /// A channel of the state, with one value for each applied batch.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<ClusterState>> {
        self.published.subscribe()
    }

    /// Runs `work` with the database on a blocking thread.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Db) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let db = Arc::clone(&self.db);
        tokio::task::spawn_blocking(move || {
            let mut db = db.lock().map_err(|_| io::Error::other("an earlier write panicked"))?;
            work(&mut db)
        })
        .await
        .map_err(io::Error::other)?
    }

    /// Id of the last entry applied.
    pub(crate) fn last_applied(&self) -> Option<LogId> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner).applied.last_log_id
    }

    /// Keeps the newest snapshot, because one may be installed while an older one is being built.
    fn set_current(&self, meta: SnapshotMeta, bytes: SnapshotBytes) {
        let mut current = self.current.lock();
        if current.as_ref().is_none_or(|(kept, _)| kept.last_log_id <= meta.last_log_id) {
            *current = Some((meta, bytes));
        }
    }
}

impl Db {
    fn apply(&mut self, entries: &[Entry]) -> io::Result<Vec<Response>> {
        let mut state = self.state.clone();
        let mut applied = self.applied.clone();
        let tx = begin(&mut self.connection)?;
        let mut responses = Vec::with_capacity(entries.len());
        for entry in entries {
            let response = match &entry.payload {
                EntryPayload::Normal(proposal) => {
                    apply_proposal(&tx, &mut *self.hook, &mut state, &entry.log_id, proposal)?
                }
                EntryPayload::Membership(membership) => {
                    applied.membership = Membership::new(Some(entry.log_id()), membership.clone());
                    Response::Internal
                }
                EntryPayload::Blank => Response::Internal,
            };
            state.applied = entry.log_id.index;
            applied.last_log_id = Some(entry.log_id());
            responses.push(response);
        }
        write_changes(&tx, &rows::changes(&self.state, &state).map_err(io::Error::other)?)?;
        write_applied(&tx, &applied)?;
        tx.commit().map_err(io::Error::other)?;
        self.state = state;
        self.applied = applied;
        Ok(responses)
    }

    fn install(&mut self, applied: Applied, bytes: &[u8]) -> io::Result<()> {
        let rows: Vec<StateRow> =
            wire::decode::<_, SNAPSHOT_BYTES_MAX>(kind::SNAPSHOT, bytes).map_err(io::Error::other)?;
        let index = applied.last_log_id.as_ref().map_or(0, |id| id.index);
        let state = rows::restore(rows.clone(), index).map_err(io::Error::other)?;
        let tx = begin(&mut self.connection)?;
        tx.execute("DELETE FROM raft_state", []).map_err(io::Error::other)?;
        write_rows(&tx, &rows)?;
        write_applied(&tx, &applied)?;
        self.hook.on_snapshot(&tx, &state).map_err(io::Error::other)?;
        tx.commit().map_err(io::Error::other)?;
        self.state = state;
        self.applied = applied;
        Ok(())
    }
}

fn apply_proposal(
    tx: &Transaction<'_>,
    hook: &mut dyn ApplyHook,
    state: &mut ClusterState,
    log_id: &LogId,
    proposal: &Proposal,
) -> io::Result<Response> {
    let (index, command) = (log_id.index, &proposal.command);
    let place = Place { index, term: log_id.leader_id.term, leader: log_id.leader_id.node_id };
    let response = match hook.door()(proposal, place, state) {
        Ok(()) => state_machine::apply(state, index, command),
        Err(refusal) => {
            state.applied = index;
            Response::Refused(refusal)
        }
    };
    if let Response::Refused(refusal) = &response {
        tracing::debug!(index, %proposal, %refusal, "refused");
    }
    hook.on_apply(tx, index, command, &response, state).map_err(io::Error::other)?;
    Ok(response)
}

fn begin(connection: &mut Connection) -> io::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(io::Error::other)
}

fn create(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let sql = |e| sqlite::classify(path, e);
    let exists = "SELECT count(*) FROM sqlite_master WHERE name = 'raft_applied'";
    if db.query_row(exists, [], |row| row.get::<_, i64>(0)).map_err(sql)? > 0 {
        let found: i64 =
            db.query_row("SELECT max(format) FROM raft_applied", [], |row| row.get(0)).map_err(sql)?;
        StoreError::check_format(path, found, FORMAT)?;
    }
    db.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         CREATE TABLE IF NOT EXISTS raft_state (
             kind INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
             PRIMARY KEY (kind, key)) WITHOUT ROWID, STRICT;
         CREATE TABLE IF NOT EXISTS raft_applied (
             id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, value BLOB) STRICT;
         CREATE TABLE IF NOT EXISTS raft_owner (
             id INTEGER PRIMARY KEY CHECK (id = 1), node INTEGER NOT NULL, peer TEXT NOT NULL) STRICT;
         INSERT OR IGNORE INTO raft_applied (id, format, value) VALUES (1, {FORMAT}, NULL);
         COMMIT;",
    ))
    .map_err(sql)
}

/// The state that a node keeps, if it keeps one.
///
/// # Errors
/// Returns [`StoreError`] when the file cannot be read.
pub fn stored_state(path: &Path) -> Result<Option<ClusterState>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    let connection = sqlite::open(path)?;
    create(&connection, path)?;
    load(&connection, path).map(|(state, _)| Some(state))
}

/// Refuses another node's state, because this node's log does not continue it.
fn claim(db: &Connection, path: &Path, node: NodeId, peer: &str) -> Result<(), StoreError> {
    let sql = |e| sqlite::classify(path, e);
    let owner: Option<(i64, String)> = db
        .query_row("SELECT node, peer FROM raft_owner", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(sql)?;
    match owner {
        Some((id, name)) if u64::try_from(id) == Ok(node.0) && name == peer => Ok(()),
        Some((id, peer)) => {
            Err(StoreError::OtherNode { path: path.to_owned(), node: NodeId(id.unsigned_abs()), peer })
        }
        None => {
            let node = i64::try_from(node.0).unwrap_or(i64::MAX);
            let insert = "INSERT INTO raft_owner (id, node, peer) VALUES (1, ?1, ?2)";
            db.execute(insert, params![node, peer]).map(|_| ()).map_err(sql)
        }
    }
}

fn load(db: &Connection, path: &Path) -> Result<(ClusterState, Applied), StoreError> {
    let sql = |e| sqlite::classify(path, e);
    let corrupt = |detail: String| StoreError::Corrupt { path: path.to_owned(), detail };
    let value: Option<Vec<u8>> =
        db.query_row("SELECT value FROM raft_applied", [], |row| row.get(0)).map_err(sql)?;
    let applied: Applied = match value {
        None => Applied::default(),
        Some(bytes) => wire::decode::<_, ROW_BYTES_MAX>(kind::APPLIED, &bytes)
            .map_err(|e| corrupt(format!("applied state: {e}")))?,
    };
    let mut statement = db.prepare("SELECT kind, key, value FROM raft_state").map_err(sql)?;
    let rows = statement
        .query_map([], |row| Ok(StateRow { kind: row.get(0)?, key: row.get(1)?, value: row.get(2)? }))
        .and_then(Iterator::collect::<Result<Vec<StateRow>, _>>)
        .map_err(sql)?;
    let index = applied.last_log_id.as_ref().map_or(0, |id| id.index);
    let state = rows::restore(rows, index).map_err(|e| corrupt(e.to_string()))?;
    Ok((state, applied))
}

fn write_changes(tx: &Transaction<'_>, changes: &Changes) -> io::Result<()> {
    let remove = || -> rusqlite::Result<()> {
        let mut statement = tx.prepare_cached("DELETE FROM raft_state WHERE kind = ?1 AND key = ?2")?;
        for (kind, key) in &changes.removed {
            statement.execute(params![kind, key])?;
        }
        Ok(())
    };
    remove().map_err(io::Error::other)?;
    write_rows(tx, &changes.put)
}

fn write_rows(tx: &Transaction<'_>, rows: &[StateRow]) -> io::Result<()> {
    let write = || -> rusqlite::Result<()> {
        let mut statement =
            tx.prepare_cached("INSERT OR REPLACE INTO raft_state (kind, key, value) VALUES (?1, ?2, ?3)")?;
        for row in rows {
            statement.execute(params![row.kind, row.key, row.value])?;
        }
        Ok(())
    };
    write().map_err(io::Error::other)
}

fn write_applied(tx: &Transaction<'_>, applied: &Applied) -> io::Result<()> {
    let bytes = wire::encode(kind::APPLIED, applied, ROW_BYTES_MAX).map_err(io::Error::other)?;
    tx.execute("UPDATE raft_applied SET value = ?1", [bytes]).map_err(io::Error::other)?;
    Ok(())
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotBytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        self.with(|db| Ok((db.applied.last_log_id, db.applied.membership.clone()))).await
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut end = false;
        while !end {
            let mut batch = Vec::new();
            let mut responders = Vec::new();
            while batch.len() < BATCH && !end {
                match entries.next().await {
                    Some(item) => {
                        let (entry, responder) = item?;
                        batch.push(entry);
                        responders.push(responder);
                    }
                    None => end = true,
                }
            }
            if batch.is_empty() {
                break;
            }
            let (responses, state) =
                self.with(move |db| db.apply(&batch).map(|responses| (responses, db.state.clone()))).await?;
            self.published.send_replace(Arc::new(state));
            for (responder, response) in responders.into_iter().zip(responses) {
                if let Some(responder) = responder {
                    responder.send(response);
                }
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        Builder { machine: self.clone(), state: db.state.clone(), applied: db.applied.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotBytes) -> io::Result<()> {
        let applied = Applied { last_log_id: meta.last_log_id, membership: meta.last_membership.clone() };
        let bytes = Arc::clone(&snapshot);
        let state = self.with(move |db| db.install(applied, &bytes).map(|()| db.state.clone())).await?;
        self.set_current(meta.clone(), snapshot);
        self.published.send_replace(Arc::new(state));
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotBytes>>> {
        let current = self.current.lock();
        Ok(current.as_ref().map(|(meta, bytes)| Snapshot { meta: meta.clone(), snapshot: Arc::clone(bytes) }))
    }
}

/// A view of the state at one moment, which is to be encoded.
pub(crate) struct Builder {
    machine: Machine,
    state: ClusterState,
    applied: Applied,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotBytes;

    async fn build_snapshot(
        &mut self,
    ) -> io::Result<openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotBytes>> {
        let state = self.state.clone();
        let encode = move || -> io::Result<Vec<u8>> {
            let rows = rows::rows(&state).map_err(io::Error::other)?;
            wire::encode(kind::SNAPSHOT, &rows, SNAPSHOT_BYTES_MAX).map_err(io::Error::other)
        };
        let bytes = tokio::task::spawn_blocking(encode).await.map_err(io::Error::other)??;
        let meta = SnapshotMeta {
            last_log_id: self.applied.last_log_id,
            last_membership: self.applied.membership.clone(),
        };
        let snapshot = Arc::new(bytes);
        self.machine.set_current(meta.clone(), Arc::clone(&snapshot));
        Ok(Snapshot { meta, snapshot })
    }
}

/// Checks that bytes are a snapshot, before it replaces anything.
pub(crate) fn check_snapshot(bytes: &[u8]) -> Result<(), String> {
    let rows: Vec<StateRow> =
        wire::decode::<_, SNAPSHOT_BYTES_MAX>(kind::SNAPSHOT, bytes).map_err(|e| e.to_string())?;
    rows::restore(rows, 0).map(|_| ()).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
