//! Keeps segments for other nodes: the other side of [`super::register`].
//!
//! Invariant: a segment counts as kept only after it passed the rules and is synced on this node. A member
//! can make this node keep only a bounded amount that the cluster does not know.

use super::Segments;
use crate::{
    peer::{Context, WorkError, blocking, control::Keeper, quota::UnregisteredQuota},
    store::{Segment, segment::SEGMENT_BYTES_MAX},
};
use cluster_state::SegmentId;
use futures::FutureExt;
use std::{collections::BTreeSet, sync::Arc};

impl Segments {
    /// The function that answers the requests of other nodes to keep a segment.
    pub(crate) fn keeper(&self) -> Keeper {
        let segments = self.clone();
        Arc::new(move |from, hash| {
            let segments = segments.clone();
            async move { keep(&segments.0.node, &segments.0.quota, &from, SegmentId(hash)).await }.boxed()
        })
    }
}

/// Keeps a segment for the peer `from`.
async fn keep(
    node: &Context,
    quota: &UnregisteredQuota,
    from: &str,
    hash: SegmentId,
) -> Result<(), WorkError> {
    let state = node.raft.local();
    let owner = state.node_of_peer(from).ok_or_else(|| WorkError::Stranger(from.to_owned()))?.id;
    // From now on the content is not old, so that it is not collected before it is registered.
    let blobs = node.blobs.clone();
    blocking(move || blobs.touch(hash.0)).await??;
    let stored = node.get_content(hash.0).await?;
    // Content that was here before, or that the cluster knows by this hash, must not be removed because of
    // this peer: it may be a model.
    let removable = stored.is_none() && !state.knows(&hash.0);
    let bytes = match stored {
        Some(bytes) => bytes,
        None => {
            let left = quota.left(from, |hash| state.knows(hash)).min(SEGMENT_BYTES_MAX as u64);
            if left == 0 {
                return Err(WorkError::TooMuch(from.to_owned()));
            }
            node.fetch_content(hash.0, None, left, &BTreeSet::from([owner])).await?;
            let bytes = node.get_content(hash.0).await?.ok_or(WorkError::Missing(hash.0))?;
            quota.add(from, hash.0, bytes.len() as u64);
            bytes
        }
    };
    let checked = blocking(move || Segment::open(bytes).map(|_| ())).await?;
    if let Err(error) = checked {
        if removable {
            quota.remove(from, &hash.0);
            let blobs = node.blobs.clone();
            blocking(move || blobs.remove(hash.0)).await??;
        }
        return Err(error.into());
    }
    Ok(())
}
