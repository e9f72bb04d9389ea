//! The raft log and the vote in `raft.db`.
//!
//! Invariant: one thread writes, in the order of the calls, and it answers after the commit is synced. So
//! what openraft takes as durable is on disk, votes and entries never swap, and the log has no gap. An entry
//! that waits for its commit can be read from memory (`tail`). Writes that wait together share one commit.

mod open;
mod writer;

pub use open::stored_node;

use crate::{
    error::StoreError,
    rpc::Voters,
    types::{APPEND_BYTES_MAX, ENTRY_BYTES_MAX, Entry, LogId, TypeConfig, Vote, kind},
};
use cluster_state::NodeId;
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
};
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, params};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    path::Path,
    sync::Arc,
    thread,
};
use tokio::sync::{mpsc, oneshot};
use writer::{LogWriter, Op};

/// Maximum number of writes that may wait for the writer thread.
const QUEUE: usize = 256;
/// Number of entries that stay in memory although they are on disk.
const TAIL: usize = 512;

/// An entry in memory, with its encoded size.
#[derive(Clone)]
struct Kept {
    entry: Entry,
    bytes: usize,
}

/// What readers can see without the disk.
#[derive(Default)]
struct LogShared {
    vote: Option<Vote>,
    last: Option<LogId>,
    purged: Option<LogId>,
    /// The newest entries, without a gap up to `last`; entries that are not durable yet are always here.
    tail: BTreeMap<u64, Kept>,
    /// Highest index that the writer has reported as synced.
    durable: u64,
}

impl LogShared {
    fn trim(&mut self) {
        while self.tail.len() > TAIL
            && let Some(entry) = self.tail.first_entry()
            && *entry.key() <= self.durable
        {
            entry.remove();
        }
    }
}

/// Receives a message when the log's file is closed.
pub(crate) type Closed = oneshot::Receiver<()>;

/// The log, for writing and reading; clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Mutex<LogShared>>,
    reader: Arc<Mutex<Connection>>,
    writer: mpsc::Sender<Op>,
}

impl LogStore {
    /// Opens or creates the log of node `node` with peer id `peer` at `path`. [`Closed`] receives its message
    /// when the file is closed, some time after the last clone is dropped.
    /// `introduced` are the voters that let the node in, if it has just joined; they are remembered.
    pub(crate) fn open(
        path: &Path,
        node: NodeId,
        peer: &str,
        introduced: Voters,
    ) -> Result<(Self, Closed, Voters), StoreError> {
        let connection = open::open(path)?;
        open::verify(&connection, path)?;
        let introduced = open::claim(&connection, path, (node, peer), introduced)?;
        let shared = LogShared {
            vote: open::meta(&connection, path, "vote", kind::VOTE)?,
            purged: open::meta(&connection, path, "purged", kind::LOG_ID)?,
            ..LogShared::default()
        };
        let (shared, count) = open::load_tail(&connection, path, shared)?;
        let first = shared.last.as_ref().map_or(0, |last| last.index + 1) - count;
        let expected = shared.purged.as_ref().map_or(0, |purged| purged.index + 1);
        if count > 0 && first != expected {
            let detail = format!("the log begins with entry {first} instead of {expected}");
            return Err(StoreError::Corrupt { path: path.to_owned(), detail });
        }
        let reader = open::open(path)?;
        let shared = Arc::new(Mutex::new(shared));
        let (sender, inbox) = mpsc::channel(QUEUE);
        let writer = LogWriter::new(connection, inbox, Arc::clone(&shared));
        let (done, closed) = oneshot::channel();
        thread::Builder::new()
            .name("raft-log".into())
            .spawn(move || {
                writer.run();
                // The receiver is gone if consensus did not start.
                let _ = done.send(());
            })
            .map_err(|e| StoreError::Thread { path: path.to_owned(), source: e })?;
        let log = Self { shared, reader: Arc::new(Mutex::new(reader)), writer: sender };
        Ok((log, closed, introduced))
    }

    /// Id of the last entry that was purged.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.shared().purged
    }

    /// The term of the vote, which is the latest that this node knew.
    pub(crate) fn vote_term(&self) -> u64 {
        self.shared().vote.map_or(0, |vote| vote.leader_id.term)
    }

    /// Whether the log was never written: it has no vote and no entry.
    pub(crate) fn is_unused(&self) -> bool {
        let shared = self.shared();
        shared.vote.is_none() && shared.last.is_none()
    }

    fn shared(&self) -> MutexGuard<'_, LogShared> {
        self.shared.lock()
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
        let (from, head_end, tail) = {
            let shared = self.shared();
            let from = from.max(shared.purged.as_ref().map_or(0, |purged| purged.index + 1));
            let head_end = shared.tail.keys().next().map_or(to, |first| to.min(*first));
            let tail: Vec<Kept> =
                shared.tail.range(from..to.max(from)).map(|(_, kept)| kept.clone()).collect();
            (from, head_end, tail)
        };
        if from >= head_end {
            return Ok(within(Vec::new(), tail, bytes_max));
        }
        let reader = Arc::clone(&self.reader);
        let read = move || {
            let db = reader.lock();
            select(&db, from, head_end, bytes_max)
        };
        let (head, whole) = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        // The tail is left out when the bytes ran out before it, because a gap would follow.
        Ok(within(head, if whole { tail } else { Vec::new() }, bytes_max))
    }
}

/// The first entries of `head` and `tail` that take at most `bytes_max` together, but at least one entry.
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

/// Entries on disk, and whether these are all: reading stops when `bytes_max` is used up.
fn select(db: &Connection, from: u64, to: u64, bytes_max: usize) -> io::Result<(Vec<Kept>, bool)> {
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
            return Ok((entries, false));
        }
        entries.push(Kept { entry: decode(&bytes).map_err(io::Error::other)?, bytes: bytes.len() });
    }
    Ok((entries, true))
}

fn encode<T: Serialize>(kind: u8, value: &T) -> Result<Vec<u8>, wire::WireError> {
    wire::encode(kind, value, ENTRY_BYTES_MAX)
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Entry, wire::WireError> {
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
        if shared.last.as_ref().is_some_and(|last| last.index >= from) {
            shared.last = last_log_id.max(shared.purged);
        }
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
