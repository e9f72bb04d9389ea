//! A map from content hash to value that is cheap to copy.
//!
//! Invariant: two copies share every leaf that neither has changed since. A copy costs one pointer; a change
//! costs the pointers of two nodes and one leaf of a few entries. So neither grows with the map, and readers
//! can keep whole states while the state machine continues.

use std::{collections::BTreeMap, sync::Arc};

/// Branches of a node: one for each value of a byte of the hash.
const WIDTH: usize = 256;

type Leaf<K, V> = Arc<BTreeMap<K, Arc<V>>>;
/// The leaves of the hashes with one first byte; none before the first entry.
type Branch<K, V> = Option<Arc<[Leaf<K, V>]>>;

/// A copy-on-write map keyed by a hash, in hash order.
#[derive(Clone, Debug)]
pub struct Shards<K, V> {
    root: Arc<[Branch<K, V>]>,
    len: usize,
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self { root: (0..WIDTH).map(|_| None).collect(), len: 0 }
    }
}

impl<K: AsRef<[u8; 32]> + Copy + Ord, V: PartialEq> PartialEq for Shards<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && (Arc::ptr_eq(&self.root, &other.root) || self.iter().eq(other.iter()))
    }
}

impl<K: AsRef<[u8; 32]> + Copy + Ord, V> Shards<K, V> {
    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the map has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.leaf(key)?.get(key).map(Arc::as_ref)
    }

    /// Whether `key` has a value.
    #[must_use]
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// All entries in hash order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.root
            .iter()
            .flatten()
            .flat_map(|leaves| leaves.iter())
            .flat_map(|leaf| leaf.iter().map(|(hash, value)| (hash, value.as_ref())))
    }

    /// Adds or replaces a value.
    pub fn insert(&mut self, key: K, value: V) {
        let leaf = self.leaf_mut(&key);
        if Arc::make_mut(leaf).insert(key, Arc::new(value)).is_none() {
            self.len += 1;
        }
    }

    /// A value to change in place.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V>
    where
        V: Clone,
    {
        if !self.contains_key(key) {
            return None;
        }
        Arc::make_mut(self.leaf_mut(key)).get_mut(key).map(Arc::make_mut)
    }

    /// Entries of `self` that `before` lacks or has with another value.
    pub fn changed_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (&'a K, &'a V)> {
        let same = Arc::ptr_eq(&self.root, &before.root);
        self.root
            .iter()
            .zip(before.root.iter())
            .filter(move |_| !same)
            .filter_map(|(now, then)| Some((now.as_ref()?, then.as_ref())))
            .filter(|(now, then)| !then.is_some_and(|then| Arc::ptr_eq(now, then)))
            .flat_map(|(now, then)| {
                now.iter().enumerate().map(move |(i, leaf)| (leaf, then.map(|leaves| &leaves[i])))
            })
            .filter(|(now, then)| !then.is_some_and(|then| Arc::ptr_eq(now, then)))
            .flat_map(|(now, then)| {
                now.iter()
                    .filter(move |(hash, value)| {
                        !then.and_then(|then| then.get(*hash)).is_some_and(|old| Arc::ptr_eq(value, old))
                    })
                    .map(|(hash, value)| (hash, value.as_ref()))
            })
    }

    fn leaf(&self, key: &K) -> Option<&Leaf<K, V>> {
        self.root[usize::from(key.as_ref()[0])].as_ref().map(|leaves| &leaves[usize::from(key.as_ref()[1])])
    }

    fn leaf_mut(&mut self, key: &K) -> &mut Leaf<K, V> {
        let branch = &mut unshared(&mut self.root)[usize::from(key.as_ref()[0])];
        let leaves = branch.get_or_insert_with(|| {
            let empty = Leaf::default();
            (0..WIDTH).map(|_| Arc::clone(&empty)).collect()
        });
        &mut unshared(leaves)[usize::from(key.as_ref()[1])]
    }
}

/// A slice that no other copy shares; it is copied first if another one does.
fn unshared<T: Clone>(slice: &mut Arc<[T]>) -> &mut [T] {
    if Arc::get_mut(slice).is_none() {
        *slice = slice.iter().cloned().collect();
    }
    Arc::get_mut(slice).expect("just made unique")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ModelId;
    use wire::Hash;

    #[test]
    fn copies_are_independent_and_differences_are_found() {
        let key = |i: u32| ModelId(Hash::of(&i.to_le_bytes()));
        let keys: Vec<ModelId> = (0..1000).map(key).collect();
        let mut map = Shards::default();
        for (i, key) in keys.iter().enumerate() {
            map.insert(*key, i);
        }
        let before = map.clone();
        assert_eq!(map.changed_since(&before).count(), 0);
        *map.get_mut(&keys[7]).unwrap() = 70;
        map.insert(ModelId(Hash([9; 32])), 9);
        assert_eq!((map.len(), before.len()), (1001, 1000));
        assert_eq!((map.get(&keys[7]), before.get(&keys[7])), (Some(&70), Some(&7)));
        let mut changed: Vec<_> = map.changed_since(&before).map(|(_, v)| *v).collect();
        changed.sort_unstable();
        assert_eq!(changed, [9, 70]);
        assert!(map.get_mut(&ModelId(Hash([0; 32]))).is_none() && map != before);
        assert!(map.iter().map(|(hash, _)| hash).is_sorted());
    }
}
