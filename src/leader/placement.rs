//! Who does exclusive work, and when to try again after it failed: for the deciders that grant leases.

use crate::backoff::Backoff;
use cluster_state::{ClusterState, ConfigKey, LeaseKind, ModelId, Node, NodeId};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use wire::Hash;

/// How long the holder of a lease may stay silent; it renews three times as often.
pub const LEASE_TTL: Duration = Duration::from_secs(12);
/// The pause before work that failed is granted again.
const PAUSE: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) };

/// A node's weight for a thing: every node computes the same, and the weights are evenly spread (rendezvous
/// hashing, Thaler & Ravishankar 1998).
#[must_use]
pub fn rendezvous(thing: &[u8], node: NodeId) -> u64 {
    let hash = Hash::of(&[thing, &node.0.to_le_bytes()].concat());
    u64::from_le_bytes(hash.0[..8].try_into().expect("a hash has 32 bytes"))
}

/// The online node that has the least to do, of several rather not the leader; the one that just failed at
/// this work only if there is no other. None while every one has a lease of this kind: work of a kind is done
/// one after the other on a node, and a lease that is not taken up expires.
#[must_use]
pub fn choose_worker(state: &ClusterState, kind: LeaseKind, config_key: &ConfigKey) -> Option<NodeId> {
    choose_other(state, kind, config_key, &BTreeSet::new())
}

/// [`choose_worker`] among the nodes that are not `taken`.
#[must_use]
pub fn choose_other(
    state: &ClusterState,
    kind: LeaseKind,
    config_key: &ConfigKey,
    taken: &BTreeSet<NodeId>,
) -> Option<NodeId> {
    let busy = |node: NodeId| {
        let slots = state.configs.values().flat_map(|config| [&config.training, &config.evaluation]);
        slots.filter(|slot| slot.live.as_ref().is_some_and(|lease| lease.node == node)).count()
    };
    let occupied = |node: NodeId| {
        let live = state.configs.values().filter_map(|config| config.lease(kind).live.as_ref());
        live.into_iter().any(|lease| lease.node == node)
    };
    let leader = state.leader.as_ref().map(|leader| leader.node);
    let slot = state.config(config_key)?.lease(kind);
    let (epoch, failed) = (slot.epoch, slot.last_end.as_ref().filter(|_| slot.failures > 0));
    let failed = failed.map(|end| end.node);
    let seed = format!("{kind}:{config_key}:{epoch}");
    state
        .online()
        .filter(|node| node.draining.is_none() && state.is_trusted(node.id))
        .filter(|node| !occupied(node.id) && !taken.contains(&node.id))
        .map(|node| node.id)
        .min_by_key(|&id| (Some(id) == failed, busy(id), Some(id) == leader, rendezvous(seed.as_bytes(), id)))
}

/// Who evaluates a model: not the node that trained it, unless it is the only one, and rather none that has
/// evaluated it `before`. None while all of these are busy.
#[must_use]
pub fn choose_evaluator(
    state: &ClusterState,
    config_key: &ConfigKey,
    model: ModelId,
    before: Option<NodeId>,
    taken: &BTreeSet<NodeId>,
) -> Option<NodeId> {
    let trainer = state.models.get(&model).and_then(|model| model.trained_by);
    let stays = |node: &Node| node.draining.is_none() && state.is_trusted(node.id);
    let others = state.online().any(|node| stays(node) && Some(node.id) != trainer);
    let taken: BTreeSet<NodeId> = taken.iter().copied().chain(trainer.filter(|_| others)).collect();
    let fresh = taken.iter().copied().chain(before).collect();
    choose_other(state, LeaseKind::Evaluation, config_key, &fresh)
        .or_else(|| choose_other(state, LeaseKind::Evaluation, config_key, &taken))
}

/// Holds work back that failed, for longer each time. It counts from when this leader first saw the failure.
#[derive(Debug, Default)]
pub struct RetryPauses(BTreeMap<ConfigKey, (u32, u64)>);

impl RetryPauses {
    /// Whether the work of a configuration may be granted at `now_ms`, after `failures` failures in a row.
    pub fn allows(&mut self, config_key: &ConfigKey, failures: u32, now_ms: u64) -> bool {
        if failures == 0 {
            self.0.remove(config_key);
            return true;
        }
        let seen = self.0.entry(config_key.clone()).or_insert((failures, now_ms));
        if seen.0 != failures {
            *seen = (failures, now_ms);
        }
        now_ms.saturating_sub(seen.1) >= PAUSE.pause(failures).as_millis() as u64
    }
}

/// How long this leader has seen a thing as it is, by its own clock, because the times in the state are of
/// other clocks and may be wrong.
#[derive(Debug)]
pub struct FirstSeen<T>(BTreeMap<ConfigKey, (T, u64)>);

impl<T> Default for FirstSeen<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: PartialEq> FirstSeen<T> {
    /// Milliseconds since it was first seen to be `thing`.
    pub fn age_ms(&mut self, config_key: &ConfigKey, thing: T, now_ms: u64) -> u64 {
        match self.0.get(config_key) {
            // A clock that was set back begins anew.
            Some((known, since_ms)) if *known == thing && *since_ms <= now_ms => now_ms - since_ms,
            Some(_) | None => {
                self.0.insert(config_key.clone(), (thing, now_ms));
                0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{World, hash};

    #[test]
    fn the_leader_works_last_and_the_busy_later() {
        let mut world = World::with_nodes(3);
        world.lead(1, 1);
        let first = choose_worker(&world.state, LeaseKind::Training, &"hex8_2p".into()).unwrap();
        assert_ne!(first, NodeId(1));
        world.play(500);
        world.cross();
        world.grant(LeaseKind::Training, first.0, None);
        let second = choose_worker(&world.state, LeaseKind::Evaluation, &"hex8_2p".into()).unwrap();
        assert!(second != NodeId(1) && second != first);
        world.offline(second.0);
        assert_eq!(choose_worker(&world.state, LeaseKind::Evaluation, &"hex8_2p".into()), Some(NodeId(1)));
    }

    #[test]
    fn who_trained_a_model_does_not_evaluate_it() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        let chosen = |world: &World, before: Option<u64>, taken: &[u64]| {
            let taken = taken.iter().copied().map(NodeId).collect();
            let before = before.map(NodeId);
            let node = choose_evaluator(&world.state, &"hex8_2p".into(), hash("a"), before, &taken);
            node.map(|node| node.0)
        };
        assert_eq!(chosen(&world, Some(1), &[]), Some(3));
        assert_eq!(chosen(&world, Some(3), &[]), Some(1));
        assert_eq!(chosen(&world, Some(3), &[1]), Some(3), "rather the same one again");
        assert_eq!(chosen(&world, None, &[1, 3]), None, "it waits until one of them is free");
        world.offline(1);
        assert_eq!(chosen(&world, Some(3), &[]), Some(3));
        world.offline(3);
        assert_eq!(chosen(&world, None, &[]), Some(2), "there is nobody else");
    }

    #[test]
    fn none_while_every_one_has_a_lease() {
        let mut world = World::with_nodes(2);
        let keys = ["hex8_2p", "hex8_3p", "square8_2p"];
        keys[1..].iter().for_each(|key| world.add_config(key));
        for (key, free) in keys.iter().zip([2, 1, 0]) {
            world.play_in(key, 500);
            world.cross_in(key);
            let chosen = choose_worker(&world.state, LeaseKind::Training, &(*key).into());
            assert_eq!(chosen.is_some(), free > 0, "{key}");
            if let Some(node) = chosen {
                let other = choose_other(&world.state, LeaseKind::Training, &(*key).into(), &[node].into());
                assert_eq!(other.is_some(), free > 1, "{key}");
                world.grant_in(key, LeaseKind::Training, node.0, None);
            }
        }
        assert!(
            choose_worker(&world.state, LeaseKind::Evaluation, &keys[2].into()).is_some(),
            "of another kind"
        );
    }

    #[test]
    fn a_thing_ages_while_it_stays_as_it_is() {
        let mut seen = FirstSeen::default();
        let ages = [(1, 100), (1, 150), (2, 160), (2, 170), (1, 180), (1, 90), (1, 95)];
        assert_eq!(ages.map(|(thing, now)| seen.age_ms(&"it".into(), thing, now)), [0, 50, 0, 10, 0, 0, 5]);
        assert_eq!(seen.age_ms(&"other".into(), 1, 200), 0);
    }

    #[test]
    fn failures_wait_longer_each_time() {
        let mut pauses = RetryPauses::default();
        assert!(pauses.allows(&"w".into(), 0, 0));
        assert!(!pauses.allows(&"w".into(), 1, 0));
        assert!(!pauses.allows(&"w".into(), 1, 999));
        assert!(pauses.allows(&"w".into(), 1, 1000));
        assert!(!pauses.allows(&"w".into(), 2, 2000));
        assert!(pauses.allows(&"w".into(), 2, 4000));
        assert!(!pauses.allows(&"w".into(), 40, 5000));
        assert!(pauses.allows(&"w".into(), 40, 65_000));
        assert!(pauses.allows(&"w".into(), 0, 65_000));
    }
}
