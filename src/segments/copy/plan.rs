//! Which segments this node should fetch now.
//!
//! Invariant: the plan follows from the replicated state alone, so that all nodes agree without talking to
//! each other. A node that drains takes no copies, and the copies that it has do not count, because they may
//! leave with it.

use crate::leader::placement::rendezvous;
use cluster_state::{ClusterState, NodeId, RegisteredSegment, SegmentId};
use std::collections::BTreeSet;

/// Most segments fetched between two looks at the state.
const BATCH: usize = 64;

/// The nodes that count as places for copies: they are online, and not about to leave.
struct Places {
    ids: Vec<NodeId>,
}

impl Places {
    fn of(state: &ClusterState) -> Self {
        let staying = state.online().filter(|node| node.draining.is_none());
        Self { ids: staying.map(|node| node.id).collect() }
    }

    /// Number of copies of a segment that count.
    fn copies(&self, segment: &RegisteredSegment) -> usize {
        self.ids.iter().filter(|id| segment.holders.contains(id)).count()
    }

    /// Whether node `me` should fetch a copy of a segment that `copies` nodes should hold.
    fn due(&self, me: NodeId, hash: &SegmentId, segment: &RegisteredSegment, copies: usize) -> bool {
        if segment.holders.contains(&me) {
            return false;
        }
        let missing = copies.min(self.ids.len()).saturating_sub(self.copies(segment));
        if missing == 0 {
            return false;
        }
        let mut others: Vec<NodeId> =
            self.ids.iter().copied().filter(|id| !segment.holders.contains(id)).collect();
        others.sort_by_key(|id| rendezvous(&hash.0.0, *id));
        others.iter().take(missing).any(|id| *id == me)
    }
}

/// Segments that the cluster believes node `me` to hold and that are not among `here`: they were lost, or set
/// aside as corrupt.
pub(super) fn lost(state: &ClusterState, me: NodeId, here: &BTreeSet<SegmentId>) -> BTreeSet<SegmentId> {
    let ours = state.segments.iter().filter(|(_, segment)| segment.holders.contains(&me));
    ours.map(|(hash, _)| *hash).filter(|hash| !here.contains(hash)).collect()
}

/// The segments that node `me` should fetch now, at most [`BATCH`]: those with the fewest copies first, then
/// the oldest. `may` says whether a segment can be tried now.
pub(super) fn wanted(
    state: &ClusterState,
    me: NodeId,
    lost: &BTreeSet<SegmentId>,
    copies: usize,
    may: impl Fn(&SegmentId, &RegisteredSegment) -> bool,
) -> Vec<(SegmentId, RegisteredSegment)> {
    let places = Places::of(state);
    if !places.ids.contains(&me) {
        return Vec::new();
    }
    let wanted = state.segments.iter().filter(|(hash, segment)| {
        (lost.contains(hash) || places.due(me, hash, segment, copies)) && may(hash, segment)
    });
    let mut found: Vec<(usize, u64, SegmentId)> = wanted
        .map(|(hash, segment)| {
            let copies = places.copies(segment) - usize::from(lost.contains(hash));
            (copies, segment.log_index, *hash)
        })
        .collect();
    found.sort_unstable();
    let segment = |(_, _, hash): (usize, u64, SegmentId)| Some((hash, state.segments.get(&hash)?.clone()));
    found.into_iter().take(BATCH).filter_map(segment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;
    use cluster_state::{Command, DrainCause, command::SetDraining};

    fn drain(world: &mut World, node: NodeId, draining: bool) {
        world.apply(Command::SetDraining(SetDraining {
            node,
            draining,
            cause: DrainCause::Ordered,
            reason: "test".into(),
            at_ms: world.now,
        }));
    }

    fn takers(world: &World, hash: SegmentId, copies: usize) -> Vec<NodeId> {
        let segment = world.state.segments.get(&hash).unwrap();
        let places = Places::of(&world.state);
        world.state.nodes.keys().copied().filter(|id| places.due(*id, &hash, segment, copies)).collect()
    }

    #[test]
    fn what_should_be_here_and_is_not_is_found() {
        let mut world = World::with_nodes(3);
        let (here, gone) = (world.play_on(10, vec![1, 2]), world.play_on(10, vec![1, 2]));
        world.play_on(10, vec![2, 3]);
        let found = lost(&world.state, NodeId(1), &BTreeSet::from([here]));
        assert_eq!(found, BTreeSet::from([gone]));
    }

    #[test]
    fn as_many_nodes_as_needed_take_a_copy() {
        let mut world = World::with_nodes(5);
        let hash = world.play_on(10, vec![1, 2]);
        assert!(takers(&world, hash, 2).is_empty());
        let third = takers(&world, hash, 3);
        assert!(third.len() == 1 && third[0] > NodeId(2), "{third:?}");
        world.offline(2);
        let more = takers(&world, hash, 3);
        assert!(more.len() == 2 && more.contains(&third[0]), "the first choice stays: {more:?}");
        assert_eq!(takers(&world, hash, 9), [3, 4, 5].map(NodeId));
    }

    #[test]
    fn a_node_that_drains_takes_no_copies_and_its_own_do_not_count() {
        let mut world = World::with_nodes(5);
        let hash = world.play_on(10, vec![1, 2, 3]);
        assert!(takers(&world, hash, 3).is_empty());
        drain(&mut world, NodeId(2), true);
        let fourth = takers(&world, hash, 3);
        assert!(fourth.len() == 1 && fourth[0] > NodeId(3), "{fourth:?}");
        drain(&mut world, fourth[0], true);
        let fifth = takers(&world, hash, 3);
        assert!(fifth.len() == 1 && fifth != fourth && fifth[0] > NodeId(3), "{fifth:?}");
        let copies = Places::of(&world.state).copies(world.state.segments.get(&hash).unwrap());
        assert_eq!(copies, 2);
        drain(&mut world, NodeId(2), false);
        assert!(takers(&world, hash, 3).is_empty(), "back again");
        // A drained node that lost its copy does not fetch it again for the short time until it leaves.
        drain(&mut world, NodeId(1), true);
        let lost = BTreeSet::from([hash]);
        assert_eq!(wanted(&world.state, NodeId(1), &lost, 3, |_, _| true), []);
        assert_eq!(wanted(&world.state, NodeId(2), &lost, 3, |_, _| true).len(), 1);
    }

    #[test]
    fn the_rarest_first() {
        let mut world = World::with_nodes(4);
        let plenty = world.play_on(10, vec![1, 2, 3]);
        let two = world.play_on(10, vec![1, 2]);
        let later = world.play_on(10, vec![2, 3]);
        let order = |world: &World, lost: &[SegmentId], may: &dyn Fn(&SegmentId) -> bool| -> Vec<SegmentId> {
            let lost = lost.iter().copied().collect();
            let found = wanted(&world.state, NodeId(4), &lost, 9, |hash, _| may(hash));
            found.into_iter().map(|(hash, _)| hash).collect()
        };
        assert_eq!(order(&world, &[], &|_| true), [two, later, plenty], "the oldest of equals");
        assert_eq!(order(&world, &[], &|hash| *hash != two), [later, plenty]);
        world.offline(3);
        assert_eq!(
            order(&world, &[], &|_| true),
            [later, plenty, two],
            "one copy is left, of the others two"
        );
        world.online(3, true);
        let own = world.play_on(10, vec![3, 4]);
        assert_eq!(order(&world, &[own], &|hash| *hash == own || *hash == plenty), [own, plenty]);
    }
}
