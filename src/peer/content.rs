//! Content by its hash: models and segments.
//!
//! There are three verbs, here and in [`p2p`]. To *get* content reads it from the store of this node, which
//! may not have it. To *put* content writes it into that store. To *fetch* content copies it from other nodes
//! into that store.
//!
//! Invariant: bytes are checked and synced before any peer is notified that they are here.

use super::{
    context::{PeerContext, blocking},
    error::WorkError,
    nonsense::ContentKind,
    transfer::{self, TransferError, WantedContent, holders},
};
use crate::store::segment::SEGMENT_BYTES_MAX;
use cluster_state::{ModelId, NodeId, SegmentId};
use kernels::CHECKPOINT_BYTES_MAX;
use p2p::{
    blobs::BlobError,
    transfer::{FetchError, FetchLimits},
};
use std::{collections::BTreeSet, time::Duration};
use wire::Hash;

/// Maximum time for one way of transfer. The pieces that arrived are kept, and the next attempt continues
/// there.
pub(super) const FETCH: Duration = Duration::from_secs(120);

impl PeerContext {
    /// Returns a model, verified and kept: from this node, or from one of `holders` by the first way of
    /// transfer that succeeds. It has at most the size with which the cluster knows it.
    ///
    /// # Errors
    /// Returns [`WorkError`] when no node that can be reached has it, or it is known to be no model.
    pub async fn get_or_fetch_model(
        &self,
        model: ModelId,
        holders: &BTreeSet<NodeId>,
    ) -> Result<Vec<u8>, WorkError> {
        let size = self.raft.local().models.get(&model).map(|model| model.info.size);
        let most = size.unwrap_or(u64::MAX).min(CHECKPOINT_BYTES_MAX as u64);
        self.get_or_fetch(ContentKind::Model, (model.0, size, most), holders).await
    }

    /// Does the same as [`Self::get_or_fetch_model`] for a segment, which has the size with which the cluster
    /// knows it.
    ///
    /// # Errors
    /// Returns [`WorkError`] when no node that can be reached has it, or it is known to be no segment.
    pub async fn get_or_fetch_segment(
        &self,
        segment: SegmentId,
        holders: &BTreeSet<NodeId>,
    ) -> Result<Vec<u8>, WorkError> {
        let size = self.raft.local().segments.get(&segment).map(|segment| segment.bytes);
        let most = size.unwrap_or(u64::MAX).min(SEGMENT_BYTES_MAX as u64);
        self.get_or_fetch(ContentKind::Segment, (segment.0, size, most), holders).await
    }

    async fn get_or_fetch(
        &self,
        kind: ContentKind,
        (hash, size, most): (Hash, Option<u64>, u64),
        holders: &BTreeSet<NodeId>,
    ) -> Result<Vec<u8>, WorkError> {
        if self.nonsense.has(kind, hash) {
            return Err(WorkError::Nonsense(hash));
        }
        if let Some(bytes) = self.get_content(hash).await? {
            return Ok(bytes);
        }
        self.fetch_content(hash, size, most, holders).await?;
        self.get_content(hash).await?.ok_or(WorkError::Missing(hash))
    }

    /// Fetches content of this size into the store from these peers and others of the swarm, and by no other
    /// way.
    ///
    /// # Errors
    /// Returns [`FetchError`] when the swarm does not deliver it.
    pub async fn fetch_from_swarm(
        &self,
        hash: Hash,
        size: u64,
        peers: Vec<String>,
    ) -> Result<(), FetchError> {
        let limits = FetchLimits { bytes_max: size, timeout: FETCH, ..FetchLimits::default() };
        self.p2p.fetch(hash, Some(size), peers, limits).await?;
        Ok(())
    }

    /// Gets the content if it is here; a corrupt copy is moved aside and counts as missing.
    ///
    /// # Errors
    /// Returns [`WorkError`] when the disk fails.
    pub async fn get_content(&self, hash: Hash) -> Result<Option<Vec<u8>>, WorkError> {
        let blobs = self.blobs.clone();
        match blocking(move || blobs.get(hash)).await? {
            Err(error @ BlobError::Corrupt { .. }) => {
                tracing::error!(%hash, %error, "a corrupt copy was set aside; another will be fetched");
                Ok(None)
            }
            other => Ok(other?),
        }
    }

    /// Puts content into the store of this node.
    ///
    /// # Errors
    /// Returns [`WorkError`] when the disk fails.
    pub async fn put_content(&self, bytes: Vec<u8>) -> Result<Hash, WorkError> {
        let blobs = self.blobs.clone();
        Ok(blocking(move || blobs.put(&bytes)).await??)
    }

    /// Fetches content from `ids` into the store, verified and synced, by the first way of transfer that
    /// succeeds.
    ///
    /// # Errors
    /// Returns [`TransferError`] when every way of transfer has failed.
    pub(crate) async fn fetch_content(
        &self,
        hash: Hash,
        size: Option<u64>,
        bytes_max: u64,
        ids: &BTreeSet<NodeId>,
    ) -> Result<(), TransferError> {
        let holders = holders(&self.raft.local(), self.id, ids, |peer| self.p2p.is_local(peer));
        let wanted = WantedContent { hash, size, bytes_max };
        let outcome =
            Box::pin(transfer::fetch(&self.p2p, &self.signer, &self.settings.distribution, wanted, &holders))
                .await;
        match &outcome {
            Ok(None) => {}
            Ok(Some(way)) => {
                tracing::debug!(%hash, %way, "content is here");
                self.activity.update(|work| way.count(&mut work.transfers));
            }
            Err(_) => self.activity.update(|work| work.transfers.failed += 1),
        }
        outcome?;
        Ok(())
    }
}
