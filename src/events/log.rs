//! The durable log of events that every node keeps in `node.db`.
//!
//! Invariant: an event is here once, however often it arrives, because its id is (origin, epoch, sequence).
//! The events of an applied command are written in the transaction that applies it; others are written before
//! anybody is told.

mod anew;
mod answer;
mod emit;
mod receive;
mod samples;
mod shun;
mod untold;
mod upkeep;

use super::{
    commits::Commits,
    envelope::{EventRefusal, RAFT},
    error::LogError,
    logged::{self, Logged},
    schema::{SCHEMA, connect},
    subscriptions::Subscriptions,
    vector::VersionVector,
    writer::{self, EventWriter},
};
use crate::{api::events::Commit, clock::now_ms_i64};
use p2p::Signer;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, atomic::AtomicI64},
};
use tokio::sync::watch;

pub use receive::{Opened, Received};
pub use shun::{Accused, Shunned};
pub use untold::Answered;

/// Pages of the write-ahead log, 4 KiB each, at which it is copied into the database.
const WAL_PAGES: i64 = 4096;
/// Most events that are read at once.
const PAGE_MAX: usize = 1_000;

/// The wall clock, in milliseconds since the epoch.
type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// This node's log.
pub struct EventLog {
    commits: Commits,
    reader: Mutex<Connection>,
    signer: Signer,
    origin: String,
    /// Its epoch and the number of its last event when this process began.
    opened: (i64, i64),
    changed: watch::Sender<()>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    shunned: watch::Sender<Shunned>,
    /// The epochs of which nothing more is taken since their origins were pardoned.
    pardoned: Mutex<BTreeSet<(String, i64)>>,
    /// The first of this node's events that it tells nobody yet; [`i64::MAX`]: it tells all.
    untold: AtomicI64,
    clock: Clock,
}

impl EventLog {
    /// Opens the log of the node that `signer` signs for.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(path: &Path, signer: Signer, subscriptions: Subscriptions) -> Result<Self, LogError> {
        Self::with_clock(path, signer, subscriptions, Arc::new(now_ms_i64))
    }

    /// [`Self::open`] with another clock than the machine's.
    pub(super) fn with_clock(
        path: &Path,
        signer: Signer,
        subscriptions: Subscriptions,
        clock: Clock,
    ) -> Result<Self, LogError> {
        Self::at(path, signer, subscriptions, clock)
            .map_err(|source| LogError::Open { path: path.to_owned(), source })
    }

    fn at(
        path: &Path,
        signer: Signer,
        subscriptions: Subscriptions,
        clock: Clock,
    ) -> Result<Self, rusqlite::Error> {
        let writer = connect(path)?;
        // A checkpoint holds up a commit: seldom, then, since most pages are written again and again.
        writer.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
        writer.execute_batch(SCHEMA)?;
        let epoch = i64::from(rand::random::<u32>());
        let is_new = writer.execute("INSERT OR IGNORE INTO event_emitter VALUES (1, ?, 0)", [epoch])? > 0;
        let sql = "SELECT epoch, sequence FROM event_emitter";
        let opened: (i64, i64) = writer.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let untold = untold::at_start(&writer, is_new, opened.1)?;
        let reader = connect(path)?;
        let shunned = writer::shunned::all(&reader)?.into_iter().map(|id| (id.origin.clone(), id));
        let shunned = watch::Sender::new(Arc::new(shunned.collect()));
        let pardoned = writer::shunned::pardoned(&reader)?.into_iter().collect();
        Ok(Self {
            commits: Commits::new(writer, subscriptions),
            reader: Mutex::new(reader),
            origin: signer.peer_id(),
            signer,
            opened,
            changed: watch::Sender::new(()),
            refused: Mutex::default(),
            shunned,
            pardoned: Mutex::new(pardoned),
            untold: AtomicI64::new(untold),
            clock,
        })
    }

    /// Follows the log: a value whenever there may be something new for a handler.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Says that something else wrote to the log: Raft, at apply.
    pub fn touch(&self) {
        self.changed.send_replace(());
    }

    /// Refused events since the process began, by reason.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<String, u64> {
        self.refused.lock().iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
    }

    /// Counts a refused message. Says whether to log it: the first ones of a reason, then ever fewer.
    pub fn count_refused(&self, refused: &EventRefusal) -> bool {
        let mut all = self.refused.lock();
        let count = all.entry(refused.kind()).or_default();
        *count += 1;
        *count <= 10 || count.is_power_of_two()
    }

    fn write<T>(&self, run: impl FnOnce(&EventWriter<'_>) -> Result<T, LogError>) -> Result<T, LogError> {
        let (result, due) = self.commits.write((self.clock)(), run)?;
        if due {
            self.touch();
        }
        Ok(result)
    }

    /// When events after `position` were synced here, as far as that is remembered: of this process, the
    /// newest ones.
    #[must_use]
    pub fn commits(&self, position: i64) -> Vec<Commit> {
        self.commits.since(position)
    }

    /// What this node has of every origin.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn vector(&self) -> Result<VersionVector, LogError> {
        writer::vector(&self.reader.lock())
    }

    /// Up to `limit` events after `position`, oldest first. One that cannot be read is left out.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn since(&self, position: i64, limit: usize) -> Result<Vec<Logged>, LogError> {
        let sql = "SELECT position, envelope FROM event_log WHERE position > ? ORDER BY position";
        let limit = limit.min(PAGE_MAX);
        let connection = self.reader.lock();
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([position])?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            match logged::read(row) {
                Ok(logged) => found.push(logged),
                // It must not keep the later ones from being read.
                Err(LogError::Wire(error)) => {
                    tracing::warn!(position = row.get::<_, i64>(0)?, %error, "an event is unreadable");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// When the last decision that left an event was proposed, milliseconds since the epoch.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn last_decision_ms(&self) -> Result<Option<u64>, LogError> {
        let sql = "SELECT at_ms FROM event_log WHERE origin = ? AND epoch = 0 ORDER BY sequence DESC LIMIT 1";
        let connection = self.reader.lock();
        let found: Option<i64> =
            connection.prepare_cached(sql)?.query_row([RAFT], |row| row.get(0)).optional()?;
        Ok(found.map(|at_ms| at_ms.max(0).unsigned_abs()))
    }

    /// The newest event of a name.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn newest(&self, name: &str) -> Result<Option<Logged>, LogError> {
        let sql = "SELECT position, envelope FROM event_log WHERE name = ? ORDER BY position DESC LIMIT 1";
        let connection = self.reader.lock();
        let found =
            connection.prepare_cached(sql)?.query_row([name], |row| Ok(logged::read(row))).optional()?;
        found.transpose()
    }
}

#[cfg(test)]
mod tests;
