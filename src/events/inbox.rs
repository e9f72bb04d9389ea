//! What handlers have yet to see, and how far they are.
//!
//! Invariant: a handler's row goes in the transaction that records what became of the event, so a crash in
//! between repeats the handler and loses nothing. The transaction is not synced by itself, so a row may come
//! back after a power failure; handling it again does no harm.

mod letters;

use super::{LogError, Logged, dlq::Dead, envelope::EventId, logged, schema};
use crate::api::events::HandlerStatus;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

/// A change of `node.db` that is made in the transaction that moves the handler's cursor, or not at all.
pub type Effect = Box<dyn FnOnce(&Transaction<'_>) -> rusqlite::Result<()> + Send>;

/// One handler's way through one flow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    pub(super) handler: String,
    pub(super) flow: String,
}

/// An event for a handler.
pub(super) struct Due {
    pub(super) logged: Logged,
    /// Attempts that failed.
    pub(super) attempts: u32,
    /// An event of the same name about the same thing was handled before.
    pub(super) duplicate: bool,
}

/// The next row of a lane, which is for its handler or for nobody.
enum InboxRow {
    Due(Due),
    Unreadable(i64, Dead),
}

/// The handlers' side of the log.
pub(super) struct Inbox(Mutex<Connection>);

impl Inbox {
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        let connection = schema::connect(path)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        Ok(Self(Mutex::new(connection)))
    }

    pub(super) fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock()
    }

    /// Lanes with rows beyond `position`, and the last position.
    pub(super) fn lanes(&self, position: i64) -> Result<(Vec<Lane>, i64), LogError> {
        let connection = self.connection();
        let sql = "SELECT MAX(position) FROM event_inbox";
        let last: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        let sql = "SELECT DISTINCT handler, flow FROM event_inbox WHERE position > ?";
        let mut statement = connection.prepare_cached(sql)?;
        let lanes =
            statement.query_map([position], |row| Ok(Lane { handler: row.get(0)?, flow: row.get(1)? }))?;
        Ok((lanes.collect::<Result<_, _>>()?, last.unwrap_or(position).max(position)))
    }

    /// The next event of a lane. One that cannot be read is dead at once, at `at_ms`: no attempt would change
    /// that, and the ones behind it must not wait for it.
    pub(super) fn next(&self, lane: &Lane, at_ms: i64) -> Result<Option<Due>, LogError> {
        loop {
            match self.look(lane, at_ms)? {
                None => return Ok(None),
                Some(InboxRow::Due(due)) => return Ok(Some(due)),
                Some(InboxRow::Unreadable(position, dead)) => {
                    let Dead { handler, id, name, error, .. } = &dead;
                    tracing::error!(handler, %id, event = name, error, "a dead letter: it cannot be read");
                    self.dead(lane, position, &dead)?;
                }
            }
        }
    }

    fn look(&self, lane: &Lane, at_ms: i64) -> Result<Option<InboxRow>, LogError> {
        let connection = self.connection();
        let sql = "SELECT l.position, l.envelope, i.attempts, l.origin, l.epoch, l.sequence, l.name FROM \
                   event_inbox i JOIN event_log l USING (position) WHERE i.handler = ? AND i.flow = ? \
                   ORDER BY i.position LIMIT 1";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![lane.handler, lane.flow])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let attempts = row.get(2)?;
        let logged = match logged::read(row) {
            Ok(logged) => logged,
            Err(LogError::Wire(error)) => {
                let dead = Dead {
                    handler: lane.handler.clone(),
                    id: EventId { origin: row.get(3)?, epoch: row.get(4)?, sequence: row.get(5)? },
                    name: row.get(6)?,
                    payload: String::new(),
                    error: format!("the stored event is unreadable: {error}"),
                    retry_count: attempts,
                    at_ms,
                };
                return Ok(Some(InboxRow::Unreadable(row.get(0)?, dead)));
            }
            Err(error) => return Err(error),
        };
        let duplicate = match logged.event.once() {
            Some(key) => {
                let sql = "SELECT 1 FROM event_done WHERE handler = ? AND key = ?";
                connection.prepare_cached(sql)?.exists(params![lane.handler, key])?
            }
            None => false,
        };
        Ok(Some(InboxRow::Due(Due { logged, attempts, duplicate })))
    }

    fn finish(
        &self,
        lane: &Lane,
        position: i64,
        count: &'static str,
        effect: impl FnOnce(&Transaction<'_>) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let mut connection = self.connection();
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sql = "DELETE FROM event_inbox WHERE handler = ? AND flow = ? AND position = ?";
        // Whoever deletes the row has the effect.
        if tx.prepare_cached(sql)?.execute(params![lane.handler, lane.flow, position])? == 1 {
            effect(&tx)?;
            let sql = format!(
                "INSERT INTO event_handled(handler, {count}) VALUES (?, 1) ON CONFLICT DO UPDATE SET {count} = {count} + 1"
            );
            tx.prepare_cached(&sql)?.execute([&lane.handler])?;
        }
        tx.commit()?;
        Ok(())
    }

    /// The handler is done with an event.
    pub(super) fn handled(
        &self,
        lane: &Lane,
        logged: &Logged,
        effect: Option<Effect>,
        at_ms: i64,
    ) -> Result<(), LogError> {
        self.finish(lane, logged.position, "handled", |tx| apply(tx, &lane.handler, logged, effect, at_ms))
    }

    /// The event tells what was handled before.
    pub(super) fn passed_over(&self, lane: &Lane, logged: &Logged) -> Result<(), LogError> {
        self.finish(lane, logged.position, "duplicates", |_| Ok(()))
    }

    /// The handler gave up.
    pub(super) fn dead(&self, lane: &Lane, position: i64, dead: &Dead) -> Result<(), LogError> {
        self.finish(lane, position, "dead", |tx| dead.insert(tx))
    }

    /// An attempt failed, or (`parked`) waits for a quorum.
    pub(super) fn note(
        &self,
        lane: &Lane,
        position: i64,
        attempts: u32,
        parked: bool,
    ) -> Result<(), LogError> {
        let sql =
            "UPDATE event_inbox SET attempts = ?, parked = ? WHERE handler = ? AND flow = ? AND position = ?";
        let row = params![attempts, parked, lane.handler, lane.flow, position];
        self.connection().prepare_cached(sql)?.execute(row)?;
        Ok(())
    }

    /// How every handler stands.
    pub(super) fn status(&self) -> Result<Vec<HandlerStatus>, LogError> {
        let sql = "SELECT h.handler, COALESCE(handled, 0), COALESCE(duplicates, 0), COALESCE(dead, 0), \
                   (SELECT count(*) FROM event_inbox i WHERE i.handler = h.handler), \
                   (SELECT count(*) FROM event_inbox i WHERE i.handler = h.handler AND i.parked = 1) FROM \
                   (SELECT handler FROM event_handled UNION SELECT handler FROM event_inbox) h \
                   LEFT JOIN event_handled USING (handler) ORDER BY 1";
        let connection = self.connection();
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            let count = |index| row.get::<_, i64>(index).map(i64::unsigned_abs);
            Ok(HandlerStatus {
                handler: row.get(0)?,
                handled: count(1)?,
                duplicates: count(2)?,
                dead: count(3)?,
                waiting: count(4)?,
                parked: count(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Makes the change that a handler wants, unless the same thing was
/// handled in the meantime, and remembers it.
///
/// # Errors
/// [`LogError::Effect`] when the change fails, also by a panic: trying the database again would not help.
fn apply(
    tx: &Transaction<'_>,
    handler: &str,
    logged: &Logged,
    effect: Option<Effect>,
    at_ms: i64,
) -> Result<(), LogError> {
    if let Some(key) = logged.event.once() {
        let sql = "INSERT OR IGNORE INTO event_done VALUES (?, ?, ?)";
        if tx.prepare_cached(sql)?.execute(params![handler, key, at_ms])? == 0 {
            return Ok(());
        }
    }
    let Some(effect) = effect else { return Ok(()) };
    match catch_unwind(AssertUnwindSafe(|| effect(tx))) {
        Ok(Err(error)) if is_busy(&error) => Err(error.into()),
        Ok(changed) => changed.map_err(|error| LogError::Effect(error.to_string())),
        Err(_) => Err(LogError::Effect("it panicked".to_owned())),
    }
}

/// Another connection holds the database, or the disk is full: nothing that the handler did.
fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull))
}
