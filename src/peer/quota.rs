//! The quota of content that a member may have this node keep before the cluster knows the content.
//!
//! Invariant: what this node keeps for a member and the cluster has not registered is bounded in bytes and in
//! number. After a restart the process has forgotten such content; garbage collection removes it when it is
//! old.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use wire::Hash;

/// Maximum number of bytes that are kept for one member.
const BYTES_MAX: u64 = 512 << 20;
/// Maximum number of contents that are kept for one member.
const CONTENTS_MAX: usize = 1024;

/// The content that this node keeps for its peers and that the cluster did not know at the time: sizes in
/// bytes, by peer and content.
#[derive(Default)]
pub(crate) struct UnregisteredQuota(Mutex<BTreeMap<String, BTreeMap<Hash, u64>>>);

impl UnregisteredQuota {
    /// Bytes that a peer may still have this node keep. A content that is `known` by now does not count any
    /// more.
    pub(crate) fn left(&self, peer: &str, known: impl Fn(&Hash) -> bool) -> u64 {
        let mut all = self.0.lock();
        let Some(kept) = all.get_mut(peer) else { return BYTES_MAX };
        kept.retain(|hash, _| !known(hash));
        if kept.len() >= CONTENTS_MAX {
            return 0;
        }
        BYTES_MAX.saturating_sub(kept.values().sum())
    }

    /// Counts a content of `size` bytes against the quota of a peer.
    pub(crate) fn add(&self, peer: &str, hash: Hash, size: u64) {
        self.0.lock().entry(peer.to_owned()).or_default().insert(hash, size);
    }

    /// Frees the quota of a content that was removed.
    pub(crate) fn remove(&self, peer: &str, hash: &Hash) {
        if let Some(kept) = self.0.lock().get_mut(peer) {
            kept.remove(hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_can_have_only_so_much_kept_that_nobody_knows() {
        let quota = UnregisteredQuota::default();
        let name = |number: usize| Hash::of(&number.to_le_bytes());
        let left = |peer, known: &[Hash]| quota.left(peer, |hash| known.contains(hash));
        assert_eq!(left("a", &[]), BYTES_MAX);
        quota.add("a", name(1), BYTES_MAX - 10);
        quota.add("a", name(2), 4);
        assert_eq!(left("a", &[]), 6);
        quota.add("a", name(3), 60);
        assert_eq!((left("a", &[]), left("b", &[])), (0, BYTES_MAX));
        assert_eq!(left("a", &[name(1), name(2)]), BYTES_MAX - 60, "registered since");
        quota.remove("a", &name(3));
        assert_eq!(left("a", &[]), BYTES_MAX);
        (0..CONTENTS_MAX).for_each(|number| quota.add("a", name(number), 0));
        assert_eq!(left("a", &[]), 0);
    }
}
