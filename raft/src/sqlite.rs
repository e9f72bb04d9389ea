//! Opens SQLite files so that committed data is on disk, and so that a file of another program is left alone.

use crate::error::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig};
use std::{path::Path, time::Duration};

/// Maximum time for which a writer waits for the other connections of this process.
const BUSY: Duration = Duration::from_secs(10);

/// Opens a file for durable commits: with a write-ahead log that is synced at every commit.
pub(crate) fn open(path: &Path) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(BUSY)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        Ok(db)
    };
    open().map_err(|source| classify(path, source))
}

/// The application id, the version of the format and the number of tables of a file, as the file itself gives
/// them.
pub(crate) struct FileHeader {
    pub(crate) application_id: i64,
    pub(crate) user_version: i64,
    tables: i64,
}

impl FileHeader {
    /// Whether no program has used the file yet.
    pub(crate) fn is_empty(&self) -> bool {
        (self.application_id, self.user_version, self.tables) == (0, 0, 0)
    }
}

/// Inspects a file without changing it; `None` if there is none.
pub(crate) fn inspect(path: &Path) -> Result<Option<FileHeader>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    // The file is not opened read-only, because a process that was killed may have left a journal to roll
    // back.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let look = || -> rusqlite::Result<FileHeader> {
        let db = Connection::open_with_flags(path, flags)?;
        db.busy_timeout(BUSY)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(FileHeader {
            application_id: db.pragma_query_value(None, "application_id", |row| row.get(0))?,
            user_version: db.pragma_query_value(None, "user_version", |row| row.get(0))?,
            tables: db.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?,
        })
    };
    look().map(Some).map_err(|source| classify(path, source))
}

/// The typed error of an SQLite error.
pub(crate) fn classify(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Corrupt { path, detail: source.to_string() }
        }
        // SQLITE_ERROR: the statements are right, so a table is missing or differs from the one that this
        // program makes.
        Some(ErrorCode::Unknown) => StoreError::Corrupt { path, detail: source.to_string() },
        Some(_) => StoreError::Sqlite { path, source },
        // SQLite itself did not fail: a value is not what this program wrote.
        None => StoreError::Corrupt { path, detail: source.to_string() },
    }
}
