//! How many peers the cluster should have.
//!
//! Invariant: a recommendation, and no more. It follows from the state, the view and when hosts last showed
//! work.

use crate::{
    api::{
        autoscaler::{Advice, Recommendation},
        health::{ClusterView, HostState, Standing},
    },
    bounds::{OutOfBounds, check},
};
use cluster_state::{ClusterState, NodeId};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Waiting work above which there should be more peers, and below which fewer may do.
const QUEUE_HIGH: usize = 10;
const QUEUE_LOW: usize = 2;
/// A peer that showed no work for this long may go.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// Most peers recommended at once. Fewer go: one at a time, for each hands on what it holds before the next
/// is looked at.
const UP_MAX: usize = 3;

/// What the operator sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoscalerConfig {
    /// Fewest peers to recommend.
    pub nodes_min: usize,
    /// Most.
    pub nodes_max: usize,
    /// A program and its arguments that carries a recommendation out; none: off. It finds what to do in the
    /// environment variables `RINGRIFT_ACTION` (`up` or `down`), `RINGRIFT_COUNT`, `RINGRIFT_NODE`,
    /// `RINGRIFT_HOST` and `RINGRIFT_REASON`. The host's name is its owner's choice: quote it.
    pub command: Vec<String>,
}

impl Default for AutoscalerConfig {
    fn default() -> Self {
        Self { nodes_min: 2, nodes_max: 20, command: Vec::new() }
    }
}

impl AutoscalerConfig {
    /// # Errors
    /// The first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), OutOfBounds> {
        check(
            1 <= self.nodes_min && self.nodes_min <= self.nodes_max && self.nodes_max <= 1000,
            "autoscaler.nodes_min, nodes_max",
            format!("{}, {}", self.nodes_min, self.nodes_max),
            "1 to 1000, in this order",
        )?;
        check(
            self.command.len() <= 64 && self.command.first().is_none_or(|program| !program.is_empty()),
            "autoscaler.command",
            format!("{:?}", self.command),
            "a program and up to 63 arguments, or nothing",
        )
    }
}

/// What is known of the work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkFacts {
    /// Trainings and evaluations that wait for a peer.
    pub queue: usize,
    /// Peers that have shown no work for long and can go: idle the longest first.
    pub idle: Vec<NodeId>,
}

impl WorkFacts {
    /// From the state and when hosts last showed work; those of `kept` (the leader, voters) stay.
    #[must_use]
    pub fn of(
        state: &ClusterState,
        busy: &BTreeMap<NodeId, Instant>,
        kept: &BTreeSet<NodeId>,
        (began, now): (Instant, Instant),
    ) -> Self {
        let queue = state.configs.values().map(|config| {
            let trainings = config.crossings.saturating_sub(config.consumed).min(1);
            let running =
                [&config.training, &config.evaluation].into_iter().filter(|slot| slot.live.is_some());
            (config.candidates.len() + trainings as usize).saturating_sub(running.count())
        });
        let since = |id: NodeId| busy.get(&id).map_or(began, |at| (*at).max(began));
        let can_go = |node: &&cluster_state::Node| {
            let idle = now.saturating_duration_since(since(node.id)) >= IDLE;
            idle && node.draining.is_none() && !kept.contains(&node.id)
        };
        let mut idle: Vec<NodeId> = state.online().filter(can_go).map(|node| node.id).collect();
        idle.sort_by_key(|id| since(*id));
        Self { queue: queue.sum(), idle }
    }
}

/// What to do. `quiet` is how long to wait after the last change.
#[must_use]
pub fn recommend(
    state: &ClusterState,
    facts: &WorkFacts,
    view: &ClusterView,
    settings: &AutoscalerConfig,
    quiet: Duration,
) -> Recommendation {
    let work = state.online().filter(|node| node.draining.is_none());
    let online = work.filter(|node| view.hosts.get(&node.id) == Some(&HostState::Online)).count();
    let of = |advice, reason: String| Recommendation { advice, reason };
    let room = settings.nodes_max.saturating_sub(online);
    match view.standing {
        Standing::Healthy => {}
        Standing::Unhealthy => return of(Advice::Hold, "the cluster is unhealthy".to_owned()),
        Standing::Unknown => return of(Advice::Hold, "too little is known of the hosts".to_owned()),
    }
    if !quiet.is_zero() {
        return of(Advice::Hold, format!("{} s until the last change shows", quiet.as_secs() + 1));
    }
    if online < settings.nodes_min {
        let reason = format!("{online} peers work, {} should", settings.nodes_min);
        return of(Advice::Up((settings.nodes_min - online).min(UP_MAX)), reason);
    }
    if facts.queue > QUEUE_HIGH && room > 0 {
        let reason = format!("{} trainings and evaluations wait", facts.queue);
        return of(Advice::Up((facts.queue - QUEUE_HIGH).min(UP_MAX).min(room)), reason);
    }
    match facts.idle.first() {
        Some(id) if facts.queue < QUEUE_LOW && online > settings.nodes_min => {
            of(Advice::Down(*id), format!("node-{id} has shown no work for {} min", IDLE.as_secs() / 60))
        }
        Some(_) | None => of(Advice::Hold, format!("{} trainings and evaluations wait", facts.queue)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;

    fn view(world: &World, standing: Standing) -> ClusterView {
        let hosts = world.state.nodes.keys().map(|id| (*id, HostState::Online)).collect();
        ClusterView { standing, hosts, ..ClusterView::default() }
    }

    #[test]
    fn recommendations() {
        use Advice::{Down, Hold, Up};
        let check = |nodes, standing, queue, idle: &[NodeId], quiet, expected| {
            let world = World::with_nodes(nodes);
            let facts = WorkFacts { queue, idle: idle.to_vec() };
            let view = view(&world, standing);
            let settings = AutoscalerConfig::default();
            let found = recommend(&world.state, &facts, &view, &settings, Duration::from_secs(quiet));
            assert_eq!(found.advice, expected, "{facts:?}: {found:?}");
            assert!(!found.reason.is_empty());
        };
        check(3, Standing::Healthy, 0, &[], 0, Hold);
        check(3, Standing::Healthy, 10, &[], 0, Hold);
        check(3, Standing::Healthy, 11, &[], 0, Up(1));
        check(3, Standing::Healthy, 99, &[], 0, Up(3));
        check(19, Standing::Healthy, 99, &[], 0, Up(1));
        check(20, Standing::Healthy, 99, &[], 0, Hold);
        check(1, Standing::Healthy, 0, &[], 0, Up(1));
        check(4, Standing::Healthy, 1, &[NodeId(4), NodeId(3)], 0, Down(NodeId(4)));
        check(4, Standing::Healthy, 2, &[NodeId(4), NodeId(3)], 0, Hold);
        check(2, Standing::Healthy, 0, &[NodeId(2)], 0, Hold);
        // Neither up nor down while it is unhealthy, unknown, or a change is new.
        check(3, Standing::Unhealthy, 99, &[], 0, Hold);
        check(4, Standing::Unhealthy, 0, &[NodeId(4)], 0, Hold);
        check(3, Standing::Unknown, 99, &[], 0, Hold);
        check(3, Standing::Healthy, 99, &[], 1, Hold);
    }

    #[test]
    fn facts() {
        let mut world = World::with_nodes(4);
        let (began, now) = (Instant::now(), Instant::now() + IDLE);
        let busy = BTreeMap::from([(NodeId(3), began - Duration::from_secs(1)), (NodeId(4), now)]);
        let of = |world: &World, kept: &[NodeId]| {
            WorkFacts::of(&world.state, &busy, &kept.iter().copied().collect(), (began, now))
        };
        assert_eq!(of(&world, &[NodeId(1)]), WorkFacts { queue: 0, idle: vec![NodeId(2), NodeId(3)] });
        assert!(of(&world, &[NodeId(1), NodeId(2), NodeId(3)]).idle.is_empty());
        world.drain(2, true);
        assert_eq!(of(&world, &[NodeId(1)]).idle, vec![NodeId(3)]);
        world.train("a", 3);
        assert_eq!(of(&world, &[]).queue, 1, "a candidate waits");
        world.play(500);
        world.cross();
        assert_eq!(of(&world, &[]).queue, 2, "and a training");
        world.grant(cluster_state::LeaseKind::Evaluation, 1, Some(crate::daemons::fixture::hash("a")));
        assert_eq!(of(&world, &[]).queue, 1);
    }
}
