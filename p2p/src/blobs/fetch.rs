//! Fetches content from several holders at once.
//!
//! Invariant: a piece counts only once its hash was checked. A holder that delivers a wrong one is dropped, and so
//! is one that fails again and again; the others go on. What arrived stays on disk for the next attempt, and is served
//! to others from the moment it was checked.

mod attempt;
mod work;

use crate::{
    Class, P2pHandle,
    blobs::{
        outline::BLOB_BYTES_MAX,
        protocol::{Answer, Ask},
        sharing::Sharing,
        store::{BlobStore, StoreError},
    },
};
use attempt::Attempt;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};
use tokio::task::{JoinSet, spawn_blocking};
use wire::Hash;

const WHO_HAS_TIMEOUT: Duration = Duration::from_secs(2);

/// How far a fetch may go.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Largest content taken.
    pub bytes_max: u64,
    /// For the whole fetch.
    pub timeout: Duration,
    /// For one piece.
    pub piece_timeout: Duration,
    /// Pieces asked of one holder at once, at most 8.
    pub in_flight: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            bytes_max: BLOB_BYTES_MAX,
            timeout: Duration::from_secs(3600),
            piece_timeout: Duration::from_secs(20),
            in_flight: 4,
        }
    }
}

/// How a fetch went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// Bytes of the content.
    pub size: u64,
    /// Pieces that an earlier attempt had left.
    pub resumed: usize,
    /// Pieces that arrived, per holder.
    pub fetched: Vec<(String, usize)>,
    /// Pieces that arrived though they were there already.
    pub duplicates: usize,
    /// Holders that were dropped, and why.
    pub dropped: Vec<(String, String)>,
}

/// Why content could not be fetched. What arrived is kept for the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No holder delivered; those that were tried, and why they failed.
    #[error("no holder of {hash} among {dropped:?}")]
    NoHolders {
        /// The content.
        hash: Hash,
        /// Holders and reasons.
        dropped: Vec<(String, String)>,
    },
    /// Every holder failed before all pieces had arrived.
    #[error("{left} pieces of {hash} are missing; dropped {dropped:?}")]
    Incomplete {
        /// The content.
        hash: Hash,
        /// Pieces still missing.
        left: usize,
        /// Holders and reasons.
        dropped: Vec<(String, String)>,
    },
    /// Larger than the caller allows.
    #[error("content of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// [`FetchLimits::bytes_max`].
        limit: u64,
    },
    /// Not within [`FetchLimits::timeout`].
    #[error("not fetched in time")]
    Timeout,
    /// This node's own disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the handle needs for fetching.
#[derive(Debug)]
pub(crate) struct Fetcher {
    pub(crate) store: BlobStore,
    /// What fetches under way have, for others.
    pub(crate) sharing: Arc<Sharing>,
    /// Fetches under way, so that two of one content do not write one file.
    active: Mutex<HashMap<Hash, Weak<tokio::sync::Mutex<()>>>>,
}

impl Fetcher {
    pub(crate) fn new(store: BlobStore) -> Self {
        Self { store, sharing: Arc::default(), active: Mutex::default() }
    }

    pub(crate) fn turn(&self, hash: Hash) -> Arc<tokio::sync::Mutex<()>> {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = active.get(&hash).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        active.insert(hash, Arc::downgrade(&turn));
        turn
    }
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()), // it cannot be cancelled: we await it
    }
}

impl P2pHandle {
    /// The content of this node. Its calls block.
    #[must_use]
    pub fn blobs(&self) -> &BlobStore {
        &self.0.fetcher.store
    }

    /// Keeps content, off the runtime's threads. See [`BlobStore::put`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_blob(&self, content: Vec<u8>) -> Result<Hash, StoreError> {
        let store = self.blobs().clone();
        blocking(move || store.put(&content)).await
    }

    /// Reads content of this node, off the runtime's threads. See [`BlobStore::get`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get_blob(&self, hash: Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let store = self.blobs().clone();
        blocking(move || store.get(hash)).await
    }

    /// The connected peers that say they hold `hash`, after at most two seconds.
    pub async fn who_has(&self, hash: Hash) -> Vec<String> {
        let peers: Vec<String> = self.peers().borrow().iter().map(|p| p.peer_id.clone()).collect();
        let mut questions = JoinSet::new();
        for peer in peers {
            let handle = self.clone();
            questions.spawn(async move {
                let ask = Ask::Has(hash).encode();
                let answer = handle.request(Class::Blob, &peer, ask, WHO_HAS_TIMEOUT).await.ok()?;
                (Answer::decode(answer)? == Answer::Yes).then_some(peer)
            });
        }
        let mut holders: Vec<String> = questions.join_all().await.into_iter().flatten().collect();
        holders.sort();
        holders
    }

    /// Fetches content into this node's store: from `holders`, and from connected peers that are fetching it
    /// themselves, as soon as each has something; if those do not suffice, from whoever has it. What has arrived is
    /// served to others at once. Goes on where an earlier attempt stopped. Dropping the future stops the fetch. `size_hint`: a holder that claims another size is not believed.
    ///
    /// # Errors
    /// [`FetchError`]; then nothing is under the name.
    pub async fn fetch(
        &self,
        hash: Hash,
        size_hint: Option<u64>,
        holders: Vec<String>,
        limits: FetchLimits,
    ) -> Result<FetchReport, FetchError> {
        let fetch = async {
            let turn = self.0.fetcher.turn(hash);
            let _turn = turn.lock().await;
            if self.blobs().has(hash) {
                return Ok(FetchReport::default());
            }
            Attempt::new(self, hash, size_hint, limits).run(holders).await
        };
        tokio::time::timeout(limits.timeout, fetch).await.map_err(|_| FetchError::Timeout)?
    }
}
