//! The content of this node as a handle needs it: the store, the pieces of unfinished fetches, and whose turn
//! it is.
//!
//! Invariant: at most one transfer of a content is under way, so that two of them never write one file.

use crate::blobs::{
    sharing::Sharing,
    store::{BlobError, BlobStore},
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};
use tokio::task::spawn_blocking;
use wire::Hash;

/// The store, with what the transfers of this node share.
#[derive(Debug)]
pub(crate) struct LocalContent {
    pub(crate) store: BlobStore,
    /// The pieces that unfinished fetches have, for other peers to ask for.
    pub(crate) sharing: Arc<Sharing>,
    /// One lock for each content that is being transferred now.
    active: Mutex<HashMap<Hash, Weak<tokio::sync::Mutex<()>>>>,
}

impl LocalContent {
    pub(crate) fn new(store: BlobStore) -> Self {
        Self { store, sharing: Arc::default(), active: Mutex::default() }
    }

    /// Keeps content, on a thread that may block.
    pub(crate) async fn put(&self, content: Vec<u8>) -> Result<Hash, BlobError> {
        let store = self.store.clone();
        blocking(move || store.put(&content)).await
    }

    /// Reads content, on a thread that may block.
    pub(crate) async fn get(&self, hash: Hash) -> Result<Option<Vec<u8>>, BlobError> {
        let store = self.store.clone();
        blocking(move || store.get(hash)).await
    }

    /// The lock that a transfer of this content holds while it is under way.
    pub(crate) fn turn(&self, hash: Hash) -> Arc<tokio::sync::Mutex<()>> {
        let mut active = self.active.lock();
        active.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = active.get(&hash).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        active.insert(hash, Arc::downgrade(&turn));
        turn
    }
}

/// Runs `work` on a thread that may block. A panic of the work is a panic of the caller.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(value) => value,
        // The task cannot have been cancelled, because this function awaits it.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
