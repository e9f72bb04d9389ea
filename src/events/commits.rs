//! The one writer of a node's event log.
//!
//! Invariant: whoever is told that something is written is told after it is synced.

use super::{
    log::LogError,
    tables::{Subscriptions, Writer},
};
use crate::clock::{now_ms, now_us};
use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Commits that are remembered.
const REMEMBERED_MAX: usize = 1 << 16;

/// A synced transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Events up to this position are in the log.
    pub position: i64,
    /// Since then, by the clock of this host: microseconds since the epoch.
    pub at_us: i64,
}

pub(super) struct Commits {
    connection: Mutex<Connection>,
    subscriptions: Subscriptions,
    recent: Mutex<VecDeque<Commit>>,
}

/// A panic while it was held rolled its transaction back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Commits {
    pub(super) fn new(connection: Connection, subscriptions: Subscriptions) -> Self {
        Self { connection: Mutex::new(connection), subscriptions, recent: Mutex::default() }
    }

    pub(super) fn write<T>(
        &self,
        run: impl FnOnce(&Writer<'_>) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        let mut connection = lock(&self.connection);
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let now_ms = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        let writer = Writer { connection: &tx, subscriptions: &self.subscriptions, now_ms };
        let result = run(&writer)?;
        let position = tx
            .prepare_cached("SELECT MAX(position) FROM event_log")?
            .query_row([], |row| row.get::<_, Option<i64>>(0))?;
        tx.commit()?;
        if let Some(position) = position {
            let mut recent = lock(&self.recent);
            if recent.len() == REMEMBERED_MAX {
                recent.pop_front();
            }
            if recent.back().is_none_or(|last| last.position < position) {
                recent.push_back(Commit { position, at_us: now_us() });
            }
        }
        Ok(result)
    }

    /// The commits that added events after `position`, oldest first.
    pub(super) fn since(&self, position: i64) -> Vec<Commit> {
        lock(&self.recent).iter().filter(|commit| commit.position > position).copied().collect()
    }
}
