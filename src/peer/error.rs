//! Why work was not done.

use super::transfer::TransferError;
use crate::{
    events::{log::LogError, runner::HandlerError},
    learner::{WindowError, train::TrainingError},
    store::{DbError, SegmentError},
};
use kernels::CheckpointError;
use p2p::{blobs::BlobError, transfer::FetchError};
use raft::ProposeError;
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
    #[error("the system refuses another thread")]
    NoThread(#[source] io::Error),
    /// Only an evaluation has a subject: the model that plays.
    #[error("the lease names no model")]
    NoSubject,
    /// Work off the asynchronous threads ended before its time; the log has where.
    #[error("a task has panicked")]
    TaskPanicked,
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
