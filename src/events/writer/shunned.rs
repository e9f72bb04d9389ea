//! Origins of which nothing more is taken, because they said two things under one number.
//!
//! Invariant: an origin is here only with a proof that everybody can check. The number of rows is bounded.

use super::EventWriter;
use crate::events::{
    LogError,
    envelope::{EventId, Signed},
    equivocation::Equivocation,
};
use rusqlite::{Connection, OptionalExtension, params};

/// Most origins that are shunned: more than a cluster has members. The newest stay.
pub(in crate::events) const SHUNNED_MAX: usize = 256;

impl EventWriter<'_> {
    /// Shuns the origin of `id`, under which `proof` has two events. Returns whether that is news. What waits
    /// for the origin's events goes on without those that are not here.
    pub(in crate::events) fn shun(&self, id: &EventId, proof: &Equivocation) -> Result<bool, LogError> {
        let Equivocation { first, second } = proof;
        let sql = "INSERT OR IGNORE INTO event_shunned VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
        let row = params![
            id.origin,
            id.epoch,
            id.sequence,
            first.envelope,
            first.signature,
            second.envelope,
            second.signature,
            self.now_ms
        ];
        if self.connection.prepare_cached(sql)?.execute(row)? == 0 {
            return Ok(false);
        }
        let sql = "DELETE FROM event_shunned WHERE origin IN (SELECT origin FROM event_shunned ORDER BY at_ms DESC, \
                   origin LIMIT -1 OFFSET ?)";
        self.connection.prepare_cached(sql)?.execute([SHUNNED_MAX as i64])?;
        self.wait_for_none_of(&id.origin)?;
        Ok(true)
    }

    pub(super) fn is_shunned(&self, origin: &str) -> Result<bool, LogError> {
        Ok(self
            .connection
            .prepare_cached("SELECT 1 FROM event_shunned WHERE origin = ?")?
            .exists([origin])?)
    }
}

/// The origins that are shunned, with the number under which each said two things.
pub(in crate::events) fn all(connection: &Connection) -> Result<Vec<EventId>, rusqlite::Error> {
    let mut statement = connection.prepare_cached("SELECT origin, epoch, sequence FROM event_shunned")?;
    let rows = statement.query_map([], |row| {
        Ok(EventId { origin: row.get(0)?, epoch: row.get(1)?, sequence: row.get(2)? })
    })?;
    rows.collect()
}

/// The proof against an origin.
pub(in crate::events) fn proof(
    connection: &Connection,
    origin: &str,
) -> Result<Option<Equivocation>, rusqlite::Error> {
    let sql = "SELECT first, first_signature, second, second_signature FROM event_shunned WHERE origin = ?";
    let read = |row: &rusqlite::Row<'_>| {
        let first = Signed { envelope: row.get(0)?, signature: row.get(1)? };
        Ok(Equivocation { first, second: Signed { envelope: row.get(2)?, signature: row.get(3)? } })
    };
    connection.prepare_cached(sql)?.query_row([origin], read).optional()
}
