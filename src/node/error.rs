//! Why a node cannot start, or cannot go on.

use crate::{
    config::ConfigError,
    events::log::LogError,
    store::{DbError, FolderError},
};
use p2p::P2pError;
use raft::{InitializeError, JoinError, StartError, StoreError};
use std::io;

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
