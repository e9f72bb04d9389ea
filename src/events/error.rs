//! Why the log of events cannot be used.

use super::EventError;
use std::path::PathBuf;

/// Why an event could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error("cannot use {path}: if it is damaged, start anew with an empty --data-dir")]
    Open { path: PathBuf, source: rusqlite::Error },
    /// The database refuses.
    #[error("cannot use the event log")]
    Sqlite(#[from] rusqlite::Error),
    /// An event too large for a message, or a stored one that is unreadable.
    #[error("no event")]
    Wire(#[from] wire::WireError),
    /// An event that JSON cannot express, or a stored one that is unreadable.
    #[error("unreadable event")]
    Body(#[from] serde_json::Error),
    /// An event that makes no sense.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A handler's change of the database failed; nothing of it was kept.
    #[error("the effect failed: {0}")]
    Effect(String),
    /// The task that used the database panicked; the log of the process has where.
    #[error("the task that used the event log has panicked")]
    TaskPanicked,
}
