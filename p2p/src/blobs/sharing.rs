//! The pieces of contents that this node is still fetching, for other peers to ask for.
//!
//! Invariant: a piece is given only after it was checked and written here, and it is checked again when it is
//! read.

use crate::blobs::{
    outline::Outline,
    partial::Partial,
    store::BlobError,
    tracker::{Offer, Tracker},
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};
use wire::Hash;

/// An unfinished fetch: the file that it writes, and which pieces are in it.
type Unfinished = (Arc<Partial>, Arc<Mutex<Tracker>>);

/// The fetches that are under way, by content.
#[derive(Debug, Default)]
pub(crate) struct Sharing(Mutex<HashMap<Hash, Unfinished>>);

impl Sharing {
    /// Serves what a fetch has, until the guard is dropped.
    pub(crate) fn share(
        self: &Arc<Self>,
        hash: Hash,
        partial: Arc<Partial>,
        tracker: Arc<Mutex<Tracker>>,
    ) -> SharingGuard {
        self.0.lock().insert(hash, (partial, tracker));
        SharingGuard { all: Arc::clone(self), hash }
    }

    fn of(&self, hash: Hash) -> Option<Unfinished> {
        self.0.lock().get(&hash).cloned()
    }

    /// Which pieces of the content are here; `None` if no fetch of it is under way.
    pub(crate) fn had(&self, hash: Hash) -> Option<Vec<bool>> {
        let (_, tracker) = self.of(hash)?;
        let had = tracker.lock().had();
        Some(had)
    }

    pub(crate) fn outline(&self, hash: Hash) -> Option<Outline> {
        self.of(hash).map(|(partial, _)| partial.outline().clone())
    }

    /// The bytes of a piece, if it is here.
    pub(crate) fn piece(&self, hash: Hash, index: usize) -> Result<Option<Vec<u8>>, BlobError> {
        let Some((partial, tracker)) = self.of(hash) else { return Ok(None) };
        let here = tracker.lock().has(index);
        if here { partial.read(index) } else { Ok(None) }
    }
}

/// A fetch is shared as long as its guard lives.
#[derive(Debug)]
pub(crate) struct SharingGuard {
    all: Arc<Sharing>,
    hash: Hash,
}

impl Drop for SharingGuard {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.hash);
    }
}

/// The bitfield that tells a peer which pieces are here: one bit for each piece, the first piece in the
/// lowest bit of the first byte.
pub(crate) fn pack(had: &[bool]) -> Vec<u8> {
    let byte = |eight: &[bool]| eight.iter().rev().fold(0, |byte, had| byte << 1 | u8::from(*had));
    had.chunks(8).map(byte).collect()
}

/// Reads the bitfield of a content of `count` pieces. A bitfield of another length counts as no piece.
pub(crate) fn unpack(bytes: &[u8], count: usize) -> Offer {
    if bytes.len() != count.div_ceil(8) {
        return Offer::Nothing;
    }
    Offer::Some((0..count).map(|index| bytes[index / 8] >> (index % 8) & 1 == 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_are_told_and_read_back(had in prop::collection::vec(any::<bool>(), 1..100), more in any::<u8>()) {
            let mut bytes = pack(&had);
            prop_assert_eq!(unpack(&bytes, had.len()), Offer::Some(had.clone()));
            bytes.push(more);
            prop_assert_eq!(unpack(&bytes, had.len()), Offer::Nothing);
            prop_assert_eq!(unpack(&[], had.len()), Offer::Nothing);
        }
    }

    #[test]
    fn golden_bytes() {
        let mut had = [false; 10];
        (had[0], had[3], had[9]) = (true, true, true);
        assert_eq!(pack(&had), [0b0000_1001, 0b0000_0010]);
    }
}
