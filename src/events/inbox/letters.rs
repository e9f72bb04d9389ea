//! The dead letters beside the inbox: listed, tried again, dropped.
//!
//! Invariant: a letter goes in the transaction that makes the change which its handler wanted.

use super::{Effect, Inbox, apply};
use crate::events::{
    LogError,
    dlq::{COLUMNS, DeadLetter, LISTED_MAX, cut, read},
};
use rusqlite::{OptionalExtension, TransactionBehavior, params};

impl Inbox {
    /// Dead letters from `since_ms` on and after number `after`, oldest first. One whose event cannot be read
    /// is left out: it is counted and can be purged.
    pub(in crate::events) fn letters(&self, since_ms: i64, after: i64) -> Result<Vec<DeadLetter>, LogError> {
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
    pub(in crate::events) fn letters_after(&self, since_ms: i64, after: i64) -> Result<u64, LogError> {
        let sql = "SELECT count(*) FROM event_dlq WHERE at_ms >= ? AND id > ? AND payload <> ''";
        let connection = self.connection();
        let count: i64 =
            connection.prepare_cached(sql)?.query_row(params![since_ms, after], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    pub(in crate::events) fn letter(&self, id: i64) -> Result<Option<DeadLetter>, LogError> {
        let connection = self.connection();
        let sql = format!("{COLUMNS} WHERE id = ?");
        connection.prepare_cached(&sql)?.query_row([id], |row| Ok(read(row))).optional()?.transpose()
    }

    /// A replay succeeded: the effect and the end of the letter are one.
    pub(in crate::events) fn recovered(
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
    pub(in crate::events) fn failed_again(&self, id: i64, error: &str, at_ms: i64) -> Result<(), LogError> {
        let sql = "UPDATE event_dlq SET retry_count = retry_count + 1, error = ?, at_ms = ? WHERE id = ?";
        self.connection().prepare_cached(sql)?.execute(params![cut(error), at_ms, id])?;
        Ok(())
    }

    /// Drops letters from before `before_ms`.
    pub(in crate::events) fn purge(&self, before_ms: i64) -> Result<u64, LogError> {
        let dropped = self.connection().execute("DELETE FROM event_dlq WHERE at_ms < ?", [before_ms])?;
        Ok(dropped as u64)
    }

    /// How many there are.
    pub(in crate::events) fn dead_count(&self) -> Result<u64, LogError> {
        let sql = "SELECT count(*) FROM event_dlq";
        let count: i64 = self.connection().prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }
}
