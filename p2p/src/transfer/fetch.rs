//! Fetches content from several peers at once.
//!
//! Invariant: a piece counts only after its hash was checked. A peer that delivers a wrong one is dropped,
//! and so is one that fails again and again; the others go on. What arrived stays on disk for the next
//! attempt, and is served to other peers from the moment it was checked.

use crate::{
    class::Class,
    handle::P2pHandle,
    transfer::{
        attempt::FetchAttempt,
        error::FetchError,
        limits::{FetchLimits, FetchReport},
        protocol::{BlobAnswer, BlobQuestion},
    },
};
use std::time::Duration;
use tokio::task::JoinSet;
use tracing::Instrument;
use wire::Hash;

/// How long [`P2pHandle::who_has`] waits for the peers' answers.
const WHO_HAS_TIMEOUT: Duration = Duration::from_secs(2);

impl P2pHandle {
    /// The connected peers that say within two seconds that they have the whole content `hash`, sorted by id.
    pub async fn who_has(&self, hash: Hash) -> Vec<String> {
        let peers: Vec<String> = self.peers().borrow().iter().map(|p| p.peer_id.clone()).collect();
        let mut questions = JoinSet::new();
        for peer in peers {
            let handle = self.clone();
            questions.spawn(async move {
                let ask = BlobQuestion::Has(hash).encode();
                let answer = handle.request(Class::Blob, &peer, ask, WHO_HAS_TIMEOUT).await.ok()?;
                (BlobAnswer::decode(answer)? == BlobAnswer::Yes).then_some(peer)
            });
        }
        let mut holders: Vec<String> = questions.join_all().await.into_iter().flatten().collect();
        holders.sort();
        holders
    }

    /// Fetches content into this node's store, from `holders` and from connected peers that are fetching it
    /// as well. If these do not suffice, it asks all connected peers whether they have it. The fetch goes on
    /// where an earlier attempt stopped, and serves what has arrived to other peers at once. Dropping the
    /// future stops it. A holder that claims another size than `size_hint` is not believed.
    ///
    /// # Errors
    /// [`FetchError`]; the store then has nothing under this name.
    pub async fn fetch(
        &self,
        hash: Hash,
        size_hint: Option<u64>,
        holders: Vec<String>,
        limits: FetchLimits,
    ) -> Result<FetchReport, FetchError> {
        let fetch = async {
            let turn = self.0.content.turn(hash);
            let _turn = turn.lock().await;
            if self.blobs().has(hash) {
                return Ok(FetchReport::default());
            }
            FetchAttempt::new(self, hash, size_hint, limits).run(holders).await
        };
        let span = tracing::debug_span!("fetch", content = %hash.short());
        tokio::time::timeout(limits.timeout, fetch.instrument(span)).await.map_err(|_| FetchError::Timeout)?
    }
}
