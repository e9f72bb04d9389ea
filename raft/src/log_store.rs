//! The raft log and vote in `raft.db`.
//!
//! Invariant: one thread writes, in the order of the calls, and answers after the commit is synced: what openraft
//! was told is durable is on disk, votes and entries never swap, the log has no hole. What waits for its commit is
//! readable from memory (`tail`) meanwhile. Writes that wait together share one commit.

mod writer;

use crate::{
    command::NodeId,
    error::StoreError,
    sqlite,
    types::{APPEND_BYTES_MAX, ENTRY_BYTES_MAX, Entry, LogId, TypeConfig, Vote, kind},
};
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
};
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};
use tokio::sync::{mpsc, oneshot};
use writer::{Op, Writer};

/// "RRft", in the header of the file.
const APPLICATION_ID: i64 = 0x5252_6674;
/// Format written by this version.
const FORMAT: i64 = 1;
/// Writes that may wait for the writer thread.
const QUEUE: usize = 256;
/// Entries kept in memory although they are on disk.
const TAIL: usize = 512;

/// An entry in memory, with its encoded size.
#[derive(Clone)]
struct Kept {
    entry: Entry,
    bytes: usize,
}

/// What readers see without the disk.
#[derive(Default)]
struct Shared {
    vote: Option<Vote>,
    last: Option<LogId>,
    purged: Option<LogId>,
    /// The newest entries, without a hole up to `last`; those not durable yet are always here.
    tail: BTreeMap<u64, Kept>,
    /// Highest index of which the writer said that it is synced.
    durable: u64,
}

impl Shared {
    fn trim(&mut self) {
        while self.tail.len() > TAIL
            && let Some(entry) = self.tail.first_entry()
            && *entry.key() <= self.durable
        {
            entry.remove();
        }
    }
}

/// The log; clones share it. Also reads it.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Mutex<Shared>>,
    reader: Arc<Mutex<Connection>>,
    writer: mpsc::Sender<Op>,
}

/// The node that a `raft.db` belongs to, if the file exists and has been used.
///
/// # Errors
/// [`StoreError`], also for a newer or foreign file.
pub fn stored_node(path: &Path) -> Result<Option<(NodeId, String)>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    owner(&open(path)?, path)
}

impl LogStore {
    /// Opens or makes the log of node `node` with peer id `peer` at `path`.
    pub(crate) fn open(path: &Path, node: NodeId, peer: &str) -> Result<Self, StoreError> {
        let connection = open(path)?;
        verify(&connection, path)?;
        claim(&connection, path, node, peer)?;
        let corrupt = |detail: String| StoreError::Corrupt { path: path.to_owned(), detail };
        let shared = Shared {
            vote: meta(&connection, path, "vote", kind::VOTE)?,
            purged: meta(&connection, path, "purged", kind::LOG_ID)?,
            ..Shared::default()
        };
        let (shared, count) = load_tail(&connection, path, shared)?;
        let first = shared.last.as_ref().map_or(0, |last| last.index + 1) - count;
        if count > 0 && shared.purged.as_ref().is_some_and(|purged| purged.index + 1 != first) {
            return Err(corrupt(format!("entry {first} does not follow the purged ones")));
        }
        let reader = open(path)?;
        let shared = Arc::new(Mutex::new(shared));
        let (sender, inbox) = mpsc::channel(QUEUE);
        let writer = Writer::new(connection, inbox, Arc::clone(&shared));
        thread::Builder::new()
            .name("raft-log".into())
            .spawn(move || writer.run())
            .map_err(|e| corrupt(format!("cannot start the writer: {e}")))?;
        Ok(Self { shared, reader: Arc::new(Mutex::new(reader)), writer: sender })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, op: Op) -> io::Result<()> {
        self.writer.send(op).await.map_err(|_| stopped())
    }

    async fn write(&self, op: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Op) -> io::Result<()> {
        let (reply, answer) = oneshot::channel();
        self.send(op(reply)).await?;
        answer.await.map_err(|_| stopped())?
    }

    async fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let (head_end, tail) = {
            let shared = self.shared();
            let head_end = shared.tail.keys().next().map_or(to, |first| to.min(*first));
            let tail: Vec<Kept> =
                shared.tail.range(from..to.max(from)).map(|(_, kept)| kept.clone()).collect();
            (head_end, tail)
        };
        if from >= head_end {
            return Ok(within(Vec::new(), tail, bytes_max));
        }
        let reader = Arc::clone(&self.reader);
        let read = move || {
            let db = reader.lock().unwrap_or_else(PoisonError::into_inner);
            select(&db, from, head_end, bytes_max)
        };
        let head = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        // A gap would follow if the bytes ran out first.
        let whole = head.last().is_some_and(|last| last.entry.log_id.index + 1 == head_end);
        Ok(within(head, if whole { tail } else { Vec::new() }, bytes_max))
    }
}

/// The entries of `head` and `tail` that take at most `bytes_max`, but at least one.
fn within(head: Vec<Kept>, tail: Vec<Kept>, bytes_max: usize) -> Vec<Entry> {
    let mut bytes = 0usize;
    head.into_iter()
        .chain(tail)
        .enumerate()
        .take_while(|(i, kept)| {
            bytes = bytes.saturating_add(kept.bytes);
            *i == 0 || bytes <= bytes_max
        })
        .map(|(_, kept)| kept.entry)
        .collect()
}

/// A log index as SQLite's row id.
fn key(index: u64) -> io::Result<i64> {
    i64::try_from(index).map_err(io::Error::other)
}

fn saturating(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

fn stopped() -> io::Error {
    io::Error::other("the log writer has stopped")
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let fresh = std::fs::metadata(path).map_or(true, |m| m.len() == 0);
    if !fresh {
        // Looked at before the file is touched in any way.
        let found = header(path)?;
        if found.0 != APPLICATION_ID {
            return Err(StoreError::Foreign { path: path.to_owned(), found: found.0 });
        }
        if found.1 > FORMAT {
            return Err(StoreError::Newer { path: path.to_owned(), found: found.1, supported: FORMAT });
        }
    }
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

/// Application id and format, as the file (with its write-ahead log) has them.
fn header(path: &Path) -> Result<(i64, i64), StoreError> {
    let db = sqlite::open(path)?;
    Ok((sqlite::pragma(&db, path, "application_id")?, sqlite::pragma(&db, path, "user_version")?))
}

/// Every page is readable: better now than in the middle of an election.
fn verify(db: &Connection, path: &Path) -> Result<(), StoreError> {
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

fn claim(db: &Connection, path: &Path, node: NodeId, peer: &str) -> Result<(), StoreError> {
    match owner(db, path)? {
        Some((id, name)) if id == node && name == peer => Ok(()),
        Some((id, name)) => Err(StoreError::OtherNode { path: path.to_owned(), node: id, peer: name }),
        None => {
            let value = encode(kind::APPLIED, &(node, peer))
                .map_err(|e| StoreError::Corrupt { path: path.to_owned(), detail: e.to_string() })?;
            db.execute("INSERT INTO meta (name, value) VALUES ('owner', ?1)", params![value])
                .map_err(|e| sqlite::classify(path, e))?;
            Ok(())
        }
    }
}

fn meta<T: DeserializeOwned>(
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

/// Reads the whole log once: every entry must decode and follow the one before. Keeps the newest in memory.
fn load_tail(db: &Connection, path: &Path, mut shared: Shared) -> Result<(Shared, u64), StoreError> {
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

fn select(db: &Connection, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Kept>> {
    let mut entries = Vec::new();
    let mut bytes_read = 0usize;
    let mut statement = db
        .prepare_cached("SELECT entry FROM log WHERE idx >= ?1 AND idx < ?2 ORDER BY idx")
        .map_err(io::Error::other)?;
    let mut rows = statement.query(params![saturating(from), saturating(to)]).map_err(io::Error::other)?;
    while let Some(row) = rows.next().map_err(io::Error::other)? {
        let bytes: Vec<u8> = row.get(0).map_err(io::Error::other)?;
        bytes_read = bytes_read.saturating_add(bytes.len());
        if bytes_read > bytes_max && !entries.is_empty() {
            break;
        }
        entries.push(Kept { entry: decode(&bytes).map_err(io::Error::other)?, bytes: bytes.len() });
    }
    Ok(entries)
}

fn encode<T: Serialize>(kind: u8, value: &T) -> Result<Vec<u8>, wire::WireError> {
    wire::encode(kind, value, ENTRY_BYTES_MAX)
}

fn decode(bytes: &[u8]) -> Result<Entry, wire::WireError> {
    wire::decode::<Entry, ENTRY_BYTES_MAX>(kind::ENTRY, bytes)
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(from) => from.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(to) => to.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => u64::MAX,
    };
    (from, to)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (from, to) = bounds(&range);
        self.read(from, to, usize::MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.shared().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, APPEND_BYTES_MAX).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let shared = self.shared();
        Ok(LogState { last_purged_log_id: shared.purged, last_log_id: shared.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let value = encode(kind::VOTE, vote).map_err(io::Error::other)?;
        self.write(|reply| Op::Vote { value, reply }).await?;
        self.shared().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let rows = entries
            .iter()
            .map(|entry| {
                let bytes = encode(kind::ENTRY, entry).map_err(io::Error::other)?;
                Ok((key(entry.log_id.index)?, bytes))
            })
            .collect::<io::Result<Vec<_>>>()?;
        {
            let mut shared = self.shared();
            if let (Some(last), Some(first)) = (&shared.last, entries.first())
                && last.index + 1 != first.log_id.index
            {
                return Err(io::Error::other(format!("entry {} leaves a hole", first.log_id.index)));
            }
            for (entry, (_, row)) in entries.into_iter().zip(&rows) {
                shared.last = Some(entry.log_id());
                let bytes = row.len();
                shared.tail.insert(entry.log_id.index, Kept { entry, bytes });
            }
        }
        self.send(Op::Append { rows, callback }).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let from = last_log_id.as_ref().map_or(0, |id| id.index + 1);
        let key = key(from)?;
        self.write(|reply| Op::Truncate { from: key, reply }).await?;
        let mut shared = self.shared();
        shared.tail.split_off(&from);
        shared.durable = shared.durable.min(from.saturating_sub(1));
        shared.last = last_log_id.max(shared.purged);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let value = encode(kind::LOG_ID, &log_id).map_err(io::Error::other)?;
        let upto = log_id.index;
        let key = key(upto)?;
        self.write(|reply| Op::Purge { upto: key, value, reply }).await?;
        let mut shared = self.shared();
        shared.tail = shared.tail.split_off(&(upto + 1));
        shared.purged = shared.purged.max(Some(log_id));
        shared.last = shared.last.max(Some(log_id));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
