//! ClusterWatchdogDaemon: reports work that takes too long, and work that does not happen.
//!
//! Pure except for its memory; it measures with its own clock how long each state has lasted. It only
//! reports, because nothing but a lease starts work. Every node looks, so that every node's status shows it.

use crate::{
    api::health::{ClusterView, HostState},
    leader::training::pauses,
};
use cluster_state::{ClusterState, ConfigKey, ConfigState, LeaseKind, NodeId};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// How long a host that should play may be silent. A segment of games is due every few seconds.
const SILENT: Duration = Duration::from_secs(15 * 60);
/// How long a training run may be due without any node taking it up and without a known obstacle.
const UNTRAINED: Duration = Duration::from_secs(30 * 60);
/// How much longer than its settings say a training run may take, because games are fetched first.
const FETCHING: Duration = Duration::from_secs(15 * 60);
/// Longest evaluation. It takes minutes; its settings bound games, not time.
const EVALUATION: Duration = Duration::from_secs(2 * 3600);

/// Longest time that each kind of work may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    training: Duration,
    evaluation: Duration,
}

impl Limits {
    /// `training` is how long a run may last by its settings.
    #[must_use]
    pub fn new(training: Duration) -> Self {
        Self { training: training + FETCHING, evaluation: EVALUATION }
    }
}

/// Something that has begun.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Lease(LeaseKind, ConfigKey, u64),
    Host(NodeId),
    Due(ConfigKey),
}

/// Since when each state has lasted.
#[derive(Debug, Default)]
pub struct Watchdog(BTreeMap<Thing, Instant>);

impl Watchdog {
    /// What is wrong, each as a name and a sentence. `busy` says when hosts last showed work.
    pub fn look(
        &mut self,
        state: &ClusterState,
        view: &ClusterView,
        busy: &BTreeMap<NodeId, Instant>,
        limits: &Limits,
        now: Instant,
    ) -> Vec<(String, String)> {
        let mut look = WatchdogLook { began: &mut self.0, there: BTreeSet::new(), alarms: Vec::new(), now };
        for config in state.configs.values() {
            look.at_leases(config, limits);
            look.at_due_training(config, view);
        }
        look.at_hosts(state, view, busy);
        let WatchdogLook { there, alarms, .. } = look;
        self.0.retain(|thing, _| there.contains(thing));
        alarms
    }
}

/// One look of the watchdog.
struct WatchdogLook<'a> {
    began: &'a mut BTreeMap<Thing, Instant>,
    /// What exists at this look; the watchdog forgets the rest.
    there: BTreeSet<Thing>,
    alarms: Vec<(String, String)>,
    now: Instant,
}

impl WatchdogLook<'_> {
    /// For how long a thing has lasted.
    fn lasts(&mut self, thing: Thing) -> Duration {
        let at = *self.began.entry(thing.clone()).or_insert(self.now);
        self.there.insert(thing);
        self.now.saturating_duration_since(at)
    }

    fn at_leases(&mut self, config: &ConfigState, limits: &Limits) {
        let key = &config.config_key;
        for (kind, limit) in
            [(LeaseKind::Training, limits.training), (LeaseKind::Evaluation, limits.evaluation)]
        {
            let Some(lease) = &config.lease(kind).live else { continue };
            let lasts = self.lasts(Thing::Lease(kind, key.clone(), lease.epoch));
            if lasts >= limit {
                let text = format!("node-{} has had the {kind} of {key} for {}", lease.node, minutes(lasts));
                self.alarms.push((format!("long_{kind}:{key}"), text));
            }
        }
    }

    fn at_due_training(&mut self, config: &ConfigState, view: &ClusterView) {
        let key = &config.config_key;
        let due = config.crossings > config.consumed
            && config.training.live.is_none()
            && config.candidates.is_empty()
            && pauses(config, view).is_empty();
        let waits = if due { self.lasts(Thing::Due(key.clone())) } else { Duration::ZERO };
        if waits >= UNTRAINED {
            let text = format!("{key} has had enough games for {} and nobody trains", minutes(waits));
            self.alarms.push((format!("untrained:{key}"), text));
        }
    }

    fn at_hosts(&mut self, state: &ClusterState, view: &ClusterView, busy: &BTreeMap<NodeId, Instant>) {
        let playing =
            state.configs.values().any(|config| !config.target.paused && config.target.weight > 0.0);
        let holders: BTreeSet<NodeId> = state
            .configs
            .values()
            .flat_map(|config| [&config.training, &config.evaluation])
            .filter_map(|slot| slot.live.as_ref().map(|lease| lease.node))
            .collect();
        for node in state.nodes.values() {
            let should = playing && node.draining.is_none() && !holders.contains(&node.id);
            if !should || view.hosts.get(&node.id) != Some(&HostState::Online) {
                continue;
            }
            let watched = self.lasts(Thing::Host(node.id));
            let idle =
                busy.get(&node.id).map_or(watched, |at| self.now.saturating_duration_since(*at).min(watched));
            if idle >= SILENT {
                let (id, name, idle) = (node.id, &node.name, minutes(idle));
                let text = format!("node-{id} ({name}) should play and has shown no work for {idle}");
                self.alarms.push((format!("silent:node-{id}"), text));
            }
        }
    }
}

fn minutes(duration: Duration) -> String {
    format!("{} min", duration.as_secs() / 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;

    const LIMITS: Limits =
        Limits { training: Duration::from_secs(600), evaluation: Duration::from_secs(3600) };

    /// Minute, world, minutes at which hosts last showed work, expected names of what is wrong.
    type Step<'a> = (u64, &'a World, &'a [(NodeId, u64)], &'a [&'a str]);

    fn check(watchdog: &mut Watchdog, start: Instant, steps: &[Step<'_>]) {
        for (minute, world, busy, expected) in steps {
            let at = |minute: u64| start + Duration::from_secs(minute * 60);
            let hosts = world.state.nodes.keys().map(|id| (*id, HostState::Online)).collect();
            let view = ClusterView { hosts, ..ClusterView::default() };
            let busy = busy.iter().map(|(id, minute)| (*id, at(*minute))).collect();
            let alarms = watchdog.look(&world.state, &view, &busy, &LIMITS, at(*minute));
            let names: Vec<&str> = alarms.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, *expected, "after {minute} min");
        }
    }

    #[test]
    fn a_host_that_shows_no_work_is_silent() {
        let world = World::with_nodes(2);
        let both = |minute| [(NodeId(1), minute), (NodeId(2), minute)];
        check(
            &mut Watchdog::default(),
            Instant::now(),
            &[
                (0, &world, &[], &[]),
                (14, &world, &[(NodeId(1), 14)], &[]),
                (15, &world, &[(NodeId(1), 14)], &["silent:node-2"]),
                (16, &world, &both(16), &[]),
                (31, &world, &both(16), &["silent:node-1", "silent:node-2"]),
            ],
        );
        let mut drained = World::with_nodes(2);
        drained.drain(2, true);
        check(
            &mut Watchdog::default(),
            Instant::now(),
            &[(0, &drained, &[], &[]), (60, &drained, &[(NodeId(1), 60)], &[])],
        );
    }

    #[test]
    fn work_that_is_due_or_goes_on_for_too_long_shows() {
        let mut due = World::with_nodes(1);
        due.play(500);
        due.cross();
        let mut watchdog = Watchdog::default();
        let start = Instant::now();
        check(
            &mut watchdog,
            start,
            &[(0, &due, &[(NodeId(1), 0)], &[]), (30, &due, &[(NodeId(1), 30)], &["untrained:hex8_2p"])],
        );
        let mut leased = due;
        leased.grant(LeaseKind::Training, 1, None);
        check(
            &mut watchdog,
            start,
            &[
                (31, &leased, &[], &[]),
                (40, &leased, &[], &[]),
                (41, &leased, &[], &["long_training:hex8_2p"]), // who works need not play
            ],
        );
        let mut unhealthy = World::with_nodes(1);
        unhealthy.play(500);
        unhealthy.cross();
        let view = ClusterView { unhealthy: Some("x".into()), ..ClusterView::default() };
        let mut watchdog = Watchdog::default();
        for minute in [0, 60] {
            let now = start + Duration::from_secs(60 * minute);
            let found = watchdog.look(&unhealthy.state, &view, &BTreeMap::new(), &LIMITS, now);
            assert_eq!(found, [], "a pause has its reason");
        }
    }
}
