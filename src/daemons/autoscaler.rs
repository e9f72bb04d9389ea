//! AutoScaler: recommends how many peers the cluster should have.
//!
//! Invariant: it only recommends. Whoever wants it done gives a command of their own in the settings of their own host; it is
//! started by the leader alone, without a shell, and what it is told comes as environment variables.

mod command;

use super::{
    health::{HealthHandle, Host, Standing, View},
    idle_shutdown::LastBusy,
};
use crate::peer::{Context, Daemon, WorkError};
use cluster_state::{ClusterState, NodeId};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

pub use crate::api::autoscaler::{Advice, Recommendation};

/// Waiting work above which there should be more peers, and below which fewer may do, as in the existing system.
const QUEUE_HIGH: usize = 10;
const QUEUE_LOW: usize = 2;
/// A peer that showed no work for this long may go.
const IDLE: Duration = Duration::from_secs(15 * 60);
/// Most peers recommended at once. Fewer go: one at a time, for each hands on what it holds before the next is looked at.
const UP_MAX: usize = 3;
/// Between two starts of the command, and after the leader changed: the new one does not know what the one before did.
const COOLDOWN: Duration = Duration::from_secs(600);
/// Between looks.
const TICK: Duration = Duration::from_secs(5);

/// Settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoscalerConfig {
    /// Fewest peers to recommend.
    pub nodes_min: usize,
    /// Most.
    pub nodes_max: usize,
    /// A program and its arguments that carries a recommendation out; none: off. It finds what to do in the environment
    /// variables `RINGRIFT_ACTION` (`up` or `down`), `RINGRIFT_COUNT`, `RINGRIFT_NODE`, `RINGRIFT_HOST` and
    /// `RINGRIFT_REASON`. The host's name is its owner's choice: quote it.
    pub command: Vec<String>,
}

impl Default for AutoscalerConfig {
    fn default() -> Self {
        Self { nodes_min: 2, nodes_max: 20, command: Vec::new() }
    }
}

/// What is known of the work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Trainings and evaluations that wait for a peer.
    pub queue: usize,
    /// Peers that have shown no work for long and can go: idle the longest first.
    pub idle: Vec<NodeId>,
}

impl Facts {
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
    facts: &Facts,
    view: &View,
    settings: &AutoscalerConfig,
    quiet: Duration,
) -> Recommendation {
    let work = state.online().filter(|node| node.draining.is_none());
    let online = work.filter(|node| view.hosts.get(&node.id) == Some(&Host::Online)).count();
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

/// The daemon; see the module.
pub struct AutoscalerDaemon {
    node: Context,
    settings: AutoscalerConfig,
    health: HealthHandle,
    last_busy: LastBusy,
    recommendation: watch::Sender<Option<Recommendation>>,
}

impl AutoscalerDaemon {
    /// The daemon, and its recommendation once there is one.
    #[must_use]
    pub fn new(
        node: Context,
        settings: AutoscalerConfig,
        health: HealthHandle,
        last_busy: LastBusy,
    ) -> (Self, watch::Receiver<Option<Recommendation>>) {
        let (recommendation, receiver) = watch::channel(None);
        (Self { node, settings, health, last_busy, recommendation }, receiver)
    }
}

impl Daemon for AutoscalerDaemon {
    const NAME: &'static str = "autoscaler";

    async fn run(&mut self) -> Result<(), WorkError> {
        let Self { node, settings, .. } = self;
        let mut views = self.health.watch();
        // When the number of peers may last have been changed, and in which term this node learnt that it leads.
        let (mut changed, mut led) = (Instant::now(), 0);
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            let (state, metrics) = (node.raft.local(), node.raft.metrics().borrow().clone());
            if metrics.is_leader() && led != metrics.term {
                (changed, led) = (Instant::now(), metrics.term);
            }
            let acts = metrics.is_leader() && !settings.command.is_empty();
            let quiet = if acts { COOLDOWN.saturating_sub(changed.elapsed()) } else { Duration::ZERO };
            let leader = metrics.leader.as_ref().map(|(id, _)| *id);
            let kept = metrics.voters.iter().copied().chain(leader).collect();
            let facts = Facts::of(&state, &self.last_busy.all(), &kept, (node.started, Instant::now()));
            let found = recommend(&state, &facts, &view, settings, quiet);
            self.recommendation.send_if_modified(|last| {
                let other = last.as_ref() != Some(&found);
                *last = Some(found.clone());
                other
            });
            if acts && found.advice != Advice::Hold {
                tracing::info!(advice = ?found.advice, reason = found.reason, "the operator's command is started");
                let order = command::Order::new(&state, &found);
                match node.shutdown.run_until_cancelled(order.carry_out(&settings.command)).await {
                    None => return Ok(()),
                    Some(Ok(said)) => tracing::info!(said, "the operator's command is done"),
                    Some(Err(error)) => tracing::error!(%error, "the operator's command failed"),
                }
                changed = Instant::now();
            }
            tokio::select! {
                () = node.shutdown.cancelled() => return Ok(()),
                it = views.changed() => if it.is_err() { return Ok(()) },
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;

    fn view(world: &World, standing: Standing) -> View {
        let hosts = world.state.nodes.keys().map(|id| (*id, Host::Online)).collect();
        View { standing, hosts, ..View::default() }
    }

    #[test]
    fn recommendations() {
        use Advice::{Down, Hold, Up};
        let check = |nodes, standing, queue, idle: &[NodeId], quiet, expected| {
            let world = World::with_nodes(nodes);
            let facts = Facts { queue, idle: idle.to_vec() };
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
            Facts::of(&world.state, &busy, &kept.iter().copied().collect(), (began, now))
        };
        assert_eq!(of(&world, &[NodeId(1)]), Facts { queue: 0, idle: vec![NodeId(2), NodeId(3)] });
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
