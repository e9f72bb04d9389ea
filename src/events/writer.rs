//! Causal delivery: how an event gets into the tables of `node.db` ([`super::schema`]).
//!
//! Invariant: an event has a position only after everything that it follows has one, so positions are in
//! causal order on every node. Until then it is parked. With its position it gets one row for every handler
//! that subscribes to it, in the same transaction: that row is the handler's cursor.

mod emitter;
mod epochs;
mod parked;
pub(super) mod shunned;
mod watermark;

pub(super) use epochs::EPOCHS_MAX;
pub(super) use watermark::vector;

use super::{
    LogError,
    envelope::{Envelope, EventId, RAFT, Signed},
    subscriptions::Subscriptions,
};
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::cell::Cell;

/// What became of an event that was offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// It has a position.
    Logged,
    /// It waits for what it follows.
    Parked,
    /// It is here already, or was.
    Known,
    /// Another event is here under its id.
    Conflict(Signed),
    /// There is no room: too many events wait, or its origin has too many epochs.
    Full,
}

/// Adds events within one transaction.
pub(super) struct EventWriter<'a> {
    pub(super) connection: &'a Connection,
    pub(super) subscriptions: &'a Subscriptions,
    pub(super) now_ms: i64,
    /// Whether a handler got something to do.
    pub(super) due: Cell<bool>,
    /// Whether anything is parked, once somebody looked.
    parked: Cell<Option<bool>>,
}

impl<'a> EventWriter<'a> {
    pub(super) fn new(connection: &'a Connection, subscriptions: &'a Subscriptions, now_ms: i64) -> Self {
        Self { connection, subscriptions, now_ms, due: Cell::new(false), parked: Cell::new(None) }
    }

    /// Stores an event of another node: at once, or once what it follows is here.
    pub(super) fn store(&self, envelope: &Envelope, signed: &Signed) -> Result<Stored, LogError> {
        let id = &envelope.id;
        let watermark = self.watermark(id)?;
        if (id.sequence <= watermark || self.is_here(id)?)
            && let Some(known) = self.signed(id)?
        {
            let same = known.envelope == signed.envelope;
            return Ok(if same { Stored::Known } else { Stored::Conflict(known) });
        }
        if id.sequence <= watermark {
            return Ok(Stored::Known); // pruned
        }
        if watermark == 0 && !self.may_begin(id)? {
            return Ok(Stored::Full);
        }
        let mut missing = Vec::new();
        let previous = envelope.flow_previous.map(|sequence| EventId { sequence, ..id.clone() });
        for needed in previous.iter().chain(&envelope.causes) {
            if *needed != *id && !self.is_logged(needed)? && !self.is_given_up(needed)? {
                missing.push(needed.clone());
            }
        }
        if missing.is_empty() {
            self.log(envelope, signed)?;
            return Ok(Stored::Logged);
        }
        self.park(envelope, signed, &missing)
    }

    /// Gives an event its position, its handlers their rows, and then the same to whatever waited for it.
    pub(super) fn log(&self, envelope: &Envelope, signed: &Signed) -> Result<Option<i64>, LogError> {
        let position = self.insert(envelope, signed, self.now_ms)?;
        self.advance(&envelope.id)?;
        self.release(self.awaiting(&envelope.id)?)?;
        Ok(position)
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

    pub(super) fn signed(&self, id: &EventId) -> Result<Option<Signed>, LogError> {
        Ok(signed(self.connection, id)?)
    }

    /// Whether an event is here, logged or parked.
    fn is_here(&self, id: &EventId) -> Result<bool, LogError> {
        let sql = "SELECT 1 FROM event_log WHERE origin = ? AND epoch = ? AND sequence = ?";
        let key = params![id.origin, id.epoch, id.sequence];
        Ok(self.connection.prepare_cached(sql)?.exists(key)? || self.is_parked(id)?)
    }

    /// Whether an event has a position, or had one.
    fn is_logged(&self, id: &EventId) -> Result<bool, LogError> {
        if id.sequence <= self.watermark(id)? {
            return Ok(!self.is_parked(id)?);
        }
        let sql = "SELECT 1 FROM event_log WHERE origin = ? AND epoch = ? AND sequence = ?";
        let key = params![id.origin, id.epoch, id.sequence];
        Ok(self.connection.prepare_cached(sql)?.exists(key)?)
    }
}

/// The event that is here under an id, logged or parked.
pub(super) fn signed(connection: &Connection, id: &EventId) -> Result<Option<Signed>, rusqlite::Error> {
    for table in ["event_log", "event_parked"] {
        let sql = format!(
            "SELECT envelope, signature FROM {table} WHERE origin = ? AND epoch = ? AND sequence = ?"
        );
        let key = params![id.origin, id.epoch, id.sequence];
        let read = |row: &Row<'_>| Ok(Signed { envelope: row.get(0)?, signature: row.get(1)? });
        let found = connection.prepare_cached(&sql)?.query_row(key, read).optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
