//! Origins of which nothing more is taken, because they said two things under one number; and epochs of which
//! nothing more is taken, because the cluster has pardoned their origin since.
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
        if self.is_pardoned(id)? {
            return Ok(false);
        }
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

    /// Takes nothing more of an epoch, and shuns its origin no more for it. What waits for the events of the
    /// epoch goes on without those that are not here.
    pub(in crate::events) fn pardon(&self, origin: &str, epoch: i64) -> Result<(), LogError> {
        for sql in [
            "INSERT OR IGNORE INTO event_pardoned VALUES (?, ?)",
            "DELETE FROM event_shunned WHERE origin = ? AND epoch = ?",
        ] {
            self.connection.prepare_cached(sql)?.execute(params![origin, epoch])?;
        }
        self.wait_no_more(&EventId { origin: origin.to_owned(), epoch, sequence: i64::MAX })
    }

    fn is_pardoned(&self, id: &EventId) -> Result<bool, LogError> {
        let sql = "SELECT 1 FROM event_pardoned WHERE origin = ? AND epoch = ?";
        Ok(self.connection.prepare_cached(sql)?.exists(params![id.origin, id.epoch])?)
    }

    /// Whether no more is expected of an event's origin, or of its epoch.
    pub(super) fn is_given_up(&self, id: &EventId) -> Result<bool, LogError> {
        let sql = "SELECT 1 FROM event_shunned WHERE origin = ?";
        Ok(self.connection.prepare_cached(sql)?.exists([&id.origin])? || self.is_pardoned(id)?)
    }
}

/// The epochs that are pardoned, each with its origin.
pub(in crate::events) fn pardoned(connection: &Connection) -> Result<Vec<(String, i64)>, rusqlite::Error> {
    let mut statement = connection.prepare_cached("SELECT origin, epoch FROM event_pardoned")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
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
