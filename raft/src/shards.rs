//! A map from content hash to value that is cheap to copy.
//!
//! Invariant: two copies share every shard that neither has changed since. A copy costs 256 pointers, a change the
//! pointers of one shard, so readers keep whole states while the state machine goes on.

use std::{collections::BTreeMap, sync::Arc};
use wire::Hash;

const SHARDS: usize = 256;

type Shard<V> = Arc<BTreeMap<Hash, Arc<V>>>;

/// Copy-on-write map keyed by [`Hash`], in hash order.
#[derive(Clone, Debug)]
pub struct Shards<V> {
    shards: Arc<[Shard<V>]>,
    len: usize,
}

impl<V> Default for Shards<V> {
    fn default() -> Self {
        let empty = Shard::default();
        Self { shards: (0..SHARDS).map(|_| Arc::clone(&empty)).collect(), len: 0 }
    }
}

impl<V: PartialEq> PartialEq for Shards<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<V> Shards<V> {
    /// Entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// No entries?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &Hash) -> Option<&V> {
        self.shards[usize::from(key.0[0])].get(key).map(Arc::as_ref)
    }

    /// Whether `key` has a value.
    #[must_use]
    pub fn contains_key(&self, key: &Hash) -> bool {
        self.get(key).is_some()
    }

    /// All entries in hash order.
    pub fn iter(&self) -> impl Iterator<Item = (&Hash, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter().map(|(hash, value)| (hash, value.as_ref())))
    }

    /// Adds or replaces a value.
    pub(crate) fn insert(&mut self, key: Hash, value: V) {
        let shard = self.shard_mut(&key);
        if Arc::make_mut(shard).insert(key, Arc::new(value)).is_none() {
            self.len += 1;
        }
    }

    /// A value to change in place.
    pub(crate) fn get_mut(&mut self, key: &Hash) -> Option<&mut V>
    where
        V: Clone,
    {
        if !self.contains_key(key) {
            return None;
        }
        Arc::make_mut(self.shard_mut(key)).get_mut(key).map(Arc::make_mut)
    }

    /// Entries of `self` that `before` lacks or has with another value.
    pub(crate) fn changed_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (&'a Hash, &'a V)> {
        let same = Arc::ptr_eq(&self.shards, &before.shards);
        self.shards
            .iter()
            .zip(before.shards.iter())
            .filter(move |(now, then)| !same && !Arc::ptr_eq(now, then))
            .flat_map(|(now, then)| {
                now.iter()
                    .filter(|(hash, value)| !then.get(*hash).is_some_and(|old| Arc::ptr_eq(value, old)))
                    .map(|(hash, value)| (hash, value.as_ref()))
            })
    }

    fn shard_mut(&mut self, key: &Hash) -> &mut Shard<V> {
        if Arc::get_mut(&mut self.shards).is_none() {
            self.shards = self.shards.iter().cloned().collect();
        }
        let shards = Arc::get_mut(&mut self.shards).expect("just made unique");
        &mut shards[usize::from(key.0[0])]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_independent_and_differences_are_found() {
        let keys: Vec<Hash> = (0..1000u32).map(|i| Hash::of(&i.to_le_bytes())).collect();
        let mut map = Shards::default();
        for (i, key) in keys.iter().enumerate() {
            map.insert(*key, i);
        }
        let before = map.clone();
        assert_eq!(map.changed_since(&before).count(), 0);
        *map.get_mut(&keys[7]).unwrap() = 70;
        map.insert(Hash([9; 32]), 9);
        assert_eq!((map.len(), before.len()), (1001, 1000));
        assert_eq!((map.get(&keys[7]), before.get(&keys[7])), (Some(&70), Some(&7)));
        let mut changed: Vec<_> = map.changed_since(&before).map(|(_, v)| *v).collect();
        changed.sort_unstable();
        assert_eq!(changed, [9, 70]);
        assert!(map.get_mut(&Hash([0; 32])).is_none() && map != before);
        assert!(map.iter().map(|(hash, _)| hash).is_sorted());
    }
}
