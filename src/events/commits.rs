//! The one writer of a node's event log.
//!
//! Invariant: whoever is told that something is written is told after it is synced.

use super::{LogError, subscriptions::Subscriptions, writer::EventWriter};
use crate::{api::events::Commit, clock::now_us};
use parking_lot::Mutex;
use rusqlite::{Connection, TransactionBehavior};
use std::collections::VecDeque;

/// Most commits that are remembered, the newest.
const REMEMBERED_MAX: usize = 1 << 16;

pub(super) struct Commits {
    connection: Mutex<Connection>,
    subscriptions: Subscriptions,
    recent: Mutex<VecDeque<Commit>>,
}

impl Commits {
    pub(super) fn new(connection: Connection, subscriptions: Subscriptions) -> Self {
        Self { connection: Mutex::new(connection), subscriptions, recent: Mutex::default() }
    }

    /// Runs one transaction at `now_ms`, milliseconds since the epoch. The answer also says whether a handler
    /// got something to do.
    pub(super) fn write<T>(
        &self,
        now_ms: i64,
        run: impl FnOnce(&EventWriter<'_>) -> Result<T, LogError>,
    ) -> Result<(T, bool), LogError> {
        let mut connection = self.connection.lock();
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let writer = EventWriter::new(&tx, &self.subscriptions, now_ms);
        let result = run(&writer)?;
        let due = writer.due.get();
        let position = tx
            .prepare_cached("SELECT MAX(position) FROM event_log")?
            .query_row([], |row| row.get::<_, Option<i64>>(0))?;
        tx.commit()?;
        if let Some(position) = position {
            let mut recent = self.recent.lock();
            if recent.len() == REMEMBERED_MAX {
                recent.pop_front();
            }
            if recent.back().is_none_or(|last| last.position < position) {
                recent.push_back(Commit { position, at_us: now_us() });
            }
        }
        Ok((result, due))
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> parking_lot::MutexGuard<'_, Connection> {
        self.connection.lock()
    }

    /// The commits that added events after `position`, oldest first.
    pub(super) fn since(&self, position: i64) -> Vec<Commit> {
        self.recent.lock().iter().filter(|commit| commit.position > position).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::events::{Event, HostOnline, Subscriptions, log::EventLog};
    use p2p::Signer;

    fn online(n: u32) -> Event {
        Event::HostOnline(HostOnline { node_id: format!("node-{n}"), host: "h".into(), timestamp: 1.5 })
    }

    #[test]
    fn every_event_has_a_commit_that_is_not_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::load(&folder.path().join("key")).unwrap();
        let log = EventLog::open(&folder.path().join("db"), signer, Subscriptions::default()).unwrap();
        assert_eq!(log.commits(0), []);
        let began = crate::clock::now_us();
        for n in 0..3 {
            log.emit(online(n)).unwrap();
        }
        log.emit_all((3..6).map(|n| online(n).into()).collect()).unwrap();
        log.maintain().unwrap();
        let commits = log.commits(0);
        assert_eq!(commits.iter().map(|commit| commit.position).collect::<Vec<_>>(), [1, 2, 3, 6]);
        assert!(commits.iter().map(|commit| commit.at_us).is_sorted());
        assert!(commits.iter().all(|commit| commit.at_us >= began));
        assert_eq!(log.commits(3), commits[3..]);
        assert_eq!(log.commits(6), []);
    }

    #[test]
    fn handlers_are_woken_by_what_is_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::load(&folder.path().join("key")).unwrap();
        let subscriptions = Subscriptions::new([("HOST_ONLINE", "health")]);
        let log = EventLog::open(&folder.path().join("db"), signer, subscriptions).unwrap();
        let mut changes = log.changes();
        log.maintain().unwrap();
        assert!(!changes.has_changed().unwrap());
        log.emit(online(1)).unwrap();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let other = Event::LeaderElected(crate::events::LeaderElected {
            leader_id: "node-1".into(),
            node_id: "node-1".into(),
            term: 1,
            previous_leader_id: None,
            timestamp: 1.5,
        });
        log.emit(other).unwrap();
        assert!(!changes.has_changed().unwrap());
    }
}
