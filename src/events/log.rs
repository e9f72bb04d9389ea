//! The durable log of events that every node keeps in `node.db`.
//!
//! Invariant: an event is here once, whatever the number of times it arrives: its id is (origin, epoch, sequence). Events
//! of an applied command are written in the transaction that applies it; others before anybody is told.

use super::{
    Event,
    commits::Commits,
    envelope::{Envelope, EventId, RAFT, Refused, Signed},
    repair::{ANSWER_BYTES_MAX, ANSWER_EVENTS_MAX, Answer, Floor},
    tables::{self, SCHEMA, Stored, Writer},
    vector::{self, Vector},
};
use crate::clock::now_ms;
use p2p::Signer;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

pub use super::{commits::Commit, tables::Subscriptions};

/// How long an event waits for what it follows before it goes on without.
pub const HORIZON: Duration = Duration::from_secs(15 * 60);
/// The newest events that are kept.
const KEPT: i64 = 200_000;
/// Events are kept for this long at most.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// Most rows that one round of pruning removes.
const PRUNED_MAX: i64 = 20_000;
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

/// What became of a batch of others' events.
#[derive(Debug, Default)]
pub struct Received {
    /// Events that were not known before.
    pub new: usize,
    /// Something is missing before one of them.
    pub gap: bool,
    /// There was no room for all.
    pub full: bool,
    /// Refused ones.
    pub refused: Vec<Refused>,
}

/// Why an event could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error("cannot use {path}: restore it from a backup, or start anew with an empty --data-dir")]
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
}

/// This node's log.
pub struct EventLog {
    commits: Commits,
    reader: Mutex<Connection>,
    signer: Signer,
    origin: String,
    epoch: i64,
    changed: watch::Sender<()>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
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
        Self::at(path, signer, subscriptions)
            .map_err(|source| LogError::Open { path: path.to_owned(), source })
    }

    fn at(path: &Path, signer: Signer, subscriptions: Subscriptions) -> Result<Self, rusqlite::Error> {
        let writer = connect(path)?;
        // A checkpoint holds up a commit: seldom, then, since most pages are written again and again.
        writer.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
        writer.execute_batch(SCHEMA)?;
        let epoch = i64::from(rand::random::<u32>());
        writer.execute("INSERT OR IGNORE INTO event_emitter VALUES (1, ?, 0)", [epoch])?;
        let epoch = writer.query_row("SELECT epoch FROM event_emitter", [], |row| row.get(0))?;
        Ok(Self {
            commits: Commits::new(writer, subscriptions),
            reader: Mutex::new(connect(path)?),
            origin: signer.peer_id(),
            signer,
            epoch,
            changed: watch::Sender::new(()),
            refused: Mutex::default(),
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
        let (result, due) = self.commits.write(run)?;
        if due {
            self.touch();
        }
        Ok(result)
    }

    /// Keeps an event of this node and returns the message that tells the others.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was kept.
    pub fn emit(&self, emission: impl Into<Emission>) -> Result<Vec<u8>, LogError> {
        let signed = self.emit_all(vec![emission.into()])?;
        let first = signed.first().ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        Ok(first.encode()?)
    }

    /// Keeps events of this node, all or none, in one synced transaction.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was kept.
    pub fn emit_all(&self, emissions: Vec<Emission>) -> Result<Vec<Signed>, LogError> {
        emissions.iter().try_for_each(|emission| emission.event.check())?;
        self.write(|writer| {
            let emit = |emission| self.emit_one(writer, emission);
            emissions.into_iter().map(emit).collect()
        })
    }

    fn emit_one(&self, writer: &Writer<'_>, emission: Emission) -> Result<Signed, LogError> {
        let Emission { event, mut causes, injected } = emission;
        let tail = |origin: &str| {
            let sql = "SELECT sequence FROM event_tails WHERE origin = ? AND flow = ?";
            let mut statement = writer.connection.prepare_cached(sql)?;
            statement.query_row(params![origin, event.flow()], |row| row.get::<_, i64>(0)).optional()
        };
        let flow_previous = tail("")?;
        if let Some(sequence) = tail(RAFT)? {
            causes.push(EventId { origin: RAFT.to_owned(), epoch: 0, sequence });
        }
        causes.sort();
        causes.dedup();
        causes.truncate(super::envelope::CAUSES_MAX);
        let sql = "UPDATE event_emitter SET sequence = sequence + 1 RETURNING sequence";
        let sequence = writer.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        let id = EventId { origin: self.origin.clone(), epoch: self.epoch, sequence };
        let envelope = Envelope { id, at_ms: writer.now_ms, flow_previous, causes, injected, event };
        let signed = envelope.sign(&self.signer)?;
        writer.log(&envelope, &signed)?;
        set_tail(writer.connection, "", &envelope)?;
        Ok(signed)
    }

    /// Keeps others' events, in one synced transaction; those that are refused change nothing. `is_member` says which
    /// origins may speak; `live` that the events come straight from their emitters, and so are new.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was kept.
    pub fn receive(
        &self,
        events: &[Signed],
        live: bool,
        is_member: impl Fn(&str) -> bool,
    ) -> Result<Received, LogError> {
        let now_ms = clock();
        let mut received = Received::default();
        let mut opened = Vec::with_capacity(events.len());
        for signed in events {
            let checked = signed.open(now_ms).and_then(|envelope| {
                let (origin, age) = (&envelope.id.origin, now_ms - envelope.at_ms);
                if !is_member(origin) {
                    return Err(Refused::Stranger(origin.clone()));
                }
                let stale = live && age > super::envelope::CLOCK_MAX.as_millis() as i64;
                if stale { Err(Refused::Clock(-age)) } else { Ok(envelope) }
            });
            match checked {
                Ok(envelope) if envelope.id.origin == self.origin && envelope.id.epoch == self.epoch => {}
                Ok(envelope) => opened.push((envelope, signed)),
                Err(refused) => received.refused.push(refused),
            }
        }
        if opened.is_empty() {
            return Ok(received);
        }
        self.write(|writer| {
            for (envelope, signed) in &opened {
                match writer.store(envelope, signed)? {
                    Stored::Logged => received.new += 1,
                    Stored::Parked => {
                        received.new += 1;
                        received.gap = true;
                    }
                    Stored::Known => {}
                    Stored::Conflict => received.refused.push(Refused::Conflict(envelope.id.origin.clone())),
                    Stored::Full => received.full = true,
                }
            }
            Ok(())
        })?;
        Ok(received)
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
        let mut answer = Answer { now_ms: clock(), ..Answer::default() };
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
            if kept_from > has + 1 {
                answer.floors.push(Floor { origin: origin.clone(), epoch: *epoch, lost_to: kept_from - 1 });
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

    /// A peer has pruned events that are missing here: they are given up, and the state has to do. What this node
    /// writes itself, it never gives up on a peer's word.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn give_up(&self, floors: &[Floor]) -> Result<(), LogError> {
        if floors.is_empty() {
            return Ok(());
        }
        self.write(|writer| {
            let others = floors
                .iter()
                .filter(|f| f.origin != RAFT && (&f.origin, f.epoch) != (&self.origin, self.epoch));
            for Floor { origin, epoch, lost_to } in others {
                let id = EventId { origin: origin.clone(), epoch: *epoch, sequence: *lost_to };
                writer.give_up(&id)?;
            }
            Ok(())
        })
    }

    /// Lets go on what waited too long, and drops what is too old. Called now and then.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn maintain(&self) -> Result<(), LogError> {
        self.maintain_at(clock(), KEPT)
    }

    fn maintain_at(&self, now_ms: i64, kept: i64) -> Result<(), LogError> {
        let ago = |duration: Duration| now_ms.saturating_sub(duration.as_millis() as i64);
        self.write(|writer| {
            let expired = writer.expire(ago(HORIZON))?;
            if expired > 0 {
                tracing::warn!(expired, "events go on without what they follow: it did not come");
            }
            // What a handler has not seen yet is kept twice as long, not for ever.
            let sql = "DELETE FROM event_log WHERE position IN (SELECT position FROM event_log WHERE \
                       (position <= (SELECT MAX(position) FROM event_log) - ?1 OR received_ms < ?2) AND \
                       (position NOT IN (SELECT position FROM event_inbox) OR \
                       position <= (SELECT MAX(position) FROM event_log) - 2 * ?1) ORDER BY position LIMIT ?3)";
            let pruned = writer.connection.execute(sql, params![kept, ago(KEPT_FOR), PRUNED_MAX])?;
            if pruned > 0 {
                let sql = "DELETE FROM event_inbox WHERE position < (SELECT MIN(position) FROM event_log)";
                let unseen = writer.connection.execute(sql, [])?;
                tracing::info!(pruned, unseen, "old events were dropped");
            }
            let old = ago(KEPT_FOR * 4);
            writer.connection.execute("DELETE FROM event_done WHERE at_ms < ?", [old])?;
            let sql = "DELETE FROM event_vector WHERE updated_ms < ? AND origin NOT IN (?, ?)";
            writer.connection.execute(sql, params![old, RAFT, self.origin])?;
            Ok(())
        })
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
