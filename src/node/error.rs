//! Why a node cannot start, or cannot go on.

use crate::{
    config::SettingsError,
    events::LogError,
    store::{DbError, FolderError},
};
use p2p::P2pError;
use raft::{InitializeError, JoinError, StartError, StoreError};
use std::io;

#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The settings cannot be used.
    #[error(transparent)]
    Config(#[from] SettingsError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The connections to peers cannot be started.
    #[error(transparent)]
    P2p(#[from] P2pError),
    /// Text that is not an address.
    #[error("{0:?} is no address: expected something like /ip4/192.0.2.1/tcp/7400/p2p/12D3KooW...")]
    Address(String),
    /// The event log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The list of segments failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The Raft databases failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Consensus failed.
    #[error(transparent)]
    Raft(#[from] StartError),
    /// The cluster could not be founded.
    #[error(transparent)]
    Initialize(#[from] InitializeError),
    /// The cluster could not be joined.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The HTTP interface cannot listen.
    #[error("cannot listen on http {address}: choose another with --http, or port 0")]
    Http {
        /// The address, as it was given.
        address: String,
        /// The answer of the operating system.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread")]
    Thread(#[from] io::Error),
    /// Consensus stopped while the node was running.
    #[error("consensus has stopped: {0}")]
    Consensus(String),
    /// A task ended that must go on until the shutdown.
    #[error("{0} ended unexpectedly")]
    Ended(String),
}
