//! Keeps segments for other nodes: the other side of [`super::register`].
//!
//! Invariant: a segment counts as kept only after it passed the rules and is synced on this node; then this
//! node signs a receipt for what it has counted. A member can make this node keep only a bounded amount that
//! the cluster does not know, and compute only on threads of the lowest priority.

use super::{Segments, SegmentsInner, receipt};
use crate::{
    compute,
    peer::{ContentKind, Context, WorkError, blocking, control::Keeper, quota::UnregisteredQuota},
    store::{
        GameKind, Segment,
        segment::{SEGMENT_BYTES_MAX, SegmentGame},
    },
};
use cluster_state::{NodeId, SegmentId, Signature};
use futures::FutureExt;
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::Semaphore;

impl Segments {
    /// The function that answers the requests of other nodes to keep a segment.
    pub(crate) fn keeper(&self) -> Keeper {
        let segments = self.clone();
        Arc::new(move |from, hash| {
            let segments = segments.clone();
            async move {
                let SegmentsInner { node, quota, checks, .. } = &*segments.0;
                keep(node, quota, checks, &from, SegmentId(hash)).await
            }
            .boxed()
        })
    }
}

/// Checks a segment that node `owner` wants kept: its games are valid, `owner` played them, and those of
/// self-play say how, because others could not make their decisions again.
fn check(bytes: Vec<u8>, owner: NodeId) -> Result<Segment, WorkError> {
    let segment = Segment::open(bytes)?;
    let says = |game: &SegmentGame| game.record.played.is_some() || game.record.kind != GameKind::Selfplay;
    if segment.header().node == owner && segment.games().iter().all(says) {
        Ok(segment)
    } else {
        Err(WorkError::Unkept)
    }
}

/// Whether the content is no segment at all. What opens is one, whoever asks: its player may be asking others
/// to keep it at this moment.
fn is_nonsense(error: &WorkError) -> bool {
    matches!(error, WorkError::Segment(error) if !error.is_foreign())
}

/// Keeps a segment for the peer `from`.
async fn keep(
    node: &Context,
    quota: &Arc<UnregisteredQuota>,
    checks: &Semaphore,
    from: &str,
    hash: SegmentId,
) -> Result<Signature, WorkError> {
    let state = node.raft.local();
    let owner = state.node_of_peer(from).ok_or_else(|| WorkError::Stranger(from.to_owned()))?.id;
    if node.nonsense.has(ContentKind::Segment, hash.0) {
        return Err(WorkError::Nonsense(hash.0));
    }
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
            let (book, peer) = (Arc::clone(quota), from.to_owned());
            let room = blocking(move || {
                book.make_room(&peer, hash.0, (1, SEGMENT_BYTES_MAX as u64), |hash| state.knows(hash))
            });
            let room = room.await??.ok_or_else(|| WorkError::TooMuch(from.to_owned()))?;
            node.fetch_content(hash.0, None, room.bytes(), &BTreeSet::from([owner])).await?;
            node.get_content(hash.0).await?.ok_or(WorkError::Missing(hash.0))?
        }
    };
    let checked = {
        // A hostile segment may take minutes: it delays other segments, and nothing else.
        let _turn = checks.acquire().await.map_err(|_| WorkError::Stopped)?;
        let signer = node.signer.clone();
        let check = compute::spawn("segment-check", move || {
            check(bytes, owner).map(|segment| receipt::sign(&signer, &segment.facts()))
        });
        let checked = check.map_err(WorkError::NoThread)?;
        checked.await.map_err(|_| WorkError::Panicked("segment checks"))?
    };
    match checked {
        Ok(signature) => signature,
        Err(error) => {
            if removable && is_nonsense(&error) {
                node.drop_nonsense(ContentKind::Segment, hash.0).await?;
            }
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture;
    use cluster_state::Source;

    #[test]
    fn a_sound_segment_of_another_player_is_refused_and_no_nonsense() {
        let games = (0..2).map(|seed| fixture::game("hex8_2p", seed)).collect();
        let (key, model) = ("hex8_2p".into(), fixture::model());
        let segment = Segment::build(&key, Source::Selfplay, model, NodeId(1), games).unwrap();
        let refused = check(segment.bytes().to_vec(), NodeId(2)).unwrap_err();
        assert!(matches!(refused, WorkError::Unkept) && !is_nonsense(&refused), "{refused}");
        let garbage = check(b"nonsense".to_vec(), NodeId(1)).unwrap_err();
        assert!(is_nonsense(&garbage), "{garbage}");
    }
}
