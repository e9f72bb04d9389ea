//! NodeMonitor: which nodes can be reached, and leases whose holder fell silent or comes to no end.
//!
//! Invariant: it judges by this node's own clock since when something has been so, never by another node's
//! clock.

use crate::{
    api::health::ClusterView,
    learner::settings::{EvaluationConfig, TrainingConfig},
};
use cluster_state::{
    ClusterState, Command, ConfigKey, LeaseKind, NodeId,
    command::{ExpireLease, SetOnline},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A node is offline when its connection has been gone for this long: three missed one-second probes.
pub const LOST_AFTER: Duration = Duration::from_secs(3);

/// What work takes at most besides its games or steps: getting models and segments.
const PREPARATION: Duration = Duration::from_secs(3600);
/// A training may take so many times the time that its steps may take.
const TRAININGS: u32 = 10;
/// What a simulation of a game takes at most, over all its moves: some ten times what it takes on one core
/// with the largest board.
const SIMULATION: Duration = Duration::from_secs(1);

/// How long a lease may be held, however often it is renewed: a holder may renew it without working. It is a
/// multiple of what the leader's own settings allow.
#[derive(Clone, Copy, Debug)]
pub struct LeaseAges {
    training: Duration,
    evaluation: Duration,
}

impl LeaseAges {
    /// The ages that these settings allow.
    #[must_use]
    pub fn of(training: &TrainingConfig, evaluation: &EvaluationConfig) -> Self {
        let steps = Duration::from_secs(training.seconds_max).saturating_mul(TRAININGS);
        let games = evaluation.games_max.saturating_add(evaluation.baseline_games.saturating_mul(2));
        let simulations = games.saturating_mul(evaluation.simulations);
        Self {
            training: PREPARATION.saturating_add(steps),
            evaluation: PREPARATION.saturating_add(SIMULATION.saturating_mul(simulations)),
        }
    }

    fn most(&self, kind: LeaseKind) -> Duration {
        match kind {
            LeaseKind::Training => self.training,
            LeaseKind::Evaluation => self.evaluation,
        }
    }
}

/// What the leader remembers.
#[derive(Debug, Default)]
pub struct NodeMonitorDecider {
    /// Since when this node has seen another one otherwise than the state says.
    contradicted: BTreeMap<(NodeId, bool), Instant>,
    /// When the latest renewal of a lease was first seen: by kind, configuration, epoch and renewal.
    renewals: BTreeMap<(LeaseKind, ConfigKey), (u64, u64, Instant)>,
    /// When a lease was first seen: by kind and configuration, with its epoch.
    granted: BTreeMap<(LeaseKind, ConfigKey), (u64, Instant)>,
}

impl NodeMonitorDecider {
    /// Which nodes came or went, and which leases expire, given whom this node is connected to. A host that
    /// an operator says is offline loses its leases too; whether it is online in the state depends on the
    /// connection alone.
    pub fn decide(
        &mut self,
        state: &ClusterState,
        view: &ClusterView,
        me: NodeId,
        connected: impl Fn(&str) -> bool,
        now: Instant,
        at_ms: u64,
    ) -> Vec<Command> {
        let mut commands = self.nodes(state, me, connected, now, at_ms);
        commands.extend(self.leases(&view.through(state), now, at_ms));
        commands
    }

    /// The leases that have been held for too long.
    pub fn overdue(
        &mut self,
        state: &ClusterState,
        ages: &LeaseAges,
        now: Instant,
        at_ms: u64,
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        for config in state.configs.values() {
            for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
                let key = (kind, config.config_key.clone());
                let Some(lease) = &config.lease(kind).live else {
                    self.granted.remove(&key);
                    continue;
                };
                let seen = self.granted.entry(key).or_insert((lease.epoch, now));
                if seen.0 != lease.epoch {
                    *seen = (lease.epoch, now);
                }
                let most = ages.most(kind);
                if now.duration_since(seen.1) >= most {
                    commands.push(Command::ExpireLease(ExpireLease {
                        kind,
                        config_key: config.config_key.clone(),
                        epoch: lease.epoch,
                        last_renewed_ms: None,
                        reason: format!("its holder came to no end in {} s", most.as_secs()),
                        at_ms,
                    }));
                }
            }
        }
        commands
    }

    fn nodes(
        &mut self,
        state: &ClusterState,
        me: NodeId,
        connected: impl Fn(&str) -> bool,
        now: Instant,
        at_ms: u64,
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        for node in state.nodes.values() {
            let seen = node.id == me || connected(&node.peer_id);
            if seen == node.online {
                self.contradicted.retain(|(id, _), _| *id != node.id);
                continue;
            }
            let since = *self.contradicted.entry((node.id, seen)).or_insert(now);
            if seen || now.duration_since(since) >= LOST_AFTER {
                let reason = if seen { "connected" } else { "connection lost" };
                commands.push(Command::SetOnline(SetOnline {
                    node: node.id,
                    online: seen,
                    reason: reason.to_owned(),
                    observed_boot: node.boot,
                    at_ms,
                }));
            }
        }
        commands
    }

    fn leases(&mut self, state: &ClusterState, now: Instant, at_ms: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        for config in state.configs.values() {
            for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
                let key = (kind, config.config_key.clone());
                let Some(lease) = &config.lease(kind).live else {
                    self.renewals.remove(&key);
                    continue;
                };
                let seen = self.renewals.entry(key).or_insert((lease.epoch, lease.renewed_ms, now));
                if (seen.0, seen.1) != (lease.epoch, lease.renewed_ms) {
                    *seen = (lease.epoch, lease.renewed_ms, now);
                }
                let silent = now.duration_since(seen.2) >= Duration::from_millis(lease.ttl_ms);
                let gone = !state.is_online(lease.node);
                if silent || gone {
                    let reason = if gone { "the holder is offline" } else { "the holder is silent" };
                    commands.push(Command::ExpireLease(ExpireLease {
                        kind,
                        config_key: config.config_key.clone(),
                        epoch: lease.epoch,
                        last_renewed_ms: Some(lease.renewed_ms),
                        reason: reason.to_owned(),
                        at_ms,
                    }));
                }
            }
        }
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        daemons::fixture::{World, hash},
        events::{Event, caused},
        leader::{placement::choose_worker, training::TrainingDecider},
    };
    use cluster_state::{
        command::{GrantLease, RenewLease},
        samples::peer_id,
    };

    fn names(commands: &[Command]) -> Vec<String> {
        commands
            .iter()
            .map(|command| match command {
                Command::SetOnline(SetOnline { node, online, .. }) => format!("{node} {online}"),
                Command::ExpireLease(ExpireLease { kind, epoch, .. }) => format!("expire {kind} {epoch}"),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_lost_connection_counts_after_a_while_and_a_new_one_at_once() {
        let mut world = World::with_nodes(3);
        let mut monitor = NodeMonitorDecider::default();
        let start = Instant::now();
        let mut at = |world: &World, connected: &[&str], seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            names(&monitor.decide(
                &world.state,
                &ClusterView::default(),
                NodeId(1),
                |peer| connected.contains(&peer),
                now,
                0,
            ))
        };
        let (second, third) = (peer_id(2), peer_id(3));
        let both: &[&str] = &[&second, &third];
        assert!(at(&world, both, 0).is_empty());
        assert!(at(&world, &[&third], 1).is_empty());
        assert!(at(&world, both, 2).is_empty());
        assert!(at(&world, &[&third], 3).is_empty());
        assert!(at(&world, &[&third], 5).is_empty());
        assert_eq!(at(&world, &[&third], 6), ["2 false"]);
        world.offline(2);
        assert!(at(&world, &[&third], 7).is_empty());
        assert_eq!(at(&world, both, 8), ["2 true"]);
        world.online(2, true);
        world.offline(1);
        assert_eq!(at(&world, both, 9), ["1 true"]);
    }

    #[test]
    fn a_silent_holder_loses_its_lease_by_the_leaders_own_clock() {
        let mut world = World::with_nodes(3);
        world.play(500);
        world.cross();
        let epoch = world.grant(LeaseKind::Training, 2, None);
        let mut monitor = NodeMonitorDecider::default();
        let start = Instant::now();
        let mut at = |world: &World, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            names(&monitor.decide(&world.state, &ClusterView::default(), NodeId(1), |_| true, now, 0))
        };
        assert!(at(&world, 0).is_empty());
        assert!(at(&world, 11).is_empty());
        world.apply(Command::RenewLease(RenewLease {
            kind: LeaseKind::Training,
            config_key: "hex8_2p".into(),
            epoch,
            node: NodeId(2),
            at_ms: world.now + 1, // a clock that hardly moves
        }));
        assert!(at(&world, 12).is_empty());
        assert!(at(&world, 23).is_empty());
        assert_eq!(at(&world, 24), ["expire training 1"]);
        world.offline(2);
        let now = start + Duration::from_secs(12);
        let gone = NodeMonitorDecider::default().decide(
            &world.state,
            &ClusterView::default(),
            NodeId(1),
            |peer| peer == peer_id(3),
            now,
            0,
        );
        assert_eq!(names(&gone), ["expire training 1"]);
    }

    #[test]
    fn who_renews_without_an_end_loses_its_lease_as_well() {
        let mut world = World::with_nodes(3);
        let ages = LeaseAges::of(&TrainingConfig::default(), &EvaluationConfig::default());
        // An hour, and ten times 40 s; an hour, and 480 games of 16 simulations.
        assert_eq!((ages.training.as_secs(), ages.evaluation.as_secs()), (4_000, 3_600 + 7_680));
        world.train("a", 2);
        world.play(500);
        world.cross();
        let training = world.grant(LeaseKind::Training, 2, None);
        world.grant(LeaseKind::Evaluation, 3, Some(hash("a")));
        let (mut monitor, start) = (NodeMonitorDecider::default(), Instant::now());
        let mut at = |world: &World, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            monitor.overdue(&world.state, &ages, now, 0)
        };
        let mut none = Vec::new();
        for seconds in (0..4_000).step_by(500) {
            world.now += 1;
            world.apply(Command::RenewLease(RenewLease {
                kind: LeaseKind::Training,
                config_key: "hex8_2p".into(),
                epoch: training,
                node: NodeId(2),
                at_ms: world.now,
            }));
            none.extend(at(&world, seconds));
        }
        assert_eq!(none, []);
        let expired = at(&world, 4_000);
        assert_eq!(names(&expired), [format!("expire training {training}")]);
        expired.into_iter().for_each(|command| drop(world.apply(command)));
        assert_eq!(world.state.config("hex8_2p").unwrap().training.failures, 1);
        let again = choose_worker(&world.state, LeaseKind::Training, &"hex8_2p".into());
        assert!(again.is_some_and(|node| node != NodeId(2)), "another node gets it: {again:?}");
        assert_eq!(names(&at(&world, 11_280)), ["expire evaluation 1"]);
    }

    /// Applies commands, and names the events that they are.
    fn apply(world: &mut World, commands: Vec<Command>) -> Vec<&'static str> {
        let mut events = Vec::new();
        for command in commands {
            let before = world.state.clone();
            let response = world.apply(command.clone());
            let applied = caused::AppliedCommand {
                response: &response,
                before: &before,
                state: &world.state,
                games_planned: caused::GAMES_PLANNED,
            };
            let told = caused::caused(&command, &applied);
            events.extend(told.iter().map(Event::name));
        }
        events
    }

    #[test]
    fn a_dead_hosts_work_goes_to_another() {
        let mut world = World::with_nodes(3);
        world.lead(1, 1);
        world.play(500);
        world.cross();
        world.grant(LeaseKind::Training, 2, None);
        let (mut monitor, start) = (NodeMonitorDecider::default(), Instant::now());
        let mut at = |world: &World, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            monitor.decide(
                &world.state,
                &ClusterView::default(),
                NodeId(1),
                |peer| peer != peer_id(2),
                now,
                0,
            )
        };
        assert_eq!(at(&world, 0), []);
        let lost = at(&world, 3);
        assert_eq!(apply(&mut world, lost), ["HOST_OFFLINE"]);
        let taken = at(&world, 3);
        assert_eq!(apply(&mut world, taken), ["TRAINING_FAILED", "WORK_TIMEOUT"]);
        let mut training = TrainingDecider::default();
        assert_eq!(training.decide(&world.state, &ClusterView::default(), 0), [], "a failure waits");
        let again = training.decide(&world.state, &ClusterView::default(), 1000);
        assert!(matches!(&again[..], [Command::GrantLease(GrantLease { node: NodeId(3), .. })]), "{again:?}");
        assert_eq!(apply(&mut world, again), ["TRAINING_STARTED", "WORK_CLAIMED"]);
    }

    #[test]
    fn who_is_said_to_be_offline_loses_its_lease_and_nothing_else() {
        let mut world = World::with_nodes(3);
        world.play(500);
        world.cross();
        world.grant(LeaseKind::Training, 2, None);
        let view = ClusterView { claimed: [NodeId(2)].into(), ..ClusterView::default() };
        let found =
            NodeMonitorDecider::default().decide(&world.state, &view, NodeId(1), |_| true, Instant::now(), 0);
        assert_eq!(names(&found), ["expire training 1"]);
    }
}
