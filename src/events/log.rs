//! The durable log of events that every node keeps in `node.db`.
//!
//! Invariant: an event is here once, whatever the number of times it arrives: its id is (origin, epoch, sequence). Events
//! of an applied command are written in the transaction that applies it; others before anybody is told.

mod anew;
mod emit;
mod receive;
mod upkeep;

use super::{
    Event,
    commits::Commits,
    envelope::{Envelope, EventId, RAFT, Refused, Signed},
    repair::{ANSWER_BYTES_MAX, ANSWER_EVENTS_MAX, Answer, Floor},
    schema::SCHEMA,
    tables::{self, Writer},
    vector::{self, Vector},
};
use crate::clock::now_ms;
use p2p::Signer;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

pub use super::{commits::Commit, tables::Subscriptions};
pub use receive::Received;

/// How long an event waits for what it follows before it goes on without.
pub const HORIZON: Duration = Duration::from_secs(15 * 60);
/// The newest events that are kept.
const KEPT: i64 = 200_000;
/// Events are kept for this long at most.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// What is known of events is forgotten after this long; an older one cannot be told from a replay, and is refused.
const FORGOTTEN: Duration = Duration::from_secs(4 * 7 * 24 * 3600);
/// Most rows that one round of pruning removes.
const PRUNED_MAX: i64 = 20_000;
/// Most keys of what was handled that are remembered, and of what was told: the newest.
const REMEMBERED_MAX: i64 = 1_000_000;
/// Pages of the write-ahead log, 4 KiB each, at which it is copied into the database.
const WAL_PAGES: i64 = 4096;
/// Most events of one answer.
const PAGE_MAX: usize = 1_000;

/// An event with its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// Where it is in this node's log; other nodes number differently. In causal order.
    pub position: i64,
    /// The emitter's peer id, or `raft`.
    pub origin: String,
    /// Random number of the emitter's data folder; 0 for `raft`.
    pub epoch: i64,
    /// For `raft`: log index × 16 + number within the command. Otherwise it counts the origin's events.
    pub sequence: i64,
    /// When it was emitted, milliseconds since the epoch.
    pub at_ms: i64,
    /// Which events it is ordered with.
    pub flow: String,
    /// The origin's event before it in the flow.
    pub flow_previous: Option<i64>,
    /// Events that it follows.
    pub causes: Vec<EventId>,
    /// What it speaks of.
    pub subject: Option<String>,
    /// An operator emitted it.
    pub injected: bool,
    /// What happened.
    pub event: Event,
}

impl Logged {
    pub(super) fn new(position: i64, envelope: Envelope) -> Self {
        let Envelope { id, at_ms, flow_previous, causes, injected, event } = envelope;
        Self {
            position,
            origin: id.origin,
            epoch: id.epoch,
            sequence: id.sequence,
            at_ms,
            flow: event.flow().to_owned(),
            flow_previous,
            causes,
            subject: event.subject(),
            injected,
            event,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId { origin: self.origin.clone(), epoch: self.epoch, sequence: self.sequence }
    }
}

/// An event to emit.
#[derive(Clone, Debug, PartialEq)]
pub struct Emission {
    /// What happened.
    pub event: Event,
    /// What it follows, beside this node's and the cluster's last event of the same flow.
    pub causes: Vec<EventId>,
    /// An operator asked for it.
    pub injected: bool,
}

impl From<Event> for Emission {
    fn from(event: Event) -> Self {
        Self { event, causes: Vec::new(), injected: false }
    }
}

/// Why an event could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error("cannot use {path}: if it is damaged, start anew with an empty --data-dir")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The database.
    #[error("cannot use the event log")]
    Sqlite(#[from] rusqlite::Error),
    /// An event too large for a message, or a stored one that is unreadable.
    #[error("no event")]
    Wire(#[from] wire::WireError),
    /// An event that JSON cannot express, or a stored one that is unreadable.
    #[error("unreadable event")]
    Body(#[from] serde_json::Error),
    /// An event that makes no sense.
    #[error(transparent)]
    Event(#[from] super::EventError),
    /// A handler's change of the database failed; nothing of it was kept.
    #[error("the effect failed: {0}")]
    Effect(String),
    /// The task that used the database panicked; the log of the process has where.
    #[error("the task that used the event log has panicked")]
    TaskPanicked,
}

/// Milliseconds since the epoch.
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
    clock: Clock,
}

/// A connection to `node.db` that syncs before it answers.
///
/// # Errors
/// From SQLite.
pub fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// A panic while it was held rolled its transaction back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn clock() -> i64 {
    i64::try_from(now_ms()).unwrap_or(i64::MAX)
}

impl EventLog {
    /// Opens the log of the node that `signer` signs for.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(path: &Path, signer: Signer, subscriptions: Subscriptions) -> Result<Self, LogError> {
        Self::with_clock(path, signer, subscriptions, Arc::new(clock))
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
        writer.execute("INSERT OR IGNORE INTO event_emitter VALUES (1, ?, 0)", [epoch])?;
        let sql = "SELECT epoch, sequence FROM event_emitter";
        let opened = writer.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self {
            commits: Commits::new(writer, subscriptions),
            reader: Mutex::new(connect(path)?),
            origin: signer.peer_id(),
            signer,
            opened,
            changed: watch::Sender::new(()),
            refused: Mutex::default(),
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
        lock(&self.refused).iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
    }

    /// Counts a refused message. Says whether to log it: the first ones of a reason, then ever fewer.
    pub fn count_refused(&self, refused: &Refused) -> bool {
        let mut all = lock(&self.refused);
        let count = all.entry(refused.kind()).or_default();
        *count += 1;
        *count <= 10 || count.is_power_of_two()
    }

    fn write<T>(&self, run: impl FnOnce(&Writer<'_>) -> Result<T, LogError>) -> Result<T, LogError> {
        let (result, due) = self.commits.write((self.clock)(), run)?;
        if due {
            self.touch();
        }
        Ok(result)
    }

    /// When events after `position` were synced here, as far as that is remembered: of this process, the newest ones.
    #[must_use]
    pub fn commits(&self, position: i64) -> Vec<Commit> {
        self.commits.since(position)
    }

    /// What this node has of every origin.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn vector(&self) -> Result<Vector, LogError> {
        tables::vector(&lock(&self.reader))
    }

    /// What a node with this vector lacks, as far as it fits into one answer.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn answer(&self, theirs: &Vector) -> Result<Answer, LogError> {
        let connection = lock(&self.reader);
        let ours = tables::vector(&connection)?;
        let mut answer = Answer { now_ms: (self.clock)(), ..Answer::default() };
        let mut bytes = 0;
        // A moment's choice of the origin to begin with, so that none is always last.
        let missing = vector::missing(&ours, theirs);
        let first = usize::try_from(answer.now_ms).unwrap_or(0) % missing.len().max(1);
        for ((origin, epoch), ranges) in missing.iter().cycle().skip(first).take(missing.len()) {
            // What is parked here can be served as well: its origin signed it.
            let sql = "SELECT MIN(sequence) FROM (SELECT MIN(sequence) AS sequence FROM event_log WHERE \
                       origin = ?1 AND epoch = ?2 UNION ALL SELECT MIN(sequence) FROM event_parked WHERE \
                       origin = ?1 AND epoch = ?2)";
            let lowest: Option<i64> =
                connection.prepare_cached(sql)?.query_row(params![origin, epoch], |row| row.get(0))?;
            let key = (origin.clone(), *epoch);
            let contiguous = ours.get(&key).map_or(0, |have| have.contiguous);
            let kept_from = lowest.map_or(contiguous + 1, |lowest| lowest.min(contiguous + 1));
            let has = theirs.get(&key).map_or(0, |have| have.contiguous);
            // What is below the first event that is here is gone; so is what lies between the first thing that is lacking
            // there and the next that is here. A later hole is told of once there is nothing to serve before it.
            let mut lost_to = if kept_from > has + 1 { kept_from - 1 } else { 0 };
            if let Some(range) = ranges.first() {
                let next = first_in(&connection, &key, range)?;
                if next != Some(*range.start()) {
                    lost_to = lost_to.max(next.map_or(*range.end(), |next| next - 1));
                }
            }
            if lost_to > 0 {
                answer.floors.push(Floor { origin: origin.clone(), epoch: *epoch, lost_to });
            }
            for range in ranges {
                let sql = "SELECT envelope, signature, sequence FROM event_log WHERE origin = ?1 AND epoch = ?2 \
                           AND sequence BETWEEN ?3 AND ?4 UNION ALL SELECT envelope, signature, sequence FROM \
                           event_parked WHERE origin = ?1 AND epoch = ?2 AND sequence BETWEEN ?3 AND ?4 \
                           ORDER BY sequence";
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(params![origin, epoch, range.start(), range.end()])?;
                while let Some(row) = rows.next()? {
                    let signed = Signed { envelope: row.get(0)?, signature: row.get(1)? };
                    bytes += signed.envelope.len() + signed.signature.len() + 16;
                    if answer.events.len() == ANSWER_EVENTS_MAX || bytes > ANSWER_BYTES_MAX {
                        answer.more = true;
                        return Ok(answer);
                    }
                    answer.events.push(signed);
                }
            }
        }
        Ok(answer)
    }

    /// Up to `limit` events after `position`, oldest first. One that cannot be read is left out.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn since(&self, position: i64, limit: usize) -> Result<Vec<Logged>, LogError> {
        let sql = "SELECT position, envelope FROM event_log WHERE position > ? ORDER BY position";
        let limit = limit.min(PAGE_MAX);
        let connection = lock(&self.reader);
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([position])?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            match read(row) {
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
        let connection = lock(&self.reader);
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
        let connection = lock(&self.reader);
        let found = connection.prepare_cached(sql)?.query_row([name], |row| Ok(read(row))).optional()?;
        found.transpose()
    }
}

/// The first event of a range that is here and can be served.
fn first_in(
    connection: &Connection,
    (origin, epoch): &(String, i64),
    range: &RangeInclusive<i64>,
) -> Result<Option<i64>, LogError> {
    let sql = "SELECT MIN(sequence) FROM (SELECT MIN(sequence) AS sequence FROM event_log WHERE origin = ?1 AND \
               epoch = ?2 AND sequence BETWEEN ?3 AND ?4 UNION ALL SELECT MIN(sequence) FROM event_parked WHERE \
               origin = ?1 AND epoch = ?2 AND sequence BETWEEN ?3 AND ?4)";
    let key = params![origin, epoch, range.start(), range.end()];
    Ok(connection.prepare_cached(sql)?.query_row(key, |row| row.get(0))?)
}

/// Remembers the last event of a flow: of this node (an empty origin) or of Raft.
pub(super) fn set_tail(connection: &Connection, origin: &str, envelope: &Envelope) -> Result<(), LogError> {
    let sql =
        "INSERT INTO event_tails VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET sequence = excluded.sequence";
    let row = params![origin, envelope.event.flow(), envelope.id.sequence];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

pub(super) fn read(row: &Row<'_>) -> Result<Logged, LogError> {
    let envelope: Vec<u8> = row.get(1)?;
    Ok(Logged::new(row.get(0)?, Envelope::decode(&envelope)?))
}

#[cfg(test)]
mod tests;
