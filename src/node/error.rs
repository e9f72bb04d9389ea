//! Why a node cannot start, or cannot go on.

use crate::{
    config::SettingsError,
    events::LogError,
    store::{DbError, FolderError},
};
use p2p::{EntryRefusal, P2pError};
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
    /// No peer at the addresses lets this node in.
    #[error("{address} does not let this node in: {refusal}{}", what_to_do(refusal))]
    NotLetIn {
        /// The address at which it asked.
        address: String,
        /// What it was told.
        refusal: EntryRefusal,
    },
    /// The cluster has removed this node.
    #[error(
        "this node was removed from its cluster{}: to join again as a new member, start with an empty --data-dir and a \
         ticket (`ringrift cluster ticket` on a member)",
        because(why)
    )]
    Removed {
        /// Why, if somebody said so.
        why: String,
    },
    /// The other members shun this node.
    #[error(
        "this node signed two events under one number, so the others shun it: start it again once an operator has \
         pardoned it (`ringrift cluster pardon` on another member)"
    )]
    Shunned,
    /// Another process is connected to the cluster with this node's identity.
    #[error("{}: start every copy but one with an empty --data-dir", EntryRefusal::Duplicate)]
    Duplicate,
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

fn because(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(" ({why})") }
}

/// What the other end does not say itself.
fn what_to_do(refusal: &EntryRefusal) -> &'static str {
    match refusal {
        EntryRefusal::UnknownKey => ": make a ticket with `ringrift cluster ticket` on a member",
        EntryRefusal::Duplicate => ": start every copy but one with an empty --data-dir",
        EntryRefusal::ShutOut(_) | EntryRefusal::Closed(_) => "",
    }
}
