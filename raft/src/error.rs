//! The errors of this crate, typed by what a caller can do about them.

use cluster_state::{NodeId, Refusal};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Ordering,
    path::{Path, PathBuf},
};

/// Why a database could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A newer version of the program wrote the file.
    #[error("{path} has format {found}, this version reads format {supported} only: use the newer version")]
    Newer {
        /// Path of the database.
        path: PathBuf,
        /// Format number in the file.
        found: i64,
        /// The newest format that this version knows.
        supported: i64,
    },
    /// An older version of the program wrote the file, in an encoding that this version does not read.
    #[error(
        "{path} has format {found}, this version reads format {supported} only: \
         start anew with an empty data folder, or use the older version"
    )]
    Older {
        /// Path of the database.
        path: PathBuf,
        /// Format number in the file.
        found: i64,
        /// The one format that this version reads.
        supported: i64,
    },
    /// Another program wrote the file.
    #[error("{path} is no raft database (application id {found:#x})")]
    Foreign {
        /// Path of the database.
        path: PathBuf,
        /// Application id in the file.
        found: i64,
    },
    /// The file has pages or rows that cannot be trusted.
    #[error("{path} is corrupt ({detail}): start anew with an empty data folder")]
    Corrupt {
        /// Path of the database.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The database belongs to another node of another peer.
    #[error("{path} belongs to node {node} of peer {peer}")]
    OtherNode {
        /// Path of the database.
        path: PathBuf,
        /// Node that it belongs to.
        node: NodeId,
        /// Peer id of that node.
        peer: String,
    },
    /// The thread that writes the database cannot start.
    #[error("no thread to write {path}")]
    Thread {
        /// Path of the database.
        path: PathBuf,
        /// The underlying error.
        source: std::io::Error,
    },
    /// SQLite failed: the disk is full, permissions are missing, or another process has locked the file.
    #[error("cannot use {path}")]
    Sqlite {
        /// Path of the database.
        path: PathBuf,
        /// The underlying error.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Refuses a file of another format than the one that this version reads.
    pub(crate) fn check_format(path: &Path, found: i64, supported: i64) -> Result<(), Self> {
        match found.cmp(&supported) {
            Ordering::Less => Err(Self::Older { path: path.to_owned(), found, supported }),
            Ordering::Equal => Ok(()),
            Ordering::Greater => Err(Self::Newer { path: path.to_owned(), found, supported }),
        }
    }
}

/// Why consensus could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A database could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The timing contradicts itself.
    #[error("timing: {0}")]
    Timing(String),
    /// Consensus stopped immediately after its start.
    #[error("consensus cannot run: {0}")]
    Fatal(String),
}

/// Why a command was not applied, as far as is known.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProposeError {
    /// The cluster refused the command; to repeat it is useless until something changes.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// No leader was found in time. This call did not apply the command.
    #[error("no leader")]
    NoLeader,
    /// No answer arrived in time. The command may still be applied: the caller should repeat it, because
    /// commands are idempotent.
    #[error("no answer from the leader in time")]
    Timeout,
    /// This node's consensus has stopped.
    #[error("consensus has stopped: {0}")]
    Stopped(String),
}

impl ProposeError {
    /// Whether the same command may succeed if it is repeated.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoLeader | Self::Timeout => true,
            Self::Refused(_) | Self::Stopped(_) => false,
        }
    }
}

/// Why a linearizable read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ReadError {
    /// No leader with a quorum answered.
    #[error("no leader with a quorum")]
    NoLeader,
    /// The leader answered, but this node did not catch up in time.
    #[error("not caught up in time")]
    Timeout,
    /// This node's consensus has stopped.
    #[error("consensus has stopped")]
    Stopped,
}

/// Why a node could not join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// No leader accepted the node in time.
    #[error("no leader let this node in: {0}")]
    NoLeader(String),
    /// The cluster refused the node.
    #[error("refused: {0}")]
    Refused(String),
}

/// Why the cluster could not be founded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InitializeError {
    /// This node already belongs to a cluster, or consensus has stopped.
    #[error("cannot found a cluster: {0}")]
    NotAllowed(String),
    /// The cluster was founded, but the founder could not register.
    #[error("the founder cannot register")]
    Register(#[source] ProposeError),
}
