//! How an event gets into the tables of `node.db` ([`super::schema`]).
//!
//! Invariant: an event has a position only after everything that it follows has one, so positions are in causal order
//! on every node. Until then it is parked. With its position it gets one row for every handler that subscribes to it,
//! in the same transaction: that row is the handler's cursor.

mod epochs;

use super::{
    envelope::{Envelope, EventId, RAFT, Signed},
    log::LogError,
    vector::{ENTRIES_MAX, Have, RANGES_MAX, Vector},
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::{cell::Cell, collections::BTreeMap, sync::Arc};

/// Most events that wait for what they follow. One more is not stored, and asked for again.
const PARKED_MAX: i64 = 10_000;
/// Of these, most of one origin: nobody takes all the room.
const PARKED_OF_ONE_MAX: i64 = PARKED_MAX / 2;

/// Which handlers an event goes to, by the event's name.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions(Arc<BTreeMap<&'static str, Vec<&'static str>>>);

impl Subscriptions {
    /// From pairs of event and handler.
    pub fn new(pairs: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        let mut all: BTreeMap<&'static str, Vec<&'static str>> = BTreeMap::new();
        for (event, handler) in pairs {
            all.entry(event).or_default().push(handler);
        }
        Self(Arc::new(all))
    }

    fn of(&self, event: &str) -> &[&'static str] {
        self.0.get(event).map_or(&[], Vec::as_slice)
    }
}

/// What became of an event that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// It has a position.
    Logged,
    /// It waits for what it follows.
    Parked,
    /// It is here already, or was.
    Known,
    /// There is another event under its id.
    Conflict,
    /// Too many wait, or its origin has too many epochs.
    Full,
}

/// Adds events within one transaction.
pub(super) struct Writer<'a> {
    pub(super) connection: &'a Connection,
    pub(super) subscriptions: &'a Subscriptions,
    pub(super) now_ms: i64,
    /// A handler got something to do.
    pub(super) due: Cell<bool>,
    /// Whether anything is parked, once somebody looked.
    parked: Cell<Option<bool>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(connection: &'a Connection, subscriptions: &'a Subscriptions, now_ms: i64) -> Self {
        Self { connection, subscriptions, now_ms, due: Cell::new(false), parked: Cell::new(None) }
    }

    /// Stores an event of another node: at once, or once what it follows is here.
    pub(super) fn store(&self, envelope: &Envelope, signed: &Signed) -> Result<Stored, LogError> {
        let id = &envelope.id;
        let contiguous = self.contiguous(id)?;
        if (id.sequence <= contiguous || self.is_here(id)?)
            && let Some(known) = self.bytes(id)?
        {
            return Ok(if known == signed.envelope { Stored::Known } else { Stored::Conflict });
        }
        if id.sequence <= contiguous {
            return Ok(Stored::Known); // pruned
        }
        if contiguous == 0 && !self.may_begin(id)? {
            return Ok(Stored::Full);
        }
        let mut missing = Vec::new();
        let previous = envelope.flow_previous.map(|sequence| EventId { sequence, ..id.clone() });
        for needed in previous.iter().chain(&envelope.causes) {
            if *needed != *id && !self.is_logged(needed)? {
                missing.push(needed);
            }
        }
        if missing.is_empty() {
            self.log(envelope, signed)?;
            return Ok(Stored::Logged);
        }
        let sql = "SELECT count(*), COALESCE(SUM(origin = ?), 0) FROM event_parked";
        let count = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let (all, of_one) = self.connection.prepare_cached(sql)?.query_row([&id.origin], count)?;
        if all >= PARKED_MAX || of_one >= PARKED_OF_ONE_MAX {
            return Ok(Stored::Full);
        }
        let sql = "INSERT INTO event_parked(origin, epoch, sequence, received_ms, envelope, signature) \
                   VALUES (?, ?, ?, ?, ?, ?)";
        let row = params![id.origin, id.epoch, id.sequence, self.now_ms, signed.envelope, signed.signature];
        self.connection.prepare_cached(sql)?.execute(row)?;
        let parked = self.connection.last_insert_rowid();
        self.parked.set(Some(true));
        for needed in missing {
            let sql = "INSERT OR IGNORE INTO event_waits VALUES (?, ?, ?, ?)";
            let row = params![needed.origin, needed.epoch, needed.sequence, parked];
            self.connection.prepare_cached(sql)?.execute(row)?;
        }
        self.advance(id)?;
        Ok(Stored::Parked)
    }

    /// Gives an event its position, its handlers their rows, and then the same to whatever waited for it.
    pub(super) fn log(&self, envelope: &Envelope, signed: &Signed) -> Result<Option<i64>, LogError> {
        let position = self.insert(envelope, signed, self.now_ms)?;
        self.advance(&envelope.id)?;
        self.release(self.awaiting(&envelope.id)?)?;
        Ok(position)
    }

    /// Events of an origin up to this one will never come; whatever waited for them waits no more.
    pub(super) fn give_up(&self, up_to: &EventId) -> Result<(), LogError> {
        self.set_contiguous(up_to, up_to.sequence)?;
        self.advance(&EventId { sequence: up_to.sequence + 1, ..up_to.clone() })?;
        self.wait_no_more(up_to)
    }

    /// Whatever waits for events of an origin up to this one goes on without those that are not here.
    pub(super) fn wait_no_more(&self, up_to: &EventId) -> Result<(), LogError> {
        let sql = "SELECT DISTINCT parked FROM event_waits WHERE origin = ? AND epoch = ? AND sequence <= ?";
        let waiting = self.ids(sql, params![up_to.origin, up_to.epoch, up_to.sequence])?;
        // Those that are here but parked themselves are waited for all the same.
        let sql = "DELETE FROM event_waits WHERE origin = ?1 AND epoch = ?2 AND sequence <= ?3 AND sequence NOT IN \
                   (SELECT sequence FROM event_parked WHERE origin = ?1 AND epoch = ?2)";
        self.connection.prepare_cached(sql)?.execute(params![up_to.origin, up_to.epoch, up_to.sequence])?;
        self.release(waiting)
    }

    /// Logs what has been parked since before `before_ms`: what it follows is older than the horizon.
    pub(super) fn expire(&self, before_ms: i64) -> Result<usize, LogError> {
        let sql = "SELECT id FROM event_parked WHERE received_ms < ? ORDER BY id LIMIT 500";
        let old = self.ids(sql, params![before_ms])?;
        let sql = "DELETE FROM event_waits WHERE parked = ?";
        for id in &old {
            self.connection.prepare_cached(sql)?.execute([id])?;
        }
        let count = old.len();
        self.release(old)?;
        Ok(count)
    }

    fn insert(
        &self,
        envelope: &Envelope,
        signed: &Signed,
        received_ms: i64,
    ) -> Result<Option<i64>, LogError> {
        let sql = "INSERT OR IGNORE INTO event_log(origin, epoch, sequence, name, at_ms, received_ms, envelope, \
                   signature) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
        let (id, name) = (&envelope.id, envelope.event.name());
        let row = params![
            id.origin,
            id.epoch,
            id.sequence,
            name,
            envelope.at_ms,
            received_ms,
            signed.envelope,
            signed.signature
        ];
        if self.connection.prepare_cached(sql)?.execute(row)? == 0 {
            return Ok(None);
        }
        let (position, flow) = (self.connection.last_insert_rowid(), envelope.event.flow());
        for handler in self.subscriptions.of(name) {
            self.due.set(true);
            let sql = "INSERT INTO event_inbox(handler, flow, position) VALUES (?, ?, ?)";
            self.connection.prepare_cached(sql)?.execute(params![handler, flow, position])?;
        }
        if id.origin != RAFT {
            self.set_head(flow, id, position)?;
        }
        Ok(Some(position))
    }

    fn set_head(&self, flow: &str, id: &EventId, position: i64) -> Result<(), LogError> {
        let sql = "INSERT OR REPLACE INTO event_heads(flow, origin, epoch, sequence, position) \
                   VALUES (?, ?, ?, ?, ?)";
        let row = params![flow, id.origin, id.epoch, id.sequence, position];
        self.connection.prepare_cached(sql)?.execute(row)?;
        Ok(())
    }

    /// The event at a position has another id from now on.
    pub(super) fn moved(&self, position: i64, envelope: &Envelope, signed: &Signed) -> Result<(), LogError> {
        let sql =
            "UPDATE event_log SET epoch = ?, sequence = ?, envelope = ?, signature = ? WHERE position = ?";
        let id = &envelope.id;
        let row = params![id.epoch, id.sequence, signed.envelope, signed.signature, position];
        self.connection.prepare_cached(sql)?.execute(row)?;
        self.set_head(envelope.event.flow(), id, position)?;
        self.advance(id)
    }

    /// This node's epoch, and the number of its last event.
    pub(super) fn emitter(&self) -> Result<(i64, i64), LogError> {
        let sql = "SELECT epoch, sequence FROM event_emitter";
        Ok(self.connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// What others said in a flow since this node spoke there last, the newest first: its next event follows that.
    /// What came before, it follows through its own last event.
    pub(super) fn take_heads(&self, flow: &str, own: (&str, i64)) -> Result<Vec<EventId>, LogError> {
        let sql = "SELECT origin, epoch, sequence FROM event_heads WHERE flow = ? ORDER BY position DESC";
        let mut statement = self.connection.prepare_cached(sql)?;
        let heads = statement.query_map([flow], |row| {
            Ok(EventId { origin: row.get(0)?, epoch: row.get(1)?, sequence: row.get(2)? })
        })?;
        let heads: Vec<EventId> = heads.collect::<Result<_, _>>()?;
        let sql = "DELETE FROM event_heads WHERE flow = ?";
        self.connection.prepare_cached(sql)?.execute([flow])?;
        Ok(heads.into_iter().filter(|id| (id.origin.as_str(), id.epoch) != own).collect())
    }

    /// Remembers that this node tells something. False: it did before.
    pub(super) fn tell_once(&self, key: &str) -> Result<bool, LogError> {
        let sql = "INSERT OR IGNORE INTO event_told VALUES (?, ?)";
        Ok(self.connection.prepare_cached(sql)?.execute(params![key, self.now_ms])? == 1)
    }

    /// The last event of an origin that is here, logged or parked: its signature proves that the origin came so far.
    pub(super) fn proven(&self, origin: &str, epoch: i64) -> Result<i64, LogError> {
        let sql = "SELECT COALESCE(MAX(sequence), 0) FROM (SELECT MAX(sequence) AS sequence FROM event_log WHERE \
                   origin = ?1 AND epoch = ?2 UNION ALL SELECT MAX(sequence) FROM event_parked WHERE origin = ?1 \
                   AND epoch = ?2)";
        Ok(self.connection.prepare_cached(sql)?.query_row(params![origin, epoch], |row| row.get(0))?)
    }

    /// Parked events that wait for this one; they wait for it no more.
    fn awaiting(&self, id: &EventId) -> Result<Vec<i64>, LogError> {
        if !self.any_parked()? {
            return Ok(Vec::new());
        }
        // Later entries of the Raft log prove that no earlier one will come.
        let (find, strike) = if id.origin == RAFT {
            (
                "SELECT DISTINCT parked FROM event_waits WHERE origin = ? AND epoch = ? AND sequence <= ?",
                "DELETE FROM event_waits WHERE origin = ? AND epoch = ? AND sequence <= ?",
            )
        } else {
            (
                "SELECT parked FROM event_waits WHERE origin = ? AND epoch = ? AND sequence = ?",
                "DELETE FROM event_waits WHERE origin = ? AND epoch = ? AND sequence = ?",
            )
        };
        let key = params![id.origin, id.epoch, id.sequence];
        let waiting = self.ids(find, key)?;
        if !waiting.is_empty() {
            self.connection.prepare_cached(strike)?.execute(key)?;
        }
        Ok(waiting)
    }

    /// Logs those of the parked events that wait for nothing any more, and what waited for them.
    fn release(&self, mut candidates: Vec<i64>) -> Result<(), LogError> {
        candidates.reverse();
        while let Some(parked) = candidates.pop() {
            let waits = "SELECT 1 FROM event_waits WHERE parked = ?";
            if self.connection.prepare_cached(waits)?.exists([parked])? {
                continue;
            }
            let sql = "DELETE FROM event_parked WHERE id = ? RETURNING envelope, signature, received_ms, origin, \
                       epoch, sequence";
            let found = self.connection.prepare_cached(sql)?.query_row([parked], |row| {
                let signed = Signed { envelope: row.get(0)?, signature: row.get(1)? };
                let id = EventId { origin: row.get(3)?, epoch: row.get(4)?, sequence: row.get(5)? };
                Ok((signed, row.get::<_, i64>(2)?, id))
            });
            let Some((signed, received_ms, id)) = found.optional()? else { continue };
            match Envelope::decode(&signed.envelope) {
                Ok(envelope) => drop(self.insert(&envelope, &signed, received_ms)?),
                // A damaged row must stop neither what waits for it nor the transaction that frees it.
                Err(error) => tracing::error!(%id, %error, "a parked event is unreadable and was dropped"),
            }
            candidates.extend(self.awaiting(&id)?.into_iter().rev());
        }
        Ok(())
    }

    fn ids(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<i64>, LogError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params, |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn bytes(&self, id: &EventId) -> Result<Option<Vec<u8>>, LogError> {
        for table in ["event_log", "event_parked"] {
            let sql = format!("SELECT envelope FROM {table} WHERE origin = ? AND epoch = ? AND sequence = ?");
            let key = params![id.origin, id.epoch, id.sequence];
            let mut statement = self.connection.prepare_cached(&sql)?;
            if let Some(bytes) = statement.query_row(key, |row| row.get(0)).optional()? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// Whether anything is parked at all: mostly not, and then much need not be looked for.
    fn any_parked(&self) -> Result<bool, LogError> {
        if let Some(any) = self.parked.get() {
            return Ok(any);
        }
        let any = self.connection.prepare_cached("SELECT 1 FROM event_parked LIMIT 1")?.exists([])?;
        self.parked.set(Some(any));
        Ok(any)
    }

    /// Whether an event is here, logged or parked.
    fn is_here(&self, id: &EventId) -> Result<bool, LogError> {
        let sql = "SELECT 1 FROM event_log WHERE origin = ? AND epoch = ? AND sequence = ?";
        let key = params![id.origin, id.epoch, id.sequence];
        Ok(self.connection.prepare_cached(sql)?.exists(key)? || self.is_parked(id)?)
    }

    fn is_parked(&self, id: &EventId) -> Result<bool, LogError> {
        if !self.any_parked()? {
            return Ok(false);
        }
        let sql = "SELECT 1 FROM event_parked WHERE origin = ? AND epoch = ? AND sequence = ?";
        let key = params![id.origin, id.epoch, id.sequence];
        Ok(self.connection.prepare_cached(sql)?.exists(key)?)
    }

    /// Whether an event has a position, or had one.
    fn is_logged(&self, id: &EventId) -> Result<bool, LogError> {
        if id.sequence <= self.contiguous(id)? {
            return Ok(!self.is_parked(id)?);
        }
        let sql = "SELECT 1 FROM event_log WHERE origin = ? AND epoch = ? AND sequence = ?";
        let key = params![id.origin, id.epoch, id.sequence];
        Ok(self.connection.prepare_cached(sql)?.exists(key)?)
    }

    pub(super) fn contiguous(&self, id: &EventId) -> Result<i64, LogError> {
        let sql = "SELECT contiguous FROM event_vector WHERE origin = ? AND epoch = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row(params![id.origin, id.epoch], |row| row.get(0)).optional()?;
        Ok(found.unwrap_or(0))
    }

    fn set_contiguous(&self, id: &EventId, contiguous: i64) -> Result<(), LogError> {
        let sql = "INSERT INTO event_vector VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET \
                   contiguous = MAX(contiguous, excluded.contiguous), updated_ms = excluded.updated_ms";
        self.connection.prepare_cached(sql)?.execute(params![
            id.origin,
            id.epoch,
            contiguous,
            self.now_ms
        ])?;
        Ok(())
    }

    /// Moves the vector over a new event and what is stored behind it.
    fn advance(&self, id: &EventId) -> Result<(), LogError> {
        if id.origin == RAFT {
            return self.set_contiguous(id, id.sequence); // always in the order of the log
        }
        let contiguous = self.contiguous(id)?;
        let mut next = EventId { sequence: contiguous + 1, ..id.clone() };
        if id.sequence != next.sequence {
            return if contiguous == 0 { self.set_contiguous(id, 0) } else { Ok(()) };
        }
        while self.is_here(&next)? {
            next.sequence += 1;
        }
        self.set_contiguous(id, next.sequence - 1)
    }
}

/// What this node has of every origin but Raft. Where that is too much, every origin's newest epoch comes before any
/// other's second: nobody's many crowd out another's only one.
pub(super) fn vector(connection: &Connection) -> Result<Vector, LogError> {
    let sql = "SELECT origin, epoch, contiguous FROM (SELECT origin, epoch, contiguous, updated_ms, row_number() \
               OVER (PARTITION BY origin ORDER BY updated_ms DESC, epoch) AS nth FROM event_vector WHERE \
               origin <> ?) ORDER BY nth, updated_ms DESC LIMIT ?";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![RAFT, ENTRIES_MAX as i64], |row| {
        Ok(((row.get::<_, String>(0)?, row.get(1)?), row.get::<_, i64>(2)?))
    })?;
    let mut vector = Vector::new();
    for row in rows {
        let (key, contiguous) = row?;
        let beyond = beyond(connection, &key, contiguous)?;
        vector.insert(key, Have { contiguous, beyond });
    }
    Ok(vector)
}

fn beyond(
    connection: &Connection,
    (origin, epoch): &(String, i64),
    contiguous: i64,
) -> Result<Vec<(i64, i64)>, LogError> {
    let sql = "SELECT sequence FROM event_log WHERE origin = ?1 AND epoch = ?2 AND sequence > ?3 UNION ALL \
               SELECT sequence FROM event_parked WHERE origin = ?1 AND epoch = ?2 AND sequence > ?3 ORDER BY 1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![origin, epoch, contiguous])?;
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    while let Some(row) = rows.next()? {
        let sequence = row.get(0)?;
        let full = ranges.len() == RANGES_MAX;
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == sequence => *end = sequence,
            Some(_) if full => break,
            Some(_) | None => ranges.push((sequence, sequence)),
        }
    }
    Ok(ranges)
}
