//! UnifiedIdleShutdownDaemon: a host without work hands on what it holds and stops.
//!
//! Invariant: whatever is not known counts as work. A host goes only while the cluster is healthy, enough others stay, and
//! the voters among them are a quorum; and only after everything it holds is elsewhere often enough.

mod handover;

pub use handover::{Handover, handover};

use super::health::{HealthHandle, Host, Standing, View};
use crate::{
    clock::now_ms,
    events::{Event, caused::node_name, log::Logged, runner::Handled},
    peer::{Context, Daemon, WorkError},
};
use cluster_state::{ClusterState, Command, NodeId, command::SetDraining};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// Between looks.
const TICK: Duration = Duration::from_secs(1);
/// What a host that drains itself gives as its reason, so that nobody takes it for an operator's order.
const REASON: &str = "idle";
/// How long after the drain began games may still come to an end here, beyond the age of a segment.
const SETTLE: Duration = Duration::from_secs(5);

/// Settings.
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

/// When the hosts last showed work, as this node heard it. Cheap to clone.
#[derive(Clone, Default)]
pub struct LastBusy(Arc<Mutex<BTreeMap<NodeId, Instant>>>);

impl LastBusy {
    /// A host showed work.
    pub fn note(&self, id: NodeId, at: Instant) {
        let mut all = self.0.lock();
        let last = all.entry(id).or_insert(at);
        *last = at.max(*last);
    }

    /// By id.
    #[must_use]
    pub fn all(&self) -> BTreeMap<NodeId, Instant> {
        self.0.lock().clone()
    }

    /// Notes that the host whose work an event shows is not idle.
    pub fn handle(&self, node: &Context, logged: &Logged) -> Handled {
        let (name, known) = (worker(&logged.event), node.raft.local());
        let host = known.nodes.keys().find(|id| Some(node_name(**id).as_str()) == name);
        // How long ago it was; what comes late says nothing new.
        let age = Duration::from_millis(now_ms().saturating_sub(logged.at_ms.max(0).unsigned_abs()));
        if let (Some(id), Some(at)) = (host, Instant::now().checked_sub(age)) {
            self.note(*id, at);
        }
        Ok(None)
    }
}

/// What this node knows of itself and the others.
struct Facts<'a> {
    me: NodeId,
    state: &'a ClusterState,
    view: Arc<View>,
    voters: BTreeSet<NodeId>,
    leads: bool,
    /// For how long it has shown no work, or not known of itself whether it has.
    idle: Duration,
    /// For how long it has been draining.
    draining: Duration,
    /// How long the last games may take to be counted.
    settle: Duration,
    /// Games that the cluster does not have yet.
    unacknowledged: u64,
    copies: usize,
    settings: IdleShutdownConfig,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Stay,
    Drain,
    Undrain(&'static str),
    Stop,
}

impl Facts<'_> {
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
                && self.view.hosts.get(&node.id) == Some(&Host::Online)
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

    fn decide(&self) -> Step {
        let Some(node) = self.state.nodes.get(&self.me) else { return Step::Stay };
        match &node.draining {
            None => {
                let due = self.settings.enabled && self.idle >= Duration::from_secs(self.settings.seconds);
                if due && self.needed().is_none() { Step::Drain } else { Step::Stay }
            }
            Some(reason) if reason.starts_with(REASON) => match self.needed() {
                Some(why) => Step::Undrain(why),
                None if !self.settings.enabled => Step::Undrain("it may not stop by itself"),
                None => {
                    let over = self.draining >= self.settle && self.unacknowledged == 0;
                    let done = over && handover(self.state, self.me, self.copies).is_done();
                    if done { Step::Stop } else { Step::Stay }
                }
            },
            Some(_) => Step::Stay, // an operator's order: they stop it
        }
    }
}

/// What the daemon is told.
#[derive(Clone, Debug)]
pub struct IdleSettings {
    pub idle: IdleShutdownConfig,
    /// Copies of every segment that the cluster keeps.
    pub copies: usize,
    /// How long a segment may stay open.
    pub segment_age_max: Duration,
}

/// The daemon; see the module.
pub struct IdleShutdownDaemon {
    pub node: Context,
    pub settings: IdleSettings,
    pub health: HealthHandle,
    pub last_busy: LastBusy,
}

impl Daemon for IdleShutdownDaemon {
    const NAME: &'static str = "idle_shutdown";

    /// Looks until the shutdown, which it may cause.
    async fn run(&mut self) -> Result<(), WorkError> {
        let Self { node, settings, .. } = self;
        let settle = settings.segment_age_max * 2 + SETTLE;
        let mut draining = None;
        loop {
            let (state, view) = (node.raft.local(), self.health.view());
            let metrics = node.raft.metrics().borrow().clone();
            let (now, work) = (Instant::now(), node.activity.get(Instant::now()));
            // Games may take long: who plays is at work, whether or not one has come to its end.
            let plays = work.selfplay.paused.is_none() || work.selfplay.games_per_s > 0.0;
            let working = plays || work.training.is_some() || work.evaluation.is_some();
            let unknown = metrics.leader.is_none() || view.standing != Standing::Healthy;
            if working || unknown {
                self.last_busy.note(node.id, now);
            }
            let busy = self.last_busy.all().get(&node.id).copied().unwrap_or(node.started).max(node.started);
            let drains = state.nodes.get(&node.id).is_some_and(|it| it.draining.is_some());
            draining = if drains { draining.or(Some(now)) } else { None };
            let facts = Facts {
                me: node.id,
                state: &state,
                leads: metrics.is_leader(),
                view,
                voters: metrics.voters,
                idle: now.saturating_duration_since(busy),
                draining: draining.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
                settle,
                unacknowledged: work.selfplay.unacknowledged,
                copies: settings.copies,
                settings: settings.idle.clone(),
            };
            let (drain, reason) = match facts.decide() {
                Step::Stay => (None, String::new()),
                Step::Drain => (Some(true), format!("{REASON} for {} s", facts.idle.as_secs())),
                Step::Undrain(why) => (Some(false), why.to_owned()),
                Step::Stop => {
                    tracing::warn!("this host is idle, and all that it held is elsewhere: it stops");
                    node.shutdown.cancel();
                    return Ok(());
                }
            };
            if let Some(draining) = drain {
                tracing::warn!(draining, reason, "this host drains itself, or no longer");
                let command =
                    Command::SetDraining(SetDraining { node: node.id, draining, reason, at_ms: now_ms() });
                match node.shutdown.run_until_cancelled(node.propose(command)).await {
                    None => return Ok(()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => tracing::info!(%error, "the cluster does not know yet"),
                }
            }
            let pause = tokio::time::sleep(TICK);
            if node.shutdown.run_until_cancelled(pause).await.is_none() {
                return Ok(());
            }
        }
    }
}

/// Whose work an event shows.
fn worker(event: &Event) -> Option<&str> {
    if let Event::SelfplayComplete(games) = event {
        Some(&games.node_id)
    } else if let Event::TrainingStarted(training) = event {
        Some(&training.node_id)
    } else if let Event::WorkClaimed(work) = event {
        Some(&work.node_id)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;

    /// A world in which every one of `nodes` is as it should be, and node 3 drains for this reason.
    fn world(nodes: u64, draining: Option<&str>) -> World {
        let mut world = World::with_nodes(nodes);
        if let Some(reason) = draining {
            world.apply(Command::SetDraining(SetDraining {
                node: NodeId(3),
                draining: true,
                reason: reason.into(),
                at_ms: 1,
            }));
        }
        world
    }

    fn check(world: &World, change: impl FnOnce(&mut Facts<'_>), expected: Step) {
        let hosts = world
            .state
            .nodes
            .values()
            .map(|node| (node.id, if node.online { Host::Online } else { Host::Offline }));
        let view = View { standing: Standing::Healthy, hosts: hosts.collect(), ..View::default() };
        let settings = IdleShutdownConfig { enabled: true, ..IdleShutdownConfig::default() };
        let mut facts = Facts {
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
        check(&three, |_| {}, Step::Drain);
        check(&three, |facts| facts.settings.enabled = false, Step::Stay);
        check(&three, |facts| facts.idle = Duration::from_secs(1799), Step::Stay);
        check(&three, |facts| facts.leads = true, Step::Stay);
        for standing in [Standing::Unknown, Standing::Unhealthy] {
            check(&three, |facts| Arc::make_mut(&mut facts.view).standing = standing, Step::Stay);
        }
        check(&three, |facts| Arc::make_mut(&mut facts.view).hosts.clear(), Step::Stay);
        check(&three, |facts| facts.settings.nodes_min = 3, Step::Stay);
        check(&world(4, None), |facts| facts.settings.nodes_min = 3, Step::Drain);
        let mut one_left = world(3, None);
        one_left.offline(2);
        check(&one_left, |_| {}, Step::Stay); // one voter of three is no quorum
        check(&one_left, |facts| facts.voters = BTreeSet::from([NodeId(1)]), Step::Drain);
    }

    #[test]
    fn of_two_that_drain_the_smaller_id_goes_first() {
        let mut both = world(3, Some("idle for 1800 s"));
        both.apply(Command::SetDraining(SetDraining {
            node: NodeId(2),
            draining: true,
            reason: "idle".into(),
            at_ms: 1,
        }));
        check(&both, |_| {}, Step::Undrain("the voters that would stay are no quorum"));
        check(&both, |facts| facts.me = NodeId(2), Step::Stop);
    }

    #[test]
    fn it_stops_once_everything_is_elsewhere() {
        let drained = world(3, Some("idle for 1800 s"));
        check(&drained, |_| {}, Step::Stop);
        check(&drained, |facts| facts.draining = Duration::from_secs(59), Step::Stay);
        check(&drained, |facts| facts.unacknowledged = 1, Step::Stay);
        check(&drained, |facts| facts.leads = true, Step::Undrain("it leads"));
        let mut holds = world(3, None);
        holds.play_on(9, vec![2, 3]);
        holds.apply(Command::SetDraining(SetDraining {
            node: NodeId(3),
            draining: true,
            reason: "idle".into(),
            at_ms: 1,
        }));
        check(&holds, |_| {}, Step::Stay);
        check(&holds, |facts| facts.copies = 1, Step::Stop);
        check(&world(3, Some("maintenance")), |_| {}, Step::Stay);
        check(&drained, |facts| facts.settings.enabled = false, Step::Undrain("it may not stop by itself"));
    }

    #[test]
    fn the_latest_sign_of_work_counts() {
        let (hosts, now) = (LastBusy::default(), Instant::now());
        let earlier = now.checked_sub(Duration::from_millis(1)).unwrap();
        hosts.note(NodeId(1), now);
        hosts.note(NodeId(1), earlier);
        hosts.note(NodeId(2), earlier);
        assert_eq!(hosts.all(), BTreeMap::from([(NodeId(1), now), (NodeId(2), earlier)]));
    }
}
