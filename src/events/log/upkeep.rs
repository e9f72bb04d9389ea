//! What the log lets go: events that nobody has any more, that wait for nothing, or that are old.
//!
//! Invariant: this node passes over an event only if it holds a later one that the same origin signed, or
//! after the horizon. No peer's word moves a parked event before what it follows.

use super::EventLog;
use crate::events::{
    LogError,
    envelope::{EventId, RAFT},
    repair::Floor,
    retention::{FORGOTTEN, HORIZON, KEPT, KEPT_FOR, PRUNED_MAX, REMEMBERED_MAX},
    writer::EventWriter,
};
use rusqlite::params;
use std::time::Duration;

impl EventLog {
    /// Of the floors in a peer's answer, what they would have this node pass over: numbers above its
    /// watermark and below an event that is here. Whatever else a peer says is lost counts for nothing.
    /// Neither do floors of this node's own events and of Raft's, which it writes itself.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn proven_floors(&self, floors: &[Floor]) -> Result<Vec<Floor>, LogError> {
        self.write(|writer| self.clip(writer, floors))
    }

    fn clip(&self, writer: &EventWriter<'_>, floors: &[Floor]) -> Result<Vec<Floor>, LogError> {
        let own = (&self.origin, writer.emitter()?.0);
        let mut clipped = Vec::new();
        for Floor { origin, epoch, lost_to } in floors {
            if origin == RAFT || (origin, *epoch) == own {
                continue;
            }
            let lost_to = writer.proven(origin, *epoch)?.saturating_sub(1).min(*lost_to);
            let id = EventId { origin: origin.clone(), epoch: *epoch, sequence: lost_to };
            if lost_to > writer.watermark(&id)? {
                clipped.push(Floor { origin: id.origin, epoch: id.epoch, lost_to });
            }
        }
        Ok(clipped)
    }

    /// Passes over events that are missing here and that no peer has any more: what follows them goes on, and
    /// the state has to do. Returns the number of sources of which events are given up for good. The caller
    /// has made sure that enough peers say so ([`crate::events::floors`]).
    ///
    /// # Errors
    /// [`LogError`].
    pub fn give_up(&self, floors: &[Floor]) -> Result<usize, LogError> {
        if floors.is_empty() {
            return Ok(0);
        }
        self.write(|writer| {
            let floors = self.clip(writer, floors)?;
            for Floor { origin, epoch, lost_to } in &floors {
                writer.give_up(&EventId { origin: origin.clone(), epoch: *epoch, sequence: *lost_to })?;
            }
            Ok(floors.len())
        })
    }

    /// Lets go on what waited too long, and drops what is too old. Called now and then, and again at once
    /// when there is more to drop than one transaction shall.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn maintain(&self) -> Result<bool, LogError> {
        self.maintain_at((self.clock)(), KEPT, PRUNED_MAX)
    }

    pub(super) fn maintain_at(&self, now_ms: i64, kept: i64, at_once: i64) -> Result<bool, LogError> {
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
            let pruned = writer.connection.execute(sql, params![kept, ago(KEPT_FOR), at_once])?;
            if pruned > 0 {
                let sql = "DELETE FROM event_inbox WHERE position < (SELECT MIN(position) FROM event_log)";
                let unseen = writer.connection.execute(sql, [])?;
                // What nobody has any more, nobody need wait for.
                let sql = "DELETE FROM event_heads WHERE position < \
                           COALESCE((SELECT MIN(position) FROM event_log), 9223372036854775807)";
                writer.connection.execute(sql, [])?;
                tracing::info!(pruned, unseen, "old events were dropped");
            }
            let old = ago(FORGOTTEN);
            forget(writer, old, REMEMBERED_MAX)?;
            let sql = "DELETE FROM event_vector WHERE updated_ms < ?1 AND origin <> ?2 AND NOT (origin = ?3 AND \
                       epoch = (SELECT epoch FROM event_emitter))";
            writer.connection.execute(sql, params![old, RAFT, self.origin])?;
            Ok(pruned as i64 == at_once)
        })
    }
}

/// Forgets what was handled and told before `before_ms`, and of the rest all but the newest `most`.
pub(super) fn forget(writer: &EventWriter<'_>, before_ms: i64, most: i64) -> Result<(), LogError> {
    for table in ["event_done", "event_told"] {
        let sql = format!(
            "DELETE FROM {table} WHERE at_ms < ?1 OR at_ms <= (SELECT at_ms FROM {table} ORDER BY at_ms DESC \
             LIMIT 1 OFFSET ?2)"
        );
        let forgotten = writer.connection.prepare_cached(&sql)?.execute([before_ms, most])?;
        if forgotten > 0 {
            tracing::debug!(table, forgotten, "what was handled long ago is forgotten");
        }
    }
    Ok(())
}
