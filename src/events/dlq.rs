//! Events that a handler could not handle, kept for people.
//!
//! Invariant: an event leaves the queue only when its handler succeeded, when somebody purges it, or when the
//! queue is at its bound, which is logged.

use super::{LogError, Logged, envelope::EventId};
use crate::text::clip;
use rusqlite::{Row, Transaction, params};

/// One event that one handler could not handle.
pub type DeadLetter = crate::api::dead_letters::DeadLetter<Logged>;

/// Most dead letters that are kept; the oldest go first.
const DEAD_MAX: i64 = 10_000;
/// Most that are listed at once.
pub const LISTED_MAX: usize = 500;
/// Longest error that is kept, in bytes.
const ERROR_BYTES_MAX: usize = 1000;

/// A dead letter before it is in the queue.
pub(super) struct Dead {
    pub(super) handler: String,
    pub(super) id: EventId,
    pub(super) name: String,
    /// The event as JSON; nothing if it cannot be read.
    pub(super) payload: String,
    pub(super) error: String,
    pub(super) retry_count: u32,
    pub(super) at_ms: i64,
}

/// As much of an error as is kept.
pub(super) fn cut(error: &str) -> &str {
    clip(error, ERROR_BYTES_MAX)
}

impl Dead {
    pub(super) fn new(handler: String, logged: &Logged, error: String, retry_count: u32, at_ms: i64) -> Self {
        let payload = serde_json::to_string(logged).unwrap_or_else(|error| {
            tracing::error!(id = %logged.id(), %error, "a dead letter keeps no event: JSON cannot express it");
            String::new()
        });
        let name = logged.event.name().to_owned();
        Self { handler, id: logged.id(), name, payload, error, retry_count, at_ms }
    }

    pub(super) fn insert(&self, tx: &Transaction<'_>) -> Result<(), LogError> {
        let sql = "INSERT OR REPLACE INTO event_dlq(handler, origin, epoch, sequence, name, payload, error, \
                   retry_count, at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        tx.prepare_cached(sql)?.execute(params![
            self.handler,
            self.id.origin,
            self.id.epoch,
            self.id.sequence,
            self.name,
            self.payload,
            cut(&self.error),
            self.retry_count,
            self.at_ms
        ])?;
        let sql = "DELETE FROM event_dlq WHERE id <= ?";
        let over = tx.prepare_cached(sql)?.execute([tx.last_insert_rowid() - DEAD_MAX])?;
        if over > 0 {
            tracing::error!(over, "the dead-letter queue is full: the oldest were dropped");
        }
        Ok(())
    }
}

pub(super) fn read(row: &Row<'_>) -> Result<DeadLetter, LogError> {
    let payload: String = row.get(2)?;
    Ok(DeadLetter {
        id: row.get(0)?,
        handler: row.get(1)?,
        payload: serde_json::from_str(&payload)?,
        error: row.get(3)?,
        retry_count: row.get(4)?,
        timestamp: row.get(5)?,
    })
}

/// The columns that [`read`] takes.
pub(super) const COLUMNS: &str = "SELECT id, handler, payload, error, retry_count, at_ms FROM event_dlq";
