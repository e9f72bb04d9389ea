//! The durable log of events that every node keeps in `node.db`.
//!
//! Invariant: an event is here once, whatever the number of times it arrives: its id is (origin, epoch, sequence). Events
//! of an applied command are written in the transaction that applies it; others before anybody is told.

use super::{Event, caused::caused};
use crate::clock::now_ms;
use raft::{ApplyHook, ClusterState, Command, HookError, Response};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Largest event in a gossip message.
pub const EVENT_BYTES_MAX: usize = 16 << 10;
/// The newest events that are kept.
const KEPT: i64 = 200_000;
/// How often the old ones are dropped, in events.
const PRUNE_EVERY: i64 = 1_000;
/// Most events of one answer.
const PAGE_MAX: usize = 1_000;
/// Frame kind of a gossiped event.
const KIND: u8 = 0x50;
/// The origin of events that every node writes for itself.
const RAFT: &str = "raft";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS events(
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        origin   TEXT NOT NULL,
        epoch    INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        name     TEXT NOT NULL,
        body     TEXT NOT NULL,
        at_ms    INTEGER NOT NULL,
        UNIQUE(origin, epoch, sequence)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS event_source(
        only     INTEGER PRIMARY KEY CHECK (only = 1),
        epoch    INTEGER NOT NULL,
        sequence INTEGER NOT NULL
    ) STRICT;";

/// An event with its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// Where it is in this node's log; other nodes number differently.
    pub position: i64,
    /// The emitter's peer id, or `raft`.
    pub origin: String,
    /// Random number of the emitter's data folder; 0 for `raft`.
    pub epoch: i64,
    /// For `raft`: log index × 16 + number within the command. Otherwise it counts the origin's events.
    pub sequence: i64,
    /// When it was emitted, milliseconds since the epoch.
    pub at_ms: i64,
    /// What happened.
    pub event: Event,
}

/// Why an event could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error("cannot use {path}: restore it from a backup, or start anew with an empty --data-dir")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The database.
    #[error("cannot use the event log")]
    Sqlite(#[from] rusqlite::Error),
    /// A message that is no event, or an event too large for a message.
    #[error("no event")]
    Wire(#[from] wire::WireError),
    /// An event that JSON cannot express, or a stored one that is unreadable.
    #[error("unreadable event")]
    Body(#[from] serde_json::Error),
}

/// This node's log.
pub struct EventLog {
    connection: Mutex<Connection>,
    origin: String,
    epoch: i64,
}

/// A connection to `node.db` that syncs before it answers.
///
/// # Errors
/// From SQLite.
pub fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Says whether it is new.
fn insert(
    connection: &Connection,
    (origin, epoch, sequence): (&str, i64, i64),
    at_ms: i64,
    event: &Event,
) -> Result<bool, LogError> {
    let body = serde_json::to_string(event)?;
    let sql =
        "INSERT OR IGNORE INTO events(origin, epoch, sequence, name, body, at_ms) VALUES (?, ?, ?, ?, ?, ?)";
    let row = params![origin, epoch, sequence, event.name(), body, at_ms];
    if connection.prepare_cached(sql)?.execute(row)? == 0 {
        return Ok(false);
    }
    let position = connection.last_insert_rowid();
    if position % PRUNE_EVERY == 0 {
        connection.execute("DELETE FROM events WHERE position <= ?", [position - KEPT])?;
    }
    Ok(true)
}

impl EventLog {
    /// Opens the log of the node with libp2p id `origin`.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(path: &Path, origin: &str) -> Result<Self, LogError> {
        Self::at(path, origin).map_err(|source| LogError::Open { path: path.to_owned(), source })
    }

    fn at(path: &Path, origin: &str) -> Result<Self, rusqlite::Error> {
        let connection = connect(path)?;
        connection.execute_batch(SCHEMA)?;
        let epoch = i64::from(rand::random::<u32>());
        connection.execute("INSERT OR IGNORE INTO event_source VALUES (1, ?, 0)", [epoch])?;
        let epoch = connection.query_row("SELECT epoch FROM event_source", [], |row| row.get(0))?;
        Ok(Self { connection: Mutex::new(connection), origin: origin.to_owned(), epoch })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic while it was held rolled its transaction back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an event of this node and returns the message that tells the others.
    ///
    /// # Errors
    /// [`LogError`]; then nothing was kept.
    pub fn emit(&self, event: Event) -> Result<Vec<u8>, LogError> {
        let mut connection = self.connection();
        let tx = connection.transaction()?;
        tx.execute("UPDATE event_source SET sequence = sequence + 1", [])?;
        let sequence: i64 = tx.query_row("SELECT sequence FROM event_source", [], |row| row.get(0))?;
        let at_ms = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        insert(&tx, (&self.origin, self.epoch, sequence), at_ms, &event)?;
        let logged =
            Logged { position: 0, origin: self.origin.clone(), epoch: self.epoch, sequence, at_ms, event };
        let message = wire::encode(KIND, &logged, EVENT_BYTES_MAX)?;
        tx.commit()?;
        Ok(message)
    }

    /// Keeps an event that peer `from` emitted and sent; says whether it is new.
    ///
    /// # Errors
    /// [`LogError::Wire`] for a message that is no event of that peer.
    pub fn receive(&self, from: &str, message: &[u8]) -> Result<bool, LogError> {
        let logged: Logged = wire::decode::<_, EVENT_BYTES_MAX>(KIND, message)?;
        if logged.origin != from {
            return Err(wire::WireError::Body(format!("{from} sent an event of {}", logged.origin)).into());
        }
        let id = (logged.origin.as_str(), logged.epoch, logged.sequence);
        insert(&self.connection(), id, logged.at_ms, &logged.event)
    }

    /// Up to `limit` events after `position`, oldest first. One that cannot be read is left out.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn since(&self, position: i64, limit: usize) -> Result<Vec<Logged>, LogError> {
        let sql = "SELECT position, origin, epoch, sequence, at_ms, body FROM events WHERE position > ? \
                   ORDER BY position";
        let limit = limit.min(PAGE_MAX);
        let connection = self.connection();
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([position])?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            match read(row) {
                Ok(logged) => found.push(logged),
                // It must not keep the later ones from being read.
                Err(LogError::Body(error)) => {
                    tracing::warn!(position = row.get::<_, i64>(0)?, %error, "an event is unreadable");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// When the last decision that left an event was proposed, milliseconds since the epoch.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn last_decision_ms(&self) -> Result<Option<u64>, LogError> {
        let sql = "SELECT at_ms FROM events WHERE origin = ? AND epoch = 0 ORDER BY sequence DESC LIMIT 1";
        let connection = self.connection();
        let found: Option<i64> =
            connection.prepare_cached(sql)?.query_row([RAFT], |row| row.get(0)).optional()?;
        Ok(found.map(|at_ms| at_ms.max(0).unsigned_abs()))
    }

    /// The newest event of a name.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn newest(&self, name: &str) -> Result<Option<Logged>, LogError> {
        let sql = "SELECT position, origin, epoch, sequence, at_ms, body FROM events WHERE name = ? \
                   ORDER BY position DESC LIMIT 1";
        let connection = self.connection();
        let found = connection.prepare_cached(sql)?.query_row([name], |row| Ok(read(row))).optional()?;
        found.transpose()
    }
}

fn read(row: &Row<'_>) -> Result<Logged, LogError> {
    let body: String = row.get(5)?;
    Ok(Logged {
        position: row.get(0)?,
        origin: row.get(1)?,
        epoch: row.get(2)?,
        sequence: row.get(3)?,
        at_ms: row.get(4)?,
        event: serde_json::from_str(&body)?,
    })
}

/// Writes the events of every applied command in the transaction that applies it.
pub struct EventHook {
    before: Option<ClusterState>,
    games_planned: u32,
}

impl EventHook {
    /// `games_planned`: how many games an evaluation may take here.
    #[must_use]
    pub fn new(games_planned: u32) -> Self {
        Self { before: None, games_planned }
    }
}

impl ApplyHook for EventHook {
    fn on_apply(
        &mut self,
        tx: &rusqlite::Transaction<'_>,
        index: u64,
        command: &Command,
        response: &Response,
        state: &ClusterState,
    ) -> Result<(), HookError> {
        let before = self.before.replace(state.clone());
        let before = before.as_ref().unwrap_or(state);
        let events = caused(command, response, before, state, self.games_planned);
        for (part, event) in (0..16).zip(&events) {
            let sequence = i64::try_from(index)? * 16 + part;
            insert(tx, (RAFT, 0, sequence), i64::try_from(command.at_ms())?, event)?;
        }
        Ok(())
    }

    fn on_open(&mut self, state: &ClusterState) {
        self.before = Some(state.clone());
    }

    fn on_snapshot(&mut self, _: &rusqlite::Transaction<'_>, state: &ClusterState) -> Result<(), HookError> {
        self.before = Some(state.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{HostOnline, LeaderElected};

    fn online(node: &str) -> Event {
        Event::HostOnline(HostOnline { node_id: node.into(), host: "h".into(), timestamp: 1.5 })
    }

    #[test]
    fn an_event_is_kept_once_however_often_it_arrives() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.db"), folder.path().join("b.db"));
        let (a, b) = (EventLog::open(&a, "peer-a").unwrap(), EventLog::open(&b, "peer-b").unwrap());
        let message = a.emit(online("node-1")).unwrap();
        assert!(b.receive("peer-a", &message).unwrap());
        assert!(!b.receive("peer-a", &message).unwrap());
        assert!(matches!(b.receive("peer-c", &message), Err(LogError::Wire(_))));
        assert!(matches!(b.receive("peer-a", &message[1..]), Err(LogError::Wire(_))));
        let kept = b.since(0, 10).unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].event, online("node-1"));
        assert_eq!(b.newest("HOST_ONLINE").unwrap().as_ref(), kept.first());
        assert_eq!(b.newest("LEADER_ELECTED").unwrap(), None);
    }

    #[test]
    fn a_reopened_log_counts_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.db");
        EventLog::open(&path, "me").unwrap().emit(online("node-1")).unwrap();
        let log = EventLog::open(&path, "me").unwrap();
        log.emit(online("node-2")).unwrap();
        let kept = log.since(0, 10).unwrap();
        assert_eq!(kept.iter().map(|e| e.sequence).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(kept[0].epoch, kept[1].epoch);
    }

    #[test]
    fn an_unreadable_event_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.db");
        let log = EventLog::open(&path, "me").unwrap();
        for node in ["node-1", "node-2", "node-3"] {
            log.emit(online(node)).unwrap();
        }
        let damage = "UPDATE events SET body = '{\"OfTomorrow\":{}}' WHERE sequence < 3";
        connect(&path).unwrap().execute(damage, []).unwrap();
        let kept = log.since(0, 1).unwrap();
        assert_eq!(kept.iter().map(|e| e.sequence).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn applied_commands_become_events_with_their_log_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.db");
        let log = EventLog::open(&path, "me").unwrap();
        let mut connection = connect(&path).unwrap();
        let mut hook = EventHook::new(400);
        let mut state = ClusterState::default();
        let commands = [
            Command::RegisterNode {
                peer_id: "p".into(),
                name: "host".into(),
                addrs: vec![],
                http: String::new(),
                version: String::new(),
                boot: 1,
                at_ms: 1000,
            },
            Command::SetLeader { node: 1, term: 3, at_ms: 2000 },
            Command::SetLeader { node: 1, term: 3, at_ms: 2500 },
        ];
        for (index, command) in (5u64..).zip(&commands) {
            let response = raft::state_machine::apply(&mut state, index, command);
            for _ in 0..2 {
                let tx = connection.transaction().unwrap();
                hook.on_apply(&tx, index, command, &response, &state).unwrap();
                tx.commit().unwrap();
            }
        }
        assert_eq!(log.last_decision_ms().unwrap(), Some(2000));
        let kept = log.since(0, 10).unwrap();
        let elected = Event::LeaderElected(LeaderElected {
            leader_id: "node-1".into(),
            node_id: "node-1".into(),
            term: 3,
            previous_leader_id: None,
            timestamp: 2.0,
        });
        let found: Vec<_> = kept.iter().map(|e| (e.origin.as_str(), e.sequence, e.event.clone())).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].0, found[0].1, found[0].2.name()), ("raft", 80, "HOST_ONLINE"));
        assert_eq!(found[1], ("raft", 96, elected));
    }

    #[test]
    fn the_first_command_after_a_snapshot_is_compared_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.db");
        let log = EventLog::open(&path, "me").unwrap();
        let mut connection = connect(&path).unwrap();
        let mut hook = EventHook::new(400);
        let mut state = ClusterState::default();
        let register = |n: u64| Command::RegisterNode {
            peer_id: format!("p{n}"),
            name: "host".into(),
            addrs: vec![],
            http: String::new(),
            version: String::new(),
            boot: 1,
            at_ms: 1000,
        };
        raft::state_machine::apply(&mut state, 1, &register(1));
        raft::state_machine::apply(&mut state, 2, &register(2));
        raft::state_machine::apply(&mut state, 3, &Command::SetLeader { node: 1, term: 3, at_ms: 2000 });
        let tx = connection.transaction().unwrap();
        hook.on_snapshot(&tx, &state).unwrap();
        let command = Command::SetLeader { node: 2, term: 4, at_ms: 3000 };
        let response = raft::state_machine::apply(&mut state, 4, &command);
        hook.on_apply(&tx, 4, &command, &response, &state).unwrap();
        tx.commit().unwrap();
        let elected = log.newest("LEADER_ELECTED").unwrap().unwrap().event;
        assert!(
            matches!(&elected, Event::LeaderElected(e) if e.previous_leader_id.as_deref() == Some("node-1")),
            "{elected:?}"
        );
    }
}
