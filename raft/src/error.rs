//! What can go wrong, as a caller can act on it.

use cluster_state::{NodeId, Refusal};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A database could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Written by a newer version of the program.
    #[error("{path} has format {found}, this version knows up to {supported}")]
    Newer {
        /// File.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format known here.
        supported: i64,
    },
    /// Not ours.
    #[error("{path} is no raft database (application id {found:#x})")]
    Foreign {
        /// File.
        path: PathBuf,
        /// Its application id.
        found: i64,
    },
    /// Pages or rows that cannot be trusted.
    #[error("{path} is corrupt ({detail}): start anew with an empty data folder")]
    Corrupt {
        /// File.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// The database belongs to another node of another peer.
    #[error("{path} belongs to node {node} of peer {peer}")]
    OtherNode {
        /// File.
        path: PathBuf,
        /// Node that it belongs to.
        node: NodeId,
        /// Its peer id.
        peer: String,
    },
    /// The thread that writes it cannot start.
    #[error("no thread to write {path}")]
    Thread {
        /// File.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// Disk full, permissions, locked by another process.
    #[error("cannot use {path}")]
    Sqlite {
        /// File.
        path: PathBuf,
        /// Cause.
        source: rusqlite::Error,
    },
}

/// Raft could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Senseless timing.
    #[error("timing: {0}")]
    Timing(String),
    /// Consensus stopped at once.
    #[error("consensus cannot run: {0}")]
    Fatal(String),
}

/// A command was not applied, as far as is known.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ProposeError {
    /// The cluster refused it; asking again is no use until something changes.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// No leader was found in time. The command was not applied by this call.
    #[error("no leader")]
    NoLeader,
    /// No answer in time. The command may yet be applied: repeat it, commands are idempotent.
    #[error("no answer from the leader in time")]
    Timeout,
    /// This node's consensus has stopped.
    #[error("consensus has stopped: {0}")]
    Stopped(String),
}

impl ProposeError {
    /// Whether the same command may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::NoLeader | Self::Timeout => true,
            Self::Refused(_) | Self::Stopped(_) => false,
        }
    }
}

/// A linearizable read failed.
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

/// A node could not join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Nobody let it in in time.
    #[error("no leader let this node in: {0}")]
    NoLeader(String),
    /// The cluster said no.
    #[error("refused: {0}")]
    Refused(String),
}

/// The cluster could not be founded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InitializeError {
    /// This node belongs to a cluster already, or consensus stopped.
    #[error("cannot found a cluster: {0}")]
    NotAllowed(String),
    /// Founded, but the founder could not register.
    #[error("the founder cannot register")]
    Register(#[source] ProposeError),
}
