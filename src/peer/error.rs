//! Why work was not done.

use super::{quota::QuotaError, transfer::TransferError};
use crate::{
    events::{LogError, runner::HandlerError},
    learner::{WindowError, again::Unjudged, train::TrainingError},
    store::{DbError, SegmentError},
};
use cluster_state::ConfigKey;
use kernels::CheckpointError;
use p2p::blobs::BlobError;
use raft::ProposeError;
use std::{io, path::PathBuf};
use wire::{Hash, WireError};

/// Why work was not done. The work is tried again, by this node or another.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// No node that can be reached has the content.
    #[error("{0} is nowhere to be had")]
    Missing(Hash),
    /// The peers of the swarm did not deliver an announced model; the text says why.
    #[error("an announced model cannot be had: {0}")]
    Announced(String),
    /// The content was found not to be what the cluster takes it for.
    #[error("{0} is not what it was said to be")]
    Nonsense(Hash),
    /// No other node synced a copy.
    #[error("no second copy: {0}")]
    NoSecondCopy(String),
    /// The key of this node gives no Ed25519 signature.
    #[error("this node's key gives no signature for a receipt")]
    Unsigned,
    /// The peer that asks is no member.
    #[error("peer {0} is no member")]
    Stranger(String),
    /// The peer has this node keep too much content that the cluster does not know, or asks twice for the
    /// same.
    #[error("peer {0} has had enough kept that is not registered")]
    TooMuch(String),
    /// The account of what is kept for peers failed.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// The node is stopping, or the work was taken away from it.
    #[error("stopped")]
    Stopped,
    #[error("the system refuses another thread")]
    NoThread(#[source] io::Error),
    /// The lease has no subject; only an evaluation has one, the model that plays.
    #[error("the lease names no model")]
    NoSubject,
    /// A task on a blocking thread ended early; the log says where.
    #[error("a task has panicked")]
    TaskPanicked,
    /// A thread that computes ended early; the log says where.
    #[error("a thread of {0} has panicked")]
    Panicked(&'static str),
    /// A segment is not of the node that asks, or its games do not say how they were played.
    #[error("the segment is not to be kept for this node")]
    Unkept,
    /// Nothing can be said about a game of another node.
    #[error("the game cannot be judged")]
    Unjudged(#[source] Unjudged),
    /// The settings of the cluster do not fit this program.
    #[error("configuration {0} is unknown here")]
    UnknownConfig(ConfigKey),
    /// A file cannot be written.
    #[error("cannot write {path}")]
    File {
        /// Path of that file.
        path: PathBuf,
        source: io::Error,
    },
    /// A message cannot be encoded or decoded.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Every way of transfer failed.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The content store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The cluster did not apply a command, as far as is known.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The event log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A segment is invalid.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The list of segments, or a canonical database, failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// A model is invalid.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A game does not fit the window.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// Training failed.
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
