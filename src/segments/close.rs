//! Closes segments: finished games become content of this node.
//!
//! Invariant: a closed segment is synced here before it is listed as pending, and it stays listed until the cluster has
//! acknowledged it. One whose listing was cut short is found among the content at the next start.

use super::tell;
use crate::{
    peer::{Context, WorkError, blocking},
    store::{GameRecord, PendingSegment, Segment, Source},
};
use std::sync::Arc;
use wire::Hash;

/// Closes a segment of games of `model`: it is synced here and listed to be acknowledged.
///
/// # Errors
/// [`WorkError`] when the games do not make a segment or the disk fails; then nothing is listed.
pub(crate) async fn close(
    node: &Context,
    key: &str,
    source: Source,
    model: Hash,
    games: Vec<GameRecord>,
) -> Result<PendingSegment, WorkError> {
    let (config_key, me) = (key.to_owned(), node.id);
    let segment = blocking(move || Segment::build(&config_key, source, model, me, games)).await??;
    let pending = PendingSegment::from(&segment);
    node.keep(segment.into_bytes()).await?;
    let (list, row) = (Arc::clone(&node.pending), pending.clone());
    blocking(move || list.add_pending(&row)).await??;
    Ok(pending)
}

/// Closes a segment of self-play, tells the others of it, and wakes the daemon that has it acknowledged.
///
/// # Errors
/// [`WorkError`] when the games do not make a segment, or the disk fails.
pub(crate) async fn close_selfplay(
    node: &Context,
    key: &str,
    model: Hash,
    games: Vec<GameRecord>,
) -> Result<(), WorkError> {
    close(node, key, Source::Selfplay, model, games).await?;
    tell::tell(node).await?;
    node.nudge.notify_one();
    Ok(())
}
