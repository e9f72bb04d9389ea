//! What other nodes have this node keep.
//!
//! Invariant: a segment counts as kept only after it passed the rules and is synced here. What a member has this node keep
//! and the cluster does not know is bounded.

use crate::{
    peer::{Context, WorkError, blocking, control::Keeper},
    store::{Segment, segment::SEGMENT_BYTES_MAX},
};
use futures::FutureExt;
use std::{collections::BTreeSet, sync::Arc};
use wire::Hash;

/// What answers the requests of other nodes to keep a segment.
pub(crate) fn keeper(node: &Context) -> Keeper {
    let node = Arc::clone(node);
    Arc::new(move |from, hash| {
        let node = Arc::clone(&node);
        async move { keep(&node, &from, hash).await }.boxed()
    })
}

async fn keep(node: &Context, from: &str, hash: Hash) -> Result<(), WorkError> {
    let state = node.raft.local();
    let owner = state.node_of_peer(from).ok_or_else(|| WorkError::Stranger(from.to_owned()))?.id;
    // From now on it is not old, so that it is not collected before it is registered.
    let blobs = node.blobs.clone();
    blocking(move || blobs.touch(hash)).await??;
    let stored = node.stored(hash).await?;
    // What was here before, or is known by that name, is not ours to remove: it may be a model.
    let ours = stored.is_none() && !state.models.contains_key(&hash) && state.segments.get(&hash).is_none();
    let bytes = match stored {
        Some(bytes) => bytes,
        None => {
            let known = |hash: &Hash| state.models.contains_key(hash) || state.segments.get(hash).is_some();
            let room = node.strays.left(from, known).min(SEGMENT_BYTES_MAX as u64);
            if room == 0 {
                return Err(WorkError::TooMuch(from.to_owned()));
            }
            node.bring(hash, None, room, &BTreeSet::from([owner])).await?;
            let bytes = node.stored(hash).await?.ok_or(WorkError::Missing(hash))?;
            node.strays.add(from, hash, bytes.len() as u64);
            bytes
        }
    };
    let checked = blocking(move || Segment::open(bytes).map(|_| ())).await?;
    if let Err(error) = checked {
        if ours {
            node.strays.remove(from, &hash);
            let blobs = node.blobs.clone();
            blocking(move || blobs.remove(hash)).await??;
        }
        return Err(error.into());
    }
    Ok(())
}
