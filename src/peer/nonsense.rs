//! Content that turned out not to be what the cluster takes it for.
//!
//! Invariant: a hash names its bytes, so what is nonsense as a model or as a segment is so for ever, and
//! nobody can make a sound one nonsense. What only a program of another version can read is none: it may be
//! sound. The number of hashes that are remembered is bounded: the newest.

use super::{
    context::{PeerContext, blocking},
    error::WorkError,
};
use cluster_state::{ModelId, SegmentId};
use parking_lot::Mutex;
use std::collections::{BTreeSet, VecDeque};
use wire::Hash;

/// Most hashes that are remembered. A forgotten one is fetched once more, and found out again.
const REMEMBERED_MAX: usize = 4096;

/// What a content is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContentKind {
    Model,
    Segment,
}

/// What this process has found out.
#[derive(Debug, Default)]
pub struct Nonsense(Mutex<NonsenseNames>);

#[derive(Debug, Default)]
struct NonsenseNames {
    all: BTreeSet<(ContentKind, Hash)>,
    /// The same, oldest first.
    order: VecDeque<(ContentKind, Hash)>,
}

impl Nonsense {
    fn add(&self, kind: ContentKind, hash: Hash) {
        let NonsenseNames { all, order } = &mut *self.0.lock();
        if all.insert((kind, hash)) {
            order.push_back((kind, hash));
        }
        while order.len() > REMEMBERED_MAX {
            if let Some(oldest) = order.pop_front() {
                all.remove(&oldest);
            }
        }
    }

    /// Whether a content is known not to be of this kind.
    #[must_use]
    pub fn has(&self, kind: ContentKind, hash: Hash) -> bool {
        self.0.lock().all.contains(&(kind, hash))
    }
}

impl PeerContext {
    /// Remembers that a content is not of this kind, so that it is not fetched as one again, and removes it,
    /// unless the cluster knows it as the other kind.
    ///
    /// # Errors
    /// Returns [`WorkError`] when the disk fails.
    pub(crate) async fn drop_nonsense(&self, kind: ContentKind, hash: Hash) -> Result<(), WorkError> {
        self.nonsense.add(kind, hash);
        let state = self.raft.local();
        let is_other = match kind {
            ContentKind::Model => state.segments.contains_key(&SegmentId(hash)),
            ContentKind::Segment => state.models.contains_key(&ModelId(hash)),
        };
        if is_other {
            return Ok(());
        }
        tracing::warn!(%hash, ?kind, "content is not what it was said to be and was removed");
        let blobs = self.blobs.clone();
        Ok(blocking(move || blobs.remove(hash)).await??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_by_kind() {
        let (nonsense, hash) = (Nonsense::default(), |number: usize| Hash::of(&number.to_le_bytes()));
        let has = |kind, number| nonsense.has(kind, hash(number));
        (0..REMEMBERED_MAX).for_each(|number| nonsense.add(ContentKind::Segment, hash(number)));
        nonsense.add(ContentKind::Segment, hash(0));
        assert!(has(ContentKind::Segment, 0) && !has(ContentKind::Model, 0));
        nonsense.add(ContentKind::Model, hash(0));
        assert!(!has(ContentKind::Segment, 0) && has(ContentKind::Model, 0), "the oldest is forgotten");
        assert!(has(ContentKind::Segment, 1));
    }
}
