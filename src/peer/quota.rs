//! The quota of disk that a member may have this node fill with content that the cluster does not know.
//!
//! Invariant: before the first byte of such a content arrives it is counted against whoever announced or
//! offered it, with the most that it may become; afterwards with what is on the disk, unfinished or whole.
//! The sum of a member is bounded in bytes and in number, also across a restart. What the cluster knows does
//! not count, and neither does what is gone.

use crate::{
    clock::now_ms,
    store::{self, DbError, KeptForPeers},
};
use p2p::blobs::{BlobError, BlobStore};
use parking_lot::Mutex;
use std::{collections::BTreeMap, path::Path, sync::Arc};
use wire::Hash;

/// Maximum number of contents that are kept for one member.
const CONTENTS_MAX: usize = 1024;

/// Why the account cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum QuotaError {
    #[error(transparent)]
    Account(#[from] DbError),
    #[error(transparent)]
    Disk(#[from] BlobError),
}

/// Opens the account. A damaged one is moved away, because what it counted is collected when it is old.
///
/// # Errors
/// When the file can neither be used nor moved.
pub(crate) fn open_account(path: &Path) -> Result<KeptForPeers, DbError> {
    match KeptForPeers::open(path) {
        Err(DbError::Corrupt { detail, .. }) => {
            let aside = store::set_aside(path, &now_ms().to_string())?;
            tracing::error!(aside = %aside.display(), detail, "the account of what peers have kept was damaged");
            KeptForPeers::open(path)
        }
        outcome => outcome,
    }
}

/// The content that this node keeps for its peers and that the cluster does not know. Its calls block.
pub(crate) struct UnregisteredQuota {
    kept: KeptForPeers,
    blobs: BlobStore,
    bytes_max: u64,
    /// Fetches that are under way: how many bytes each may bring.
    arriving: Mutex<BTreeMap<(String, Hash), u64>>,
}

/// Room for a content that is fetched for a member. Once it is dropped, what is on the disk counts.
pub(crate) struct Room {
    quota: Arc<UnregisteredQuota>,
    peer: String,
    hash: Hash,
    bytes: u64,
}

impl Room {
    /// The most that may arrive, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.quota.arriving.lock().remove(&(std::mem::take(&mut self.peer), self.hash));
    }
}

impl UnregisteredQuota {
    /// The quota of each member, `bytes_max`, over an account and the store that it counts.
    pub(crate) fn new(kept: KeptForPeers, blobs: BlobStore, bytes_max: u64) -> Self {
        Self { kept, blobs, bytes_max, arriving: Mutex::default() }
    }

    /// Makes room for a content of at least `least` and at most `most` bytes that `peer` wants kept; none if
    /// the peer has used up its share, or this content is being fetched for it already. `known` says what the
    /// cluster knows.
    ///
    /// # Errors
    /// Returns [`QuotaError`] when the account or the disk cannot be read.
    pub(crate) fn make_room(
        self: &Arc<Self>,
        peer: &str,
        hash: Hash,
        (least, most): (u64, u64),
        known: impl Fn(&Hash) -> bool,
    ) -> Result<Option<Room>, QuotaError> {
        let mut arriving = self.arriving.lock();
        let key = (peer.to_owned(), hash);
        if arriving.contains_key(&key) {
            return Ok(None);
        }
        let (mut count, mut taken) = (0, 0u64);
        for (other, bytes) in self.counted(peer, &arriving, known)? {
            if other != hash {
                count += 1;
                taken = taken.saturating_add(bytes);
            }
        }
        let bytes = self.bytes_max.saturating_sub(taken).min(most);
        if count >= CONTENTS_MAX || bytes < least.max(1) {
            return Ok(None);
        }
        self.kept.set(peer, &hash, bytes)?;
        arriving.insert(key, bytes);
        drop(arriving);
        Ok(Some(Room { quota: Arc::clone(self), peer: peer.to_owned(), hash, bytes }))
    }

    /// What counts for a peer now. The account forgets what does not.
    fn counted(
        &self,
        peer: &str,
        arriving: &BTreeMap<(String, Hash), u64>,
        known: impl Fn(&Hash) -> bool,
    ) -> Result<Vec<(Hash, u64)>, QuotaError> {
        let mut counted = Vec::new();
        for (hash, noted) in self.kept.of(peer)? {
            let bytes = match arriving.get(&(peer.to_owned(), hash)) {
                Some(bytes) => *bytes,
                None if known(&hash) => 0,
                None => self.blobs.bytes_on_disk(hash)?,
            };
            if bytes == 0 {
                self.kept.remove(peer, &hash)?;
                continue;
            }
            if bytes != noted {
                self.kept.set(peer, &hash, bytes)?;
            }
            counted.push((hash, bytes));
        }
        Ok(counted)
    }

    /// Brings the account of every peer up to date.
    ///
    /// # Errors
    /// Returns [`QuotaError`] when the account or the disk cannot be read.
    pub(crate) fn settle(&self, known: impl Fn(&Hash) -> bool) -> Result<(), QuotaError> {
        for peer in self.kept.peers()? {
            let arriving = self.arriving.lock();
            self.counted(&peer, &arriving, &known)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use p2p::blobs::{Outline, PIECE_BYTES};

    const MAX: u64 = 10 << 20;

    fn open(folder: &Path) -> Arc<UnregisteredQuota> {
        let kept = KeptForPeers::open(&folder.join("kept.db")).unwrap();
        let blobs = BlobStore::open(&folder.join("blobs")).unwrap();
        Arc::new(UnregisteredQuota::new(kept, blobs, MAX))
    }

    /// Content that no other number has.
    fn content(number: u64, bytes: usize) -> Vec<u8> {
        [&number.to_le_bytes()[..], &vec![7; bytes - 8]].concat()
    }

    /// How much a peer may still have kept, asked for with a content of its own.
    fn left(quota: &Arc<UnregisteredQuota>, peer: &str, known: &[Hash]) -> u64 {
        let room = quota.make_room(peer, Hash::of(b"probe"), (1, u64::MAX), |hash| known.contains(hash));
        room.unwrap().map_or(0, |room| room.bytes())
    }

    /// What a transfer leaves to which the last piece but one never came.
    fn leave_unfinished(folder: &Path, bytes: &[u8]) -> Hash {
        let (hash, outline) = (Hash::of(bytes), Outline::read(bytes, 0).unwrap());
        let path = |kind: &str| folder.join("blobs/partial").join(format!("{hash}.{kind}"));
        std::fs::write(path("outline"), outline.encode().unwrap()).unwrap();
        std::fs::File::create(path("part")).unwrap().set_len(outline.size()).unwrap();
        hash
    }

    #[test]
    fn what_is_kept_for_a_member_is_bounded_whole_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let quota = open(folder.path());
        assert_eq!(left(&quota, "a", &[]), MAX);
        let whole = content(1, 4 << 20);
        let room = quota.make_room("a", Hash::of(&whole), (1, 64 << 20), |_| false).unwrap().unwrap();
        assert_eq!((room.bytes(), left(&quota, "a", &[])), (MAX, 0), "it may become as large");
        assert_eq!(left(&quota, "b", &[]), MAX, "others have their own");
        quota.blobs.put(&whole).unwrap();
        drop(room);
        assert_eq!(left(&quota, "a", &[]), MAX - (4 << 20));
        // A holder that keeps the last pieces back has what it sent counted as if it were whole.
        let bytes = content(2, 3 * PIECE_BYTES);
        let room = quota.make_room("a", Hash::of(&bytes), (1, 3 << 20), |_| false).unwrap().unwrap();
        let unfinished = leave_unfinished(folder.path(), &bytes);
        drop(room);
        let after = left(&quota, "a", &[]);
        assert!((2 << 20..3 << 20).contains(&after), "with its outline: {after}");
        // The account is the same after a restart.
        drop(quota);
        let quota = open(folder.path());
        assert_eq!(left(&quota, "a", &[]), after);
        assert!(quota.make_room("a", Hash::of(b"x"), (after + 1, 64 << 20), |_| false).unwrap().is_none());
        // What the cluster knows counts no more, and neither does what is gone.
        assert_eq!(left(&quota, "a", &[Hash::of(&whole)]), after + (4 << 20));
        quota.blobs.remove(unfinished).unwrap();
        assert_eq!(left(&quota, "a", &[]), MAX);
    }

    #[test]
    fn a_content_is_fetched_once_at_a_time_for_a_member_and_their_number_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let quota = open(folder.path());
        let make =
            |number: u64| quota.make_room("a", Hash::of(&number.to_le_bytes()), (1, 9), |_| false).unwrap();
        let first = make(0);
        assert!(first.is_some() && make(0).is_none());
        drop(first);
        let mut rooms: Vec<Room> = (0..CONTENTS_MAX as u64).filter_map(make).collect();
        assert_eq!(rooms.len(), CONTENTS_MAX);
        assert!(make(CONTENTS_MAX as u64).is_none());
        rooms.clear();
        quota.settle(|_| false).unwrap();
        assert_eq!(quota.kept.peers().unwrap(), Vec::<String>::new(), "nothing arrived");
    }
}
