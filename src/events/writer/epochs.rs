//! How many epochs an origin may have.
//!
//! Invariant: a member that makes up epochs takes a few rows and no more, and takes them from nobody else.

use super::EventWriter;
use crate::events::{LogError, envelope::EventId, retention::KEPT_FOR};
use rusqlite::{OptionalExtension, Row, params};

/// Most epochs of one origin. An honest node begins one with its data folder, and one more at a start at
/// which not all members say what they know of it.
pub(in crate::events) const EPOCHS_MAX: i64 = 32;

impl EventWriter<'_> {
    /// How many epochs of an origin are in use, as far as is known here: it spoke in them in the time for
    /// which events are kept.
    pub(in crate::events) fn epochs(&self, origin: &str) -> Result<i64, LogError> {
        let sql = "SELECT count(*) FROM event_vector WHERE origin = ? AND updated_ms >= ?";
        let silent = self.now_ms.saturating_sub(KEPT_FOR.as_millis() as i64);
        Ok(self.connection.prepare_cached(sql)?.query_row(params![origin, silent], |row| row.get(0))?)
    }

    /// Whether there is room for the epoch of an event. Of an origin with too many, one is forgotten that is
    /// silent for as long as events are kept and of which nothing is here any more: the others have none of
    /// it either, so nobody will offer it again.
    pub(super) fn may_begin(&self, id: &EventId) -> Result<bool, LogError> {
        let sql = "SELECT count(*), COALESCE(SUM(epoch = ?2), 0) FROM event_vector WHERE origin = ?1";
        let count = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let (epochs, known) =
            self.connection.prepare_cached(sql)?.query_row(params![id.origin, id.epoch], count)?;
        if known > 0 || epochs < EPOCHS_MAX {
            return Ok(true);
        }
        let sql = "DELETE FROM event_vector WHERE origin = ?1 AND epoch = (SELECT epoch FROM event_vector v WHERE \
                   origin = ?1 AND updated_ms < ?2 AND NOT EXISTS (SELECT 1 FROM event_log l WHERE \
                   l.origin = ?1 AND l.epoch = v.epoch) AND NOT EXISTS (SELECT 1 FROM event_parked p WHERE \
                   p.origin = ?1 AND p.epoch = v.epoch) ORDER BY updated_ms LIMIT 1) RETURNING epoch";
        let silent = self.now_ms.saturating_sub(KEPT_FOR.as_millis() as i64);
        let gone = self
            .connection
            .prepare_cached(sql)?
            .query_row(params![id.origin, silent], |row| row.get::<_, i64>(0))
            .optional()?;
        let Some(gone) = gone else { return Ok(false) };
        let sql = "DELETE FROM event_heads WHERE origin = ? AND epoch = ?";
        self.connection.prepare_cached(sql)?.execute(params![id.origin, gone])?;
        Ok(true)
    }
}
