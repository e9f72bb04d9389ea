//! Opens the SQLite files that this program made.
//!
//! Invariant: a file that another program made, or a newer build, is left as it is.

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a writer waits for other connections to the same file.
const BUSY: Duration = Duration::from_secs(10);

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The file is a database of another program.
    #[error("{path} is no ringrift database of this kind: move it away")]
    Foreign { path: PathBuf },
    /// The database holds games of another configuration.
    #[error("{path} holds games of {found}, not of {expected}: it was renamed")]
    OtherConfig {
        path: PathBuf,
        /// The configuration of its games.
        found: String,
        /// The configuration that was asked for.
        expected: String,
    },
    /// A newer build wrote the file.
    #[error("{path} has version {found}, this build knows {supported}: use the newer build")]
    Newer {
        path: PathBuf,
        /// The version of the file.
        found: i64,
        /// The newest version that this build knows.
        supported: i64,
    },
    /// The file is damaged.
    #[error("{path} is damaged ({detail}): move it away, a new one is made")]
    Corrupt {
        path: PathBuf,
        /// What the check found.
        detail: String,
    },
    /// SQLite failed for another reason, such as a full disk.
    #[error("cannot use {path}")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    /// The file cannot be moved.
    #[error("cannot move {path} away")]
    Move { path: PathBuf, source: io::Error },
}

impl DbError {
    pub(super) fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { path, detail: source.to_string() }
            }
            Some(_) | None => Self::Sqlite { path, source },
        }
    }
}

/// How a kind of file is recognised and made.
pub(super) struct Schema {
    /// SQLite's `application_id`, which tells the kinds of files apart.
    pub(super) application_id: i32,
    /// The SQL that leads from each version to the next, starting with an empty file.
    pub(super) migrations: &'static [&'static str],
    /// SQLite's `synchronous`.
    pub(super) synchronous: &'static str,
}

/// Opens or makes a file and brings it to the newest version.
pub(super) fn open(path: &Path, schema: &Schema) -> Result<Connection, DbError> {
    let error = |source| DbError::of(path, source);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(error)?;
    db.busy_timeout(BUSY).map_err(error)?;
    let fresh = identify(&db, path, schema)?;
    if !fresh {
        check(&db, path, "quick_check")?;
    }
    db.pragma_update(None, "journal_mode", "WAL").map_err(error)?;
    db.pragma_update(None, "synchronous", schema.synchronous).map_err(error)?;
    db.pragma_update(None, "foreign_keys", true).map_err(error)?;
    migrate(&mut db, path, schema)?;
    Ok(db)
}

fn pragma(db: &Connection, path: &Path, name: &str) -> Result<i64, DbError> {
    db.pragma_query_value(None, name, |row| row.get(0)).map_err(|source| DbError::of(path, source))
}

/// Whether the file is empty. A file of another program or a newer build is an error.
fn identify(db: &Connection, path: &Path, schema: &Schema) -> Result<bool, DbError> {
    let id = pragma(db, path, "application_id")?;
    let found = pragma(db, path, "user_version")?;
    let tables: i64 = db
        .query_row("SELECT COUNT(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|source| DbError::of(path, source))?;
    if (id, found, tables) == (0, 0, 0) {
        return Ok(true);
    }
    if id != i64::from(schema.application_id) {
        return Err(DbError::Foreign { path: path.to_owned() });
    }
    let supported = schema.migrations.len() as i64;
    if found > supported {
        return Err(DbError::Newer { path: path.to_owned(), found, supported });
    }
    Ok(false)
}

fn migrate(db: &mut Connection, path: &Path, schema: &Schema) -> Result<(), DbError> {
    let run = |db: &mut Connection| -> rusqlite::Result<()> {
        // The version is read under the write lock, because another connection may migrate the file as well.
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let done = usize::try_from(version).unwrap_or(0);
        for step in schema.migrations.iter().skip(done) {
            tx.execute_batch(step)?;
        }
        if done < schema.migrations.len() {
            tx.pragma_update(None, "application_id", schema.application_id)?;
            tx.pragma_update(None, "user_version", schema.migrations.len() as i64)?;
        }
        tx.commit()
    };
    run(db).map_err(|source| DbError::of(path, source))
}

/// Runs `quick_check` or `integrity_check`.
pub(super) fn check(db: &Connection, path: &Path, name: &str) -> Result<(), DbError> {
    let detail: String = db
        .query_row(&format!("PRAGMA {name}(1)"), [], |row| row.get(0))
        .map_err(|source| DbError::of(path, source))?;
    if detail == "ok" { Ok(()) } else { Err(DbError::Corrupt { path: path.to_owned(), detail }) }
}

/// Moves a database that no connection has open out of the way and returns its new name,
/// `PATH.corrupt-SUFFIX`.
pub fn set_aside(path: &Path, suffix: &str) -> Result<PathBuf, DbError> {
    let with = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let aside = with(&format!(".corrupt-{suffix}"));
    let rename = |from: PathBuf, to: PathBuf| match fs::rename(&from, to) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DbError::Move { path: from, source }),
        Ok(()) | Err(_) => Ok(()),
    };
    // The log goes first, because a new database must never find the log of an old one.
    for end in ["-wal", "-shm"] {
        rename(with(end), with(&format!(".corrupt-{suffix}{end}")))?;
    }
    rename(path.to_owned(), aside.clone())?;
    super::files::sync_parent(path).map_err(|source| DbError::Move { path: path.to_owned(), source })?;
    Ok(aside)
}
