//! What this node keeps on its disk for its peers, by who asked for it.
//!
//! Invariant: a row is here before the first byte of its content is, so the account survives a kill at any
//! moment: a row may count too much for a while, never too little.

use super::sqlite::{self, DbError, Schema};
use parking_lot::Mutex;
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};
use wire::Hash;

const SCHEMA: Schema = Schema {
    application_id: i32::from_be_bytes(*b"RRkp"),
    migrations: &[VERSION_1],
    // A kill loses nothing. A loss of power may lose the last rows: what they counted is collected in a day.
    synchronous: "NORMAL",
};

const VERSION_1: &str = "
    CREATE TABLE kept(
        peer  TEXT NOT NULL,
        hash  BLOB NOT NULL CHECK (length(hash) = 32),
        bytes INTEGER NOT NULL,
        PRIMARY KEY(peer, hash)
    ) STRICT, WITHOUT ROWID;";

/// The account, in a database of its own.
pub struct KeptForPeers {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl KeptForPeers {
    /// Opens or makes the account. A damaged one may be moved away with [`super::set_aside`]: what it counted
    /// is collected when it is old.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let connection = Mutex::new(sqlite::open(path, &SCHEMA)?);
        Ok(Self { connection, path: path.to_owned() })
    }

    fn with<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, DbError> {
        // If a panic unwinds while the lock is held, SQLite rolls the transaction back.
        run(&self.connection.lock()).map_err(|source| DbError::of(&self.path, source))
    }

    /// What is kept for a peer: contents and their bytes.
    pub fn of(&self, peer: &str) -> Result<Vec<(Hash, u64)>, DbError> {
        self.with(|connection| {
            let sql = "SELECT hash, bytes FROM kept WHERE peer = ?";
            let mut statement = connection.prepare_cached(sql)?;
            let row =
                |row: &rusqlite::Row<'_>| Ok((Hash(row.get(0)?), row.get::<_, i64>(1)?.cast_unsigned()));
            statement.query_map([peer], row)?.collect()
        })
    }

    /// Every peer for which something is kept.
    pub fn peers(&self) -> Result<Vec<String>, DbError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached("SELECT DISTINCT peer FROM kept")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })
    }

    /// Counts a content of a peer with so many bytes, whatever it was counted with before.
    pub fn set(&self, peer: &str, hash: &Hash, bytes: u64) -> Result<(), DbError> {
        self.with(|connection| {
            let sql = "INSERT INTO kept VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET bytes = excluded.bytes";
            connection.prepare_cached(sql)?.execute(params![peer, hash.0, bytes.cast_signed()]).map(drop)
        })
    }

    /// Counts a content of a peer no more.
    pub fn remove(&self, peer: &str, hash: &Hash) -> Result<(), DbError> {
        self.with(|connection| {
            let sql = "DELETE FROM kept WHERE peer = ? AND hash = ?";
            connection.prepare_cached(sql)?.execute(params![peer, hash.0]).map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.db");
        let kept = KeptForPeers::open(&path).unwrap();
        let [one, two] = [b"one", b"two"].map(|name| Hash::of(name));
        kept.set("a", &one, 5).unwrap();
        kept.set("a", &one, 7).unwrap();
        kept.set("a", &two, 1).unwrap();
        kept.set("b", &one, 2).unwrap();
        drop(kept);
        let kept = KeptForPeers::open(&path).unwrap();
        let mut of_a = vec![(one, 7), (two, 1)];
        of_a.sort();
        assert_eq!(kept.of("a").unwrap(), of_a);
        kept.remove("a", &one).unwrap();
        assert_eq!((kept.of("a").unwrap(), kept.of("b").unwrap()), (vec![(two, 1)], vec![(one, 2)]));
        assert_eq!(kept.peers().unwrap(), ["a", "b"]);
    }
}
