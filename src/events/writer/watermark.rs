//! How far this node has the events of every source: its version vector.
//!
//! Invariant: every event up to the watermark of its source is here, was here, or will never come. The
//! watermark only grows, unless this node takes back numbers of its own that it used twice.

use super::EventWriter;
use crate::events::{
    LogError,
    envelope::{EventId, RAFT},
    vector::{ENTRIES_MAX, RANGES_MAX, VersionEntry, VersionVector},
};
use rusqlite::{Connection, OptionalExtension, params};

impl EventWriter<'_> {
    /// Events of an origin up to this one will never come; whatever waited for them waits no more.
    pub(in crate::events) fn give_up(&self, up_to: &EventId) -> Result<(), LogError> {
        self.set_watermark(up_to, up_to.sequence)?;
        self.advance(&EventId { sequence: up_to.sequence + 1, ..up_to.clone() })?;
        self.wait_no_more(up_to)
    }

    /// The last event of an origin that is here, logged or parked: its signature proves that the origin came
    /// so far.
    pub(in crate::events) fn proven(&self, origin: &str, epoch: i64) -> Result<i64, LogError> {
        let sql = "SELECT COALESCE(MAX(sequence), 0) FROM (SELECT MAX(sequence) AS sequence FROM event_log WHERE \
                   origin = ?1 AND epoch = ?2 UNION ALL SELECT MAX(sequence) FROM event_parked WHERE origin = ?1 \
                   AND epoch = ?2)";
        Ok(self.connection.prepare_cached(sql)?.query_row(params![origin, epoch], |row| row.get(0))?)
    }

    pub(in crate::events) fn watermark(&self, id: &EventId) -> Result<i64, LogError> {
        let sql = "SELECT contiguous FROM event_vector WHERE origin = ? AND epoch = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row(params![id.origin, id.epoch], |row| row.get(0)).optional()?;
        Ok(found.unwrap_or(0))
    }

    /// Moves the vector over a new event and what is stored behind it.
    pub(super) fn advance(&self, id: &EventId) -> Result<(), LogError> {
        if id.origin == RAFT {
            return self.set_watermark(id, id.sequence); // always in the order of the log
        }
        let watermark = self.watermark(id)?;
        let mut next = EventId { sequence: watermark + 1, ..id.clone() };
        if id.sequence != next.sequence {
            return if watermark == 0 { self.set_watermark(id, 0) } else { Ok(()) };
        }
        while self.is_here(&next)? {
            next.sequence += 1;
        }
        self.set_watermark(id, next.sequence - 1)
    }

    fn set_watermark(&self, id: &EventId, watermark: i64) -> Result<(), LogError> {
        let sql = "INSERT INTO event_vector VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET \
                   contiguous = MAX(contiguous, excluded.contiguous), updated_ms = excluded.updated_ms";
        self.connection.prepare_cached(sql)?.execute(params![id.origin, id.epoch, watermark, self.now_ms])?;
        Ok(())
    }
}

/// What this node has of every origin but Raft. Where that is too much, every origin's newest epoch comes
/// before any other's second: nobody's many crowd out another's only one.
pub(in crate::events) fn vector(connection: &Connection) -> Result<VersionVector, LogError> {
    let sql = "SELECT origin, epoch, contiguous FROM (SELECT origin, epoch, contiguous, updated_ms, row_number() \
               OVER (PARTITION BY origin ORDER BY updated_ms DESC, epoch) AS nth FROM event_vector WHERE \
               origin <> ?) ORDER BY nth, updated_ms DESC LIMIT ?";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![RAFT, ENTRIES_MAX as i64], |row| {
        Ok(((row.get::<_, String>(0)?, row.get(1)?), row.get::<_, i64>(2)?))
    })?;
    let mut vector = VersionVector::new();
    for row in rows {
        let (key, watermark) = row?;
        let beyond = beyond(connection, &key, watermark)?;
        vector.insert(key, VersionEntry { watermark, beyond });
    }
    Ok(vector)
}

fn beyond(
    connection: &Connection,
    (origin, epoch): &(String, i64),
    watermark: i64,
) -> Result<Vec<(i64, i64)>, LogError> {
    let sql = "SELECT sequence FROM event_log WHERE origin = ?1 AND epoch = ?2 AND sequence > ?3 UNION ALL \
               SELECT sequence FROM event_parked WHERE origin = ?1 AND epoch = ?2 AND sequence > ?3 ORDER BY 1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![origin, epoch, watermark])?;
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
