//! What the log lets go: events that nobody has any more, that wait for nothing, or that are old.
//!
//! Invariant: no peer's word alone has this node pass over an event that may yet come: its origin's signature on a later
//! one must be here.

use super::{EventLog, FORGOTTEN, HORIZON, KEPT, KEPT_FOR, LogError, PRUNED_MAX};
use crate::events::{
    envelope::{EventId, RAFT},
    repair::Floor,
};
use rusqlite::params;
use std::time::Duration;

impl EventLog {
    /// A peer has pruned events that are missing here: what follows them goes on, and the state has to do. Returns how
    /// many origins' events are given up for good: only up to the last one that this node has seen of an origin, or a
    /// lie would have it take the origin's next ones for known. What this node writes itself, it never gives up.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn give_up(&self, floors: &[Floor]) -> Result<usize, LogError> {
        let own = |floor: &&Floor| (&floor.origin, floor.epoch) == (&self.origin, self.epoch);
        let others: Vec<_> = floors.iter().filter(|floor| floor.origin != RAFT && !own(floor)).collect();
        if others.is_empty() {
            return Ok(0);
        }
        self.write(|writer| {
            let mut moved = 0;
            for Floor { origin, epoch, lost_to } in others {
                let lost = EventId { origin: origin.clone(), epoch: *epoch, sequence: *lost_to };
                let proven =
                    EventId { sequence: writer.proven(origin, *epoch)?.min(lost_to + 1) - 1, ..lost.clone() };
                if proven.sequence > writer.contiguous(&proven)? {
                    writer.give_up(&proven)?;
                    moved += 1;
                }
                writer.wait_no_more(&lost)?;
            }
            Ok(moved)
        })
    }

    /// Lets go on what waited too long, and drops what is too old. Called now and then.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn maintain(&self) -> Result<(), LogError> {
        self.maintain_at((self.clock)(), KEPT)
    }

    pub(super) fn maintain_at(&self, now_ms: i64, kept: i64) -> Result<(), LogError> {
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
                // What nobody has any more, nobody need wait for.
                let sql = "DELETE FROM event_heads WHERE position < \
                           COALESCE((SELECT MIN(position) FROM event_log), 9223372036854775807)";
                writer.connection.execute(sql, [])?;
                tracing::info!(pruned, unseen, "old events were dropped");
            }
            let old = ago(FORGOTTEN);
            writer.connection.execute("DELETE FROM event_done WHERE at_ms < ?", [old])?;
            writer.connection.execute("DELETE FROM event_told WHERE at_ms < ?", [old])?;
            let sql = "DELETE FROM event_vector WHERE updated_ms < ? AND origin NOT IN (?, ?)";
            writer.connection.execute(sql, params![old, RAFT, self.origin])?;
            Ok(())
        })
    }
}
