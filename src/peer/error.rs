//! What can go wrong in a node.

use super::transfer::TransferError;
use crate::{
    config::ConfigError,
    events::{log::LogError, runner::HandlerError},
    learner::{WindowError, train::TrainingError},
    store::{DbError, FolderError, SegmentError},
};
use kernels::CheckpointError;
use p2p::{P2pError, blobs::BlobError, transfer::FetchError};
use raft::{InitializeError, JoinError, ProposeError, StartError, StoreError};
use std::{io, path::PathBuf};
use wire::{Hash, WireError};

/// Work that was not done. It is tried again, by this node or another.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// Nobody reachable has it.
    #[error("{0} is nowhere to be had")]
    Missing(Hash),
    /// No other node synced a copy.
    #[error("no second copy: {0}")]
    NoSecondCopy(String),
    /// Somebody who is no member asks.
    #[error("peer {0} is no member")]
    Stranger(String),
    /// It has this node keep too much that the cluster does not know.
    #[error("peer {0} has had enough kept that is not registered")]
    TooMuch(String),
    /// The node is stopping, or the work was taken away.
    #[error("stopped")]
    Stopped,
    /// A thread that computes ended before its time; the log has where.
    #[error("a thread of {0} has panicked")]
    Panicked(&'static str),
    /// The settings of the cluster do not fit this program.
    #[error("configuration {0} is unknown here")]
    UnknownConfig(String),
    /// A file.
    #[error("cannot write {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A head start.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A transfer, by every way there is.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The content store.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Consensus.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The event log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A segment.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The list of segments, or a canonical database.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A model.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A game that does not fit the window.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// Training.
    #[error(transparent)]
    Train(#[from] TrainingError),
}

impl From<WorkError> for HandlerError {
    fn from(error: WorkError) -> Self {
        match error {
            WorkError::Propose(ProposeError::NoLeader | ProposeError::Timeout) => Self::NoQuorum,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// The node cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its peers.
    #[error(transparent)]
    P2p(#[from] P2pError),
    /// An address that is none.
    #[error("{0:?} is no address: expected something like /ip4/192.0.2.1/tcp/7400/p2p/12D3KooW...")]
    Address(String),
    /// Its event log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its list of segments.
    #[error(transparent)]
    Db(#[from] DbError),
    /// Its Raft databases.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Consensus.
    #[error(transparent)]
    Raft(#[from] StartError),
    /// Founding a cluster.
    #[error(transparent)]
    Initialize(#[from] InitializeError),
    /// Joining a cluster.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Its HTTP interface.
    #[error("cannot listen on http {address}: choose another with --http, or port 0")]
    Http {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// A thread.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
    /// Consensus stopped while the node was running.
    #[error("consensus has stopped: {0}")]
    Consensus(String),
    /// A task ended that must not.
    #[error("{0} ended unexpectedly")]
    Ended(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_quorum_is_no_failure() {
        let check = |error: ProposeError, quorum: bool| {
            let found = HandlerError::from(WorkError::Propose(error));
            assert_eq!(matches!(found, HandlerError::NoQuorum), quorum, "{found:?}");
        };
        check(ProposeError::NoLeader, true);
        check(ProposeError::Timeout, true);
        check(ProposeError::Stopped("disk".into()), false);
    }
}
