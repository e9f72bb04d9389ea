//! When a host without work drains itself and stops.
//!
//! Invariant: whatever is not known counts as work. A host goes only while the cluster is healthy, enough
//! others stay, and the voters among them are a quorum; and only after everything it holds is elsewhere often
//! enough.

use super::handover::handover;
use crate::{
    api::health::{ClusterView, HostState, Standing},
    bounds::{OutOfBounds, bounds},
};
use cluster_state::{ClusterState, DrainCause, NodeId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// What the operator sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdleShutdownConfig {
    /// Whether this host may stop by itself.
    pub enabled: bool,
    /// Seconds without work before it does.
    pub seconds: u64,
    /// Hosts that stay whatever happens. More stay where the voters need them: two of three.
    pub nodes_min: usize,
}

impl Default for IdleShutdownConfig {
    fn default() -> Self {
        Self { enabled: false, seconds: 1800, nodes_min: 1 }
    }
}

impl IdleShutdownConfig {
    /// # Errors
    /// The first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), OutOfBounds> {
        bounds("idle_shutdown.seconds", self.seconds, 60..=30 * 86_400)?;
        bounds("idle_shutdown.nodes_min", self.nodes_min, 1..=1000)
    }
}

/// What this node knows of itself and the others.
pub struct IdleFacts<'a> {
    pub me: NodeId,
    pub state: &'a ClusterState,
    pub view: Arc<ClusterView>,
    pub voters: BTreeSet<NodeId>,
    pub leads: bool,
    /// For how long it has shown no work, or not known of itself whether it has.
    pub idle: Duration,
    /// For how long it has been draining.
    pub draining: Duration,
    /// How long the last games may take to be counted.
    pub settle: Duration,
    /// Games that the cluster does not have yet.
    pub unacknowledged: u64,
    pub copies: usize,
    pub settings: IdleShutdownConfig,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum IdleStep {
    Stay,
    Drain,
    Undrain(&'static str),
    Stop,
}

impl IdleFacts<'_> {
    /// Why it must stay, if so. Of several that drain at once the one with the smaller id goes first.
    fn needed(&self) -> Option<&'static str> {
        if self.view.standing != Standing::Healthy {
            return Some("the cluster is not healthy as seen from here");
        }
        if self.leads {
            return Some("it leads");
        }
        let mine = self.state.nodes.get(&self.me).is_some_and(|node| node.draining.is_some());
        let stays = |node: &&cluster_state::Node| {
            node.id != self.me
                && self.view.hosts.get(&node.id) == Some(&HostState::Online)
                && (node.draining.is_none() || (mine && node.id > self.me))
        };
        let staying: BTreeSet<NodeId> = self.state.online().filter(stays).map(|node| node.id).collect();
        if staying.len() < self.settings.nodes_min.max(1) {
            return Some("too few others would stay");
        }
        let voting = self.voters.intersection(&staying).count();
        let lost = self.voters.contains(&self.me) && voting < self.voters.len() / 2 + 1;
        lost.then_some("the voters that would stay are no quorum")
    }

    /// What to do next.
    #[must_use]
    pub fn decide(&self) -> IdleStep {
        let Some(node) = self.state.nodes.get(&self.me) else { return IdleStep::Stay };
        match node.draining.as_ref().map(|draining| &draining.cause) {
            None => {
                let due = self.settings.enabled && self.idle >= Duration::from_secs(self.settings.seconds);
                if due && self.needed().is_none() { IdleStep::Drain } else { IdleStep::Stay }
            }
            Some(DrainCause::Idle) => match self.needed() {
                Some(why) => IdleStep::Undrain(why),
                None if !self.settings.enabled => IdleStep::Undrain("it may not stop by itself"),
                None => {
                    let over = self.draining >= self.settle && self.unacknowledged == 0;
                    let done = over && handover(self.state, self.me, self.copies).is_done();
                    if done { IdleStep::Stop } else { IdleStep::Stay }
                }
            },
            // An operator ends what an operator ordered.
            Some(DrainCause::Ordered | DrainCause::Other(_)) => IdleStep::Stay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;
    use cluster_state::{Command, command::SetDraining};

    /// A world in which every one of `nodes` is as it should be, and node 3 drains for this cause.
    fn world(nodes: u64, draining: Option<DrainCause>) -> World {
        let mut world = World::with_nodes(nodes);
        if let Some(cause) = draining {
            world.apply(Command::SetDraining(SetDraining {
                node: NodeId(3),
                draining: true,
                cause,
                reason: "idle, or an order: the sentence decides nothing".into(),
                at_ms: 1,
            }));
        }
        world
    }

    fn check(world: &World, change: impl FnOnce(&mut IdleFacts<'_>), expected: IdleStep) {
        let hosts = world
            .state
            .nodes
            .values()
            .map(|node| (node.id, if node.online { HostState::Online } else { HostState::Offline }));
        let view =
            ClusterView { standing: Standing::Healthy, hosts: hosts.collect(), ..ClusterView::default() };
        let settings = IdleShutdownConfig { enabled: true, ..IdleShutdownConfig::default() };
        let mut facts = IdleFacts {
            me: NodeId(3),
            state: &world.state,
            view: Arc::new(view),
            voters: BTreeSet::from([1, 2, 3].map(NodeId)),
            leads: false,
            idle: Duration::from_secs(1800),
            draining: Duration::from_secs(60),
            settle: Duration::from_secs(60),
            unacknowledged: 0,
            copies: 3,
            settings,
        };
        change(&mut facts);
        assert_eq!(facts.decide(), expected);
    }

    #[test]
    fn an_idle_host_drains_if_it_may_and_nobody_needs_it() {
        let three = world(3, None);
        check(&three, |_| {}, IdleStep::Drain);
        check(&three, |facts| facts.settings.enabled = false, IdleStep::Stay);
        check(&three, |facts| facts.idle = Duration::from_secs(1799), IdleStep::Stay);
        check(&three, |facts| facts.leads = true, IdleStep::Stay);
        for standing in [Standing::Unknown, Standing::Unhealthy] {
            check(&three, |facts| Arc::make_mut(&mut facts.view).standing = standing, IdleStep::Stay);
        }
        check(&three, |facts| Arc::make_mut(&mut facts.view).hosts.clear(), IdleStep::Stay);
        check(&three, |facts| facts.settings.nodes_min = 3, IdleStep::Stay);
        check(&world(4, None), |facts| facts.settings.nodes_min = 3, IdleStep::Drain);
        let mut one_left = world(3, None);
        one_left.offline(2);
        check(&one_left, |_| {}, IdleStep::Stay); // one voter of three is no quorum
        check(&one_left, |facts| facts.voters = BTreeSet::from([NodeId(1)]), IdleStep::Drain);
    }

    #[test]
    fn of_two_that_drain_the_smaller_id_goes_first() {
        let mut both = world(3, Some(DrainCause::Idle));
        both.apply(Command::SetDraining(SetDraining {
            node: NodeId(2),
            draining: true,
            cause: DrainCause::Idle,
            reason: String::new(),
            at_ms: 1,
        }));
        check(&both, |_| {}, IdleStep::Undrain("the voters that would stay are no quorum"));
        check(&both, |facts| facts.me = NodeId(2), IdleStep::Stop);
    }

    #[test]
    fn it_stops_once_everything_is_elsewhere() {
        let drained = world(3, Some(DrainCause::Idle));
        check(&drained, |_| {}, IdleStep::Stop);
        check(&drained, |facts| facts.draining = Duration::from_secs(59), IdleStep::Stay);
        check(&drained, |facts| facts.unacknowledged = 1, IdleStep::Stay);
        check(&drained, |facts| facts.leads = true, IdleStep::Undrain("it leads"));
        let mut holds = world(3, None);
        holds.play_on(9, vec![2, 3]);
        holds.apply(Command::SetDraining(SetDraining {
            node: NodeId(3),
            draining: true,
            cause: DrainCause::Idle,
            reason: String::new(),
            at_ms: 1,
        }));
        check(&holds, |_| {}, IdleStep::Stay);
        check(&holds, |facts| facts.copies = 1, IdleStep::Stop);
        for cause in ["ordered", "of a later version"] {
            check(&world(3, Some(DrainCause::of(cause))), |_| {}, IdleStep::Stay);
        }
        check(
            &drained,
            |facts| facts.settings.enabled = false,
            IdleStep::Undrain("it may not stop by itself"),
        );
    }
}
