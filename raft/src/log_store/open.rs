//! Opening `raft.db`.
//!
//! Invariant: an opened file is a log of this program and of this node, complete and without a gap; every
//! other file gives a typed error and is left as it was.

use super::{Kept, LogShared, decode, encode};
use crate::{
    error::StoreError,
    rpc::Voters,
    sqlite,
    types::{ENTRY_BYTES_MAX, kind},
};
use cluster_state::NodeId;
use openraft::entry::RaftEntry;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Serialize, de::DeserializeOwned};
use std::path::{Path, PathBuf};

/// "RRft", in the header of the file.
pub(super) const APPLICATION_ID: i64 = 0x5252_6674;
/// The one format that this version reads and writes: the tables, and the encoding of the entries.
pub(super) const FORMAT: i64 = 5;

/// The node and the peer id that a `raft.db` belongs to, if the file exists and has been used.
///
/// # Errors
/// Returns [`StoreError`], also for a newer, older or foreign file.
pub fn stored_node(path: &Path) -> Result<Option<(NodeId, String)>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    owner(&open(path)?, path)
}

/// A connection to a file of this program, which is created if there is none. No other program's file is
/// changed.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let fresh = match sqlite::inspect(path)? {
        None => true,
        // A process that was killed while it created the file leaves such an empty one.
        Some(found) if found.is_empty() => true,
        Some(found) if found.application_id != APPLICATION_ID => {
            return Err(StoreError::Foreign { path: path.to_owned(), found: found.application_id });
        }
        Some(found) => {
            StoreError::check_format(path, found.user_version, FORMAT)?;
            false
        }
    };
    let db = sqlite::open(path)?;
    if fresh {
        db.execute_batch(&format!(
            "BEGIN IMMEDIATE;
             CREATE TABLE log (idx INTEGER PRIMARY KEY, entry BLOB NOT NULL) STRICT;
             CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;
             PRAGMA application_id = {APPLICATION_ID};
             PRAGMA user_version = {FORMAT};
             COMMIT;"
        ))
        .map_err(|e| sqlite::classify(path, e))?;
    }
    Ok(db)
}

/// Checks that every page is readable, because damage found now is better than damage found during an
/// election.
pub(super) fn verify(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let verdict: String =
        db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|e| sqlite::classify(path, e))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(StoreError::Corrupt { path: path.to_owned(), detail: verdict })
}

fn owner(db: &Connection, path: &Path) -> Result<Option<(NodeId, String)>, StoreError> {
    meta(db, path, "owner", kind::APPLIED)
}

/// Makes the file this node's, and remembers the voters that let it in, or recalls them. Both are written or
/// neither: a node with an id and without voters to listen to would refuse every leader.
pub(super) fn claim(
    db: &Connection,
    path: &Path,
    (node, peer): (NodeId, &str),
    introduced: Voters,
) -> Result<Voters, StoreError> {
    let sql = |e| sqlite::classify(path, e);
    let tx = db.unchecked_transaction().map_err(sql)?;
    match owner(&tx, path)? {
        Some((id, name)) if id == node && name == peer => {}
        Some((id, name)) => {
            return Err(StoreError::OtherNode { path: path.to_owned(), node: id, peer: name });
        }
        None => set_meta(&tx, path, "owner", &(node, peer))?,
    }
    let introduced = if introduced.is_empty() {
        meta(&tx, path, "introduced", kind::APPLIED)?.unwrap_or_default()
    } else {
        set_meta(&tx, path, "introduced", &introduced)?;
        introduced
    };
    tx.commit().map_err(sql)?;
    Ok(introduced)
}

fn set_meta(db: &Connection, path: &Path, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
    let value = encode(kind::APPLIED, value)
        .map_err(|e| StoreError::Corrupt { path: path.to_owned(), detail: e.to_string() })?;
    db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", params![name, value])
        .map_err(|e| sqlite::classify(path, e))?;
    Ok(())
}

pub(super) fn meta<T: DeserializeOwned>(
    db: &Connection,
    path: &Path,
    name: &str,
    kind: u8,
) -> Result<Option<T>, StoreError> {
    let value: Option<Vec<u8>> = db
        .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0))
        .optional()
        .map_err(|e| sqlite::classify(path, e))?;
    value
        .map(|bytes| wire::decode::<T, ENTRY_BYTES_MAX>(kind, &bytes))
        .transpose()
        .map_err(|e| StoreError::Corrupt { path: PathBuf::from(path), detail: format!("{name}: {e}") })
}

/// Reads the whole log once: every entry must decode and follow the one before. The newest stay in memory.
pub(super) fn load_tail(
    db: &Connection,
    path: &Path,
    mut shared: LogShared,
) -> Result<(LogShared, u64), StoreError> {
    let sql = |e| sqlite::classify(path, e);
    let corrupt = |detail: String| StoreError::Corrupt { path: path.to_owned(), detail };
    let mut statement = db.prepare("SELECT idx, entry FROM log ORDER BY idx").map_err(sql)?;
    let mut rows = statement.query([]).map_err(sql)?;
    let mut count = 0;
    shared.last = shared.purged;
    while let Some(row) = rows.next().map_err(sql)? {
        let index: i64 = row.get(0).map_err(sql)?;
        let index = u64::try_from(index).map_err(|_| corrupt(format!("entry {index}")))?;
        let bytes: Vec<u8> = row.get(1).map_err(sql)?;
        let entry = decode(&bytes).map_err(|e| corrupt(format!("entry {index}: {e}")))?;
        let follows = count == 0 || shared.last.as_ref().is_some_and(|last| last.index + 1 == index);
        if entry.log_id.index != index || !follows {
            return Err(corrupt(format!("entry {index} is out of place")));
        }
        shared.last = Some(entry.log_id());
        shared.durable = index;
        let bytes = bytes.len();
        shared.tail.insert(index, Kept { entry, bytes });
        shared.trim();
        count += 1;
    }
    Ok((shared, count))
}
