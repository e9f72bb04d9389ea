//! Closes segments: finished games become content of this node.
//!
//! Invariant: a closed segment is synced here before it is listed as pending, and it stays
//! listed until the cluster has acknowledged it. If a kill comes between the two, the segment is
//! found among the content at the next start.

use super::Segments;
use crate::{
    peer::{WorkError, blocking},
    store::{GameRecord, PendingSegment, PendingSegments, Segment, Source},
};
use cluster_state::ModelId;
use p2p::blobs::BlobStore;
use std::sync::Arc;

impl Segments {
    /// Closes a segment of games that `model` played: it is synced here and listed to be acknowledged.
    ///
    /// # Errors
    /// [`WorkError`] when the games do not make a segment or the disk fails; then nothing is listed.
    pub async fn close(
        &self,
        key: &str,
        source: Source,
        model: ModelId,
        games: Vec<GameRecord>,
    ) -> Result<PendingSegment, WorkError> {
        let node = &self.0.node;
        let (config_key, me) = (key.to_owned(), node.id);
        let segment = blocking(move || Segment::build(&config_key, source, model, me, games)).await??;
        in_order(&node.blobs, &self.0.pending, segment).await
    }

    /// Closes a segment of self-play, tells the others of it, and has it acknowledged soon.
    ///
    /// # Errors
    /// [`WorkError`] when the games do not make a segment, or the disk fails.
    pub async fn close_selfplay(
        &self,
        key: &str,
        model: ModelId,
        games: Vec<GameRecord>,
    ) -> Result<(), WorkError> {
        self.close(key, Source::Selfplay, model, games).await?;
        self.tell().await?;
        self.0.acknowledge.wake();
        Ok(())
    }
}

/// The steps in the order on which the invariant rests.
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
