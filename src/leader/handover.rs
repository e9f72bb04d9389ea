//! What a host that drains still has to hand on. Pure: every node comes to the same from the state.

use crate::api::cluster::Handover;
use cluster_state::{ClusterState, ModelId, NodeId};
use std::collections::BTreeSet;

/// Copies of a model that must be elsewhere: one may be lost meanwhile.
const MODEL_COPIES: usize = 2;

/// What `node` still has to hand on; segments are to have `copies`. Elsewhere is on nodes that are online and
/// stay: where there are none, nothing can be handed on.
#[must_use]
pub fn handover(state: &ClusterState, node: NodeId, copies: usize) -> Handover {
    let others = state.online().filter(|other| other.id != node && other.draining.is_none());
    let others: BTreeSet<NodeId> = others.map(|other| other.id).collect();
    let short = |holders: &BTreeSet<NodeId>, copies: usize| {
        holders.contains(&node) && holders.intersection(&others).count() < copies.min(others.len()).max(1)
    };
    let configs = state.configs.values();
    let slots = configs.clone().flat_map(|config| [&config.training, &config.evaluation]);
    let leases = slots.filter(|slot| slot.live.as_ref().is_some_and(|lease| lease.node == node)).count();
    let in_use: BTreeSet<ModelId> = configs
        .flat_map(|config| {
            let before = config.fallback().map(|fallback| fallback.model);
            config.candidates.iter().copied().chain([config.champion, config.newest]).chain(before)
        })
        .collect();
    let known = in_use.iter().filter_map(|model| state.models.get(model));
    Handover {
        leases,
        segments: state.segments.iter().filter(|(_, segment)| short(&segment.holders, copies)).count(),
        models: known.filter(|model| short(&model.holders, MODEL_COPIES)).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;
    use cluster_state::LeaseKind;

    fn check(world: &World, node: NodeId, copies: usize, expected: (usize, usize, usize)) {
        let Handover { leases, segments, models } = handover(&world.state, node, copies);
        assert_eq!((leases, segments, models), expected);
    }

    #[test]
    fn what_is_left() {
        let mut world = World::with_nodes(3);
        check(&world, NodeId(3), 3, (0, 0, 0));
        world.play_on(9, vec![1, 3]);
        world.play_on(9, vec![1, 2]);
        check(&world, NodeId(3), 3, (0, 1, 0));
        check(&world, NodeId(3), 1, (0, 0, 0));
        check(&world, NodeId(1), 3, (0, 2, 0));
        world.play(500);
        world.cross();
        world.grant(LeaseKind::Training, 3, None);
        check(&world, NodeId(3), 1, (1, 0, 0));
        let mut alone = World::with_nodes(2);
        alone.play(9);
        check(&alone, NodeId(2), 3, (0, 0, 0));
        alone.drain(1, true);
        check(&alone, NodeId(2), 3, (0, 1, 1));
    }

    #[test]
    fn a_model_that_only_it_has_is_handed_on_first() {
        let mut world = World::with_nodes(3);
        world.train("a", 3);
        check(&world, NodeId(3), 1, (0, 0, 1));
        world.held("a", 1);
        check(&world, NodeId(3), 1, (0, 0, 1));
        world.held("a", 2);
        check(&world, NodeId(3), 1, (0, 0, 0));
    }
}
