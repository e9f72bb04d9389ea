//! Events that a handler could not handle, kept for people.
//!
//! Invariant: an event leaves the queue only when its handler succeeded, when somebody purges it, or when the queue
//! is at its bound, which is logged.

use super::{
    envelope::EventId,
    inbox::{Effect, Inbox, apply},
    log::{LogError, Logged},
};
use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior, params};

pub use crate::api::dead_letters::Replayed;

/// One event that one handler could not handle.
pub type DeadLetter = crate::api::dead_letters::DeadLetter<Logged>;

/// Most dead letters that are kept; the oldest go first.
const DEAD_MAX: i64 = 10_000;
/// Most that are listed at once.
pub const LISTED_MAX: usize = 500;
/// Longest error that is kept.
const ERROR_BYTES_MAX: usize = 1000;

/// A dead letter to be.
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

fn cut(error: &str) -> &str {
    let end = error.char_indices().map(|(at, _)| at).take_while(|at| *at <= ERROR_BYTES_MAX).last();
    if error.len() <= ERROR_BYTES_MAX { error } else { &error[..end.unwrap_or(0)] }
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

fn read(row: &Row<'_>) -> Result<DeadLetter, LogError> {
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

const COLUMNS: &str = "SELECT id, handler, payload, error, retry_count, at_ms FROM event_dlq";

impl Inbox {
    /// Dead letters from `since_ms` on and after number `after`, oldest first. One whose event cannot be read is left
    /// out: it is counted and can be purged.
    pub(super) fn letters(&self, since_ms: i64, after: i64) -> Result<Vec<DeadLetter>, LogError> {
        let sql = format!("{COLUMNS} WHERE at_ms >= ? AND id > ? ORDER BY id");
        let connection = self.connection();
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params![since_ms, after])?;
        let mut found = Vec::new();
        while found.len() < LISTED_MAX
            && let Some(row) = rows.next()?
        {
            match read(row) {
                Ok(letter) => found.push(letter),
                Err(LogError::Body(error)) => {
                    let (id, handler): (i64, String) = (row.get(0)?, row.get(1)?);
                    tracing::warn!(id, handler, %error, "the event of a dead letter is unreadable");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// How many letters from `since_ms` on come after number `after`.
    pub(super) fn letters_after(&self, since_ms: i64, after: i64) -> Result<u64, LogError> {
        let sql = "SELECT count(*) FROM event_dlq WHERE at_ms >= ? AND id > ? AND payload <> ''";
        let connection = self.connection();
        let count: i64 =
            connection.prepare_cached(sql)?.query_row(params![since_ms, after], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    pub(super) fn letter(&self, id: i64) -> Result<Option<DeadLetter>, LogError> {
        let connection = self.connection();
        let sql = format!("{COLUMNS} WHERE id = ?");
        connection.prepare_cached(&sql)?.query_row([id], |row| Ok(read(row))).optional()?.transpose()
    }

    /// A replay succeeded: the effect and the end of the letter are one.
    pub(super) fn recovered(
        &self,
        letter: &DeadLetter,
        effect: Option<Effect>,
        at_ms: i64,
    ) -> Result<(), LogError> {
        let mut connection = self.connection();
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if tx.execute("DELETE FROM event_dlq WHERE id = ?", [letter.id])? == 1 {
            apply(&tx, &letter.handler, &letter.payload, effect, at_ms)?;
        }
        tx.commit()?;
        Ok(())
    }

    /// A replay failed.
    pub(super) fn failed_again(&self, id: i64, error: &str, at_ms: i64) -> Result<(), LogError> {
        let sql = "UPDATE event_dlq SET retry_count = retry_count + 1, error = ?, at_ms = ? WHERE id = ?";
        self.connection().prepare_cached(sql)?.execute(params![cut(error), at_ms, id])?;
        Ok(())
    }

    /// Drops letters from before `before_ms`.
    pub(super) fn purge(&self, before_ms: i64) -> Result<u64, LogError> {
        let dropped = self.connection().execute("DELETE FROM event_dlq WHERE at_ms < ?", [before_ms])?;
        Ok(dropped as u64)
    }

    /// How many there are.
    pub(super) fn dead_count(&self) -> Result<u64, LogError> {
        let sql = "SELECT count(*) FROM event_dlq";
        let count: i64 = self.connection().prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }
}
