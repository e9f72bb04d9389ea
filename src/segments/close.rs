//! Closes segments: finished games become content of this node.
//!
//! Invariant: a closed segment is synced on this node before it is listed as pending, and it stays listed
//! until the cluster has acknowledged it. After a kill between the two, the next start finds the segment
//! among the content.

use super::Segments;
use crate::{
    peer::{WorkError, blocking},
    store::{GameRecord, PendingSegment, PendingSegments, Segment},
};
use cluster_state::{ConfigKey, ModelId, Source};
use p2p::blobs::BlobStore;
use std::sync::Arc;

impl Segments {
    /// Closes a segment of games that `model` played: it is synced on this node and listed as pending.
    ///
    /// # Errors
    /// [`WorkError`] when the games do not make a segment or the disk fails; then nothing is listed.
    pub async fn close(
        &self,
        config_key: &ConfigKey,
        source: Source,
        model: ModelId,
        games: Vec<GameRecord>,
    ) -> Result<PendingSegment, WorkError> {
        let node = &self.0.node;
        let (config_key, me) = (config_key.clone(), node.id);
        let segment = blocking(move || Segment::build(&config_key, source, model, me, games)).await??;
        in_order(&node.blobs, &self.0.pending, segment).await
    }

    /// Closes a segment of self-play, emits its event to the others, and wakes the daemon that gets it
    /// acknowledged.
    ///
    /// # Errors
    /// [`WorkError`] when the games do not make a segment, or the disk fails.
    pub async fn close_selfplay(
        &self,
        config_key: &ConfigKey,
        model: ModelId,
        games: Vec<GameRecord>,
    ) -> Result<(), WorkError> {
        self.close(config_key, Source::Selfplay, model, games).await?;
        self.emit_played().await?;
        self.0.acknowledge.wake();
        Ok(())
    }
}

/// Runs the steps in the order on which the invariant depends.
pub(super) async fn in_order(
    blobs: &BlobStore,
    list: &Arc<PendingSegments>,
    segment: Segment,
) -> Result<PendingSegment, WorkError> {
    let pending = PendingSegment::from(&segment);
    let (blobs, bytes) = (blobs.clone(), segment.into_bytes());
    blocking(move || blobs.put(&bytes)).await??;
    let (list, row) = (Arc::clone(list), pending.clone());
    blocking(move || list.add_pending(&row)).await??;
    Ok(pending)
}
