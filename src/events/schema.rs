//! The tables of `node.db` that hold events, beside those of the applied state.
//!
//! Invariant: tables and indexes are added, never changed: every start runs this over whatever an earlier
//! build left.

use rusqlite::Connection;
use std::{path::Path, time::Duration};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS event_log(
        position    INTEGER PRIMARY KEY AUTOINCREMENT,
        origin      TEXT NOT NULL,
        epoch       INTEGER NOT NULL,
        sequence    INTEGER NOT NULL,
        name        TEXT NOT NULL,
        at_ms       INTEGER NOT NULL,
        received_ms INTEGER NOT NULL,
        envelope    BLOB NOT NULL,
        signature   BLOB NOT NULL,
        UNIQUE(origin, epoch, sequence)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS event_names ON event_log(name, position);
    CREATE TABLE IF NOT EXISTS event_parked(
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        origin      TEXT NOT NULL,
        epoch       INTEGER NOT NULL,
        sequence    INTEGER NOT NULL,
        received_ms INTEGER NOT NULL,
        envelope    BLOB NOT NULL,
        signature   BLOB NOT NULL,
        UNIQUE(origin, epoch, sequence)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS event_waits(
        origin   TEXT NOT NULL,
        epoch    INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        parked   INTEGER NOT NULL,
        PRIMARY KEY(origin, epoch, sequence, parked)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS event_waiting ON event_waits(parked);
    CREATE TABLE IF NOT EXISTS event_vector(
        origin     TEXT NOT NULL,
        epoch      INTEGER NOT NULL,
        contiguous INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL,
        PRIMARY KEY(origin, epoch)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS event_tails(
        origin   TEXT NOT NULL,
        flow     TEXT NOT NULL,
        sequence INTEGER NOT NULL,
        PRIMARY KEY(origin, flow)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS event_heads(
        flow     TEXT NOT NULL,
        origin   TEXT NOT NULL,
        epoch    INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY(flow, origin, epoch)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS event_told(
        key      TEXT PRIMARY KEY,
        at_ms    INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS event_told_at ON event_told(at_ms);
    CREATE TABLE IF NOT EXISTS event_emitter(
        only     INTEGER PRIMARY KEY CHECK (only = 1),
        epoch    INTEGER NOT NULL,
        sequence INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS event_untold(
        only     INTEGER PRIMARY KEY CHECK (only = 1),
        since    INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS event_shunned(
        origin           TEXT PRIMARY KEY,
        epoch            INTEGER NOT NULL,
        sequence         INTEGER NOT NULL,
        first            BLOB NOT NULL,
        first_signature  BLOB NOT NULL,
        second           BLOB NOT NULL,
        second_signature BLOB NOT NULL,
        at_ms            INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS event_pardoned(
        origin TEXT NOT NULL,
        epoch  INTEGER NOT NULL,
        PRIMARY KEY(origin, epoch)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS event_inbox(
        handler  TEXT NOT NULL,
        flow     TEXT NOT NULL,
        position INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        parked   INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY(handler, flow, position)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS event_inbox_positions ON event_inbox(position);
    CREATE TABLE IF NOT EXISTS event_done(
        handler  TEXT NOT NULL,
        key      TEXT NOT NULL,
        at_ms    INTEGER NOT NULL,
        PRIMARY KEY(handler, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS event_done_at ON event_done(at_ms);
    CREATE TABLE IF NOT EXISTS event_handled(
        handler    TEXT PRIMARY KEY,
        handled    INTEGER NOT NULL DEFAULT 0,
        duplicates INTEGER NOT NULL DEFAULT 0,
        dead       INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS event_dlq(
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        handler     TEXT NOT NULL,
        origin      TEXT NOT NULL,
        epoch       INTEGER NOT NULL,
        sequence    INTEGER NOT NULL,
        name        TEXT NOT NULL,
        payload     TEXT NOT NULL,
        error       TEXT NOT NULL,
        retry_count INTEGER NOT NULL,
        at_ms       INTEGER NOT NULL,
        UNIQUE(handler, origin, epoch, sequence)
    ) STRICT;";

/// A connection to `node.db` that syncs before it answers.
///
/// # Errors
/// From SQLite.
pub fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
