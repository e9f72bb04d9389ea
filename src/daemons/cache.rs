//! CacheCoordinationOrchestrator: the networks that are loaded on this node, shared by everything that plays.
//!
//! Invariant: a network is kept by the hash of its checkpoint, so it is never the wrong one. A
//! configuration's new champion makes some of that configuration's networks useless; those are dropped, and
//! no others.

use crate::events::runner::Handled;
use crate::{
    api::activity::CacheActivity,
    events::Logged,
    peer::{Context, WorkError, blocking},
};
use cluster_state::{ConfigKey, ConfigState, ModelId, NodeId};
use kernels::{Checkpoint, Network};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Most networks that are kept: more than the champions and candidates in play of all twelve configurations.
const LOADED_MAX: usize = 32;

struct Entry<V> {
    config_key: ConfigKey,
    value: Arc<V>,
    /// When the entry was last used, counted in uses.
    used: u64,
}

struct Shelf<V> {
    entries: BTreeMap<ModelId, Entry<V>>,
    uses: u64,
    seen: CacheActivity,
}

impl<V> Default for Shelf<V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), uses: 0, seen: CacheActivity::default() }
    }
}

impl<V> Shelf<V> {
    fn get(&mut self, model: ModelId) -> Option<Arc<V>> {
        self.uses += 1;
        let found = self.entries.get_mut(&model).map(|entry| {
            entry.used = self.uses;
            Arc::clone(&entry.value)
        });
        *(if found.is_some() { &mut self.seen.hits } else { &mut self.seen.misses }) += 1;
        found
    }

    fn put(&mut self, config_key: &ConfigKey, model: ModelId, value: Arc<V>) {
        self.uses += 1;
        let entry = Entry { config_key: config_key.clone(), value, used: self.uses };
        self.entries.insert(model, entry);
        let used = self.entries.iter().map(|(model, entry)| (entry.used, *model)).collect();
        for model in surplus(used, LOADED_MAX) {
            self.entries.remove(&model);
        }
    }

    fn invalidate(&mut self, config: &ConfigState) {
        let loaded = self.entries.iter().map(|(model, entry)| (*model, &entry.config_key));
        for model in outdated(loaded, config) {
            self.entries.remove(&model);
            self.seen.invalidated += 1;
        }
    }
}

/// The models to drop so that at most `most` stay: those that were not used for the longest time.
fn surplus(mut used: Vec<(u64, ModelId)>, most: usize) -> Vec<ModelId> {
    used.sort_unstable();
    let count = used.len().saturating_sub(most);
    used.into_iter().take(count).map(|(_, model)| model).collect()
}

/// The loaded models that this configuration no longer plays: each is neither its champion, nor its
/// candidate, nor the opponent that the champion is watched against. Models of other configurations are never
/// among them.
fn outdated<'a>(
    loaded: impl Iterator<Item = (ModelId, &'a ConfigKey)>,
    config: &ConfigState,
) -> Vec<ModelId> {
    let steering = &config.steering;
    let watched = steering.watch.as_ref().map(|watch| watch.opponent);
    let watched = watched.or(steering.round.as_ref().map(|round| round.evidence.champion));
    let plays = |model: &ModelId| {
        *model == config.champion || config.candidates.contains(model) || watched == Some(*model)
    };
    loaded
        .filter(|(model, key)| **key == config.config_key && !plays(model))
        .map(|(model, _)| model)
        .collect()
}

/// The loaded networks. A clone is a cheap handle.
#[derive(Clone)]
pub struct LoadedNetworks {
    node: Context,
    shelf: Arc<Mutex<Shelf<Network>>>,
}

impl LoadedNetworks {
    /// Starts with no network loaded.
    #[must_use]
    pub fn new(node: Context) -> Self {
        Self { node, shelf: Arc::default() }
    }

    /// Returns the network of a model if the model is on this node, and none while it is on its way.
    ///
    /// # Errors
    /// When the disk fails, or the model does not load.
    pub async fn get(
        &self,
        config_key: &ConfigKey,
        model: ModelId,
    ) -> Result<Option<Arc<Network>>, WorkError> {
        let known = self.shelf.lock().get(model);
        let network = match known {
            Some(network) => Some(network),
            None => match self.node.get_content(model.0).await? {
                Some(bytes) => Some(self.load(config_key, model, bytes).await?),
                None => None,
            },
        };
        self.show();
        Ok(network)
    }

    /// Returns the network of a model, from this node or from one of `holders`.
    ///
    /// # Errors
    /// When no node that can be reached has the model, or it does not load.
    pub async fn get_or_fetch(
        &self,
        config_key: &ConfigKey,
        model: ModelId,
        holders: &BTreeSet<NodeId>,
    ) -> Result<Arc<Network>, WorkError> {
        if let Some(network) = self.get(config_key, model).await? {
            return Ok(network);
        }
        let bytes = self.node.get_or_fetch_model(model, holders).await?;
        self.load(config_key, model, bytes).await
    }

    /// Drops the networks that the event's configuration no longer plays.
    pub fn handle(&self, logged: &Logged) -> Handled {
        if let Some(config) = self.node.raft.local().config(logged.event.flow()) {
            self.shelf.lock().invalidate(config);
            self.show();
        }
        Ok(None)
    }

    async fn load(
        &self,
        config_key: &ConfigKey,
        model: ModelId,
        bytes: Vec<u8>,
    ) -> Result<Arc<Network>, WorkError> {
        let network = Arc::new(blocking(move || Checkpoint::from_bytes(&bytes)).await??.network);
        self.shelf.lock().put(config_key, model, Arc::clone(&network));
        Ok(network)
    }

    fn show(&self) {
        let activity = {
            let shelf = self.shelf.lock();
            CacheActivity { loaded: shelf.entries.len(), ..shelf.seen.clone() }
        };
        self.node.activity.update(|work| work.cache = activity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World, hash};

    #[test]
    fn the_longest_unused_are_dropped() {
        let used = |uses: &[u64]| uses.iter().map(|use_| (*use_, hash(&use_.to_string()))).collect();
        let check = |uses: &[u64], most, expected: &[u64]| {
            let expected: Vec<ModelId> = expected.iter().map(|use_| hash(&use_.to_string())).collect();
            assert_eq!(surplus(used(uses), most), expected);
        };
        check(&[], 2, &[]);
        check(&[5, 3], 2, &[]);
        check(&[5, 3, 9, 1], 2, &[1, 3]);
        check(&[1, 2], 0, &[1, 2]);
    }

    #[test]
    fn a_promotion_drops_what_plays_no_more_in_its_configuration_alone() {
        let mut world = World::with_nodes(1);
        world.train("a", 1);
        world.train("b", 1);
        let mut shelf: Shelf<u8> = Shelf::default();
        for (key, model) in
            [(KEY, "untrained"), (KEY, "a"), (KEY, "b"), (KEY, "gone"), ("square8_2p", "other")]
        {
            shelf.put(&key.into(), hash(model), Arc::new(0));
        }
        shelf.invalidate(world.state.config(KEY).unwrap());
        let loaded = |shelf: &Shelf<u8>| shelf.entries.keys().copied().collect::<BTreeSet<_>>();
        let of = |names: &[&str]| names.iter().map(|name| hash(name)).collect::<BTreeSet<_>>();
        assert_eq!(loaded(&shelf), of(&["untrained", "a", "b", "other"]));
        world.evaluate("a", 1, true);
        world.promote("a");
        shelf.invalidate(world.state.config(KEY).unwrap());
        assert_eq!(loaded(&shelf), of(&["a", "b", "other"]));
        assert_eq!(shelf.seen.invalidated, 2);
    }

    #[test]
    fn it_is_bounded_and_counts() {
        let mut shelf: Shelf<usize> = Shelf::default();
        let name = |number: usize| hash(&number.to_string());
        shelf.put(&KEY.into(), name(0), Arc::new(0));
        for number in 1..=LOADED_MAX {
            assert_eq!(shelf.get(name(0)).as_deref(), Some(&0), "in use, so it stays");
            assert!(shelf.get(name(number)).is_none());
            shelf.put(&KEY.into(), name(number), Arc::new(number));
        }
        assert_eq!(shelf.entries.len(), LOADED_MAX);
        assert!(shelf.get(name(0)).is_some() && shelf.get(name(1)).is_none());
        let most = LOADED_MAX as u64;
        assert_eq!((shelf.seen.hits, shelf.seen.misses), (most + 1, most + 1));
    }
}
