//! Events that are here and wait for what they follow.
//!
//! Invariant: a parked event has a row in `event_waits` for each event that it waits for, and goes on in the
//! transaction that takes the last of these rows away. The number of parked events is bounded, for all and
//! for each origin.

use super::{EventWriter, Stored};
use crate::events::{
    LogError,
    envelope::{Envelope, EventId, RAFT, Signed},
};
use rusqlite::{OptionalExtension, Row, params};

/// Most events that wait for what they follow. One more is not stored, and asked for again.
const PARKED_MAX: i64 = 10_000;
/// Of these, most of one origin: nobody takes all the room.
const PARKED_OF_ONE_MAX: i64 = PARKED_MAX / 2;

impl EventWriter<'_> {
    /// Keeps an event that waits for these, if there is room.
    pub(super) fn park(
        &self,
        envelope: &Envelope,
        signed: &Signed,
        missing: &[EventId],
    ) -> Result<Stored, LogError> {
        let id = &envelope.id;
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

    /// Whatever waits for events of an origin up to this one goes on without those that are not here.
    pub(in crate::events) fn wait_no_more(&self, up_to: &EventId) -> Result<(), LogError> {
        let sql = "SELECT DISTINCT parked FROM event_waits WHERE origin = ? AND epoch = ? AND sequence <= ?";
        let waiting = self.ids(sql, params![up_to.origin, up_to.epoch, up_to.sequence])?;
        // Those that are here but parked themselves are waited for all the same.
        let sql = "DELETE FROM event_waits WHERE origin = ?1 AND epoch = ?2 AND sequence <= ?3 AND sequence NOT IN \
                   (SELECT sequence FROM event_parked WHERE origin = ?1 AND epoch = ?2)";
        self.connection.prepare_cached(sql)?.execute(params![up_to.origin, up_to.epoch, up_to.sequence])?;
        self.release(waiting)
    }

    /// Whatever waits for events of an origin goes on without those that are not here.
    pub(super) fn wait_for_none_of(&self, origin: &str) -> Result<(), LogError> {
        let waiting = self.ids("SELECT DISTINCT parked FROM event_waits WHERE origin = ?", [origin])?;
        let sql = "DELETE FROM event_waits WHERE origin = ?1 AND (epoch, sequence) NOT IN (SELECT epoch, sequence \
                   FROM event_parked WHERE origin = ?1)";
        self.connection.prepare_cached(sql)?.execute([origin])?;
        self.release(waiting)
    }

    /// Logs what has been parked since before `before_ms`: what it follows is older than the horizon.
    pub(in crate::events) fn expire(&self, before_ms: i64) -> Result<usize, LogError> {
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

    /// Parked events that wait for this one; they wait for it no more.
    pub(super) fn awaiting(&self, id: &EventId) -> Result<Vec<i64>, LogError> {
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
    pub(super) fn release(&self, mut candidates: Vec<i64>) -> Result<(), LogError> {
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

    /// Whether anything is parked at all: mostly not, and then much need not be looked for.
    pub(super) fn any_parked(&self) -> Result<bool, LogError> {
        if let Some(any) = self.parked.get() {
            return Ok(any);
        }
        let any = self.connection.prepare_cached("SELECT 1 FROM event_parked LIMIT 1")?.exists([])?;
        self.parked.set(Some(any));
        Ok(any)
    }

    pub(super) fn is_parked(&self, id: &EventId) -> Result<bool, LogError> {
        if !self.any_parked()? {
            return Ok(false);
        }
        let sql = "SELECT 1 FROM event_parked WHERE origin = ? AND epoch = ? AND sequence = ?";
        let key = params![id.origin, id.epoch, id.sequence];
        Ok(self.connection.prepare_cached(sql)?.exists(key)?)
    }

    fn ids(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<i64>, LogError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params, |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
