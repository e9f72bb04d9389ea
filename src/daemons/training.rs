//! TrainingCoordinator, the leader's half: who trains, and when. The holder's half is [`super::trainer`].

use super::handlers::{Handled, decide as decide_now};
use super::{
    health::View,
    work::{Backoff, LEASE_TTL, choose_worker},
};
use crate::{events::log::Logged, node::Context};
use raft::{ClusterState, Command, ConfigState, LeaseKind, Severity, state_machine::SELFPLAY_SOURCE};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Candidates that may wait for their verdict before training pauses. A second one would learn from games of the same
/// champion as the first, in time that the verdict needs: on two cores it was trained for longer than all else together,
/// and rejected.
pub const CANDIDATES_WAITING_MAX: usize = 1;

/// Why no training starts. Each cause ends by itself, and training goes on when none is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The champion regressed critically, and the one before is not settled yet.
    RegressionCritical,
    /// More candidates wait than evaluation can take.
    EvaluationBackpressure,
    /// A majority of the hosts cannot be reached from here.
    ClusterUnhealthy,
}

/// One cause, with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Which.
    pub cause: Cause,
    /// For people.
    pub reason: String,
    /// Since when, milliseconds since the epoch.
    pub since_ms: u64,
}

/// Why no training of a configuration starts, as a node sees it whose view of the cluster is `view`.
#[must_use]
pub fn pauses(config: &ConfigState, view: &View) -> Vec<Pause> {
    let steering = &config.steering;
    let regression = steering.regression.as_ref().filter(|it| it.severity == Severity::Critical);
    let regression = regression.map(|it| Pause {
        cause: Cause::RegressionCritical,
        reason: it.reason.clone(),
        since_ms: it.since_ms,
    });
    let backpressure = steering.backpressure.map(|it| Pause {
        cause: Cause::EvaluationBackpressure,
        reason: format!("{} candidates wait", it.depth),
        since_ms: it.since_ms,
    });
    let unhealthy = view.unhealthy.as_ref().map(|reason| Pause {
        cause: Cause::ClusterUnhealthy,
        reason: reason.clone(),
        since_ms: view.since_ms,
    });
    regression.into_iter().chain(backpressure).chain(unhealthy).collect()
}

/// What the leader remembers.
#[derive(Debug, Default)]
pub struct Training(Backoff);

impl Training {
    /// What the leader proposes.
    pub fn decide(&mut self, state: &ClusterState, view: &View, at_ms: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        for config in state.configs.values() {
            let key = &config.config_key;
            let due = config.crossings > config.consumed
                && config.training.live.is_none()
                && config.candidates.len() < CANDIDATES_WAITING_MAX
                && champion_games(state, config) >= config.threshold;
            if !due
                || !pauses(config, view).is_empty()
                || !self.0.allows(key, config.training.failures, at_ms)
            {
                continue;
            }
            if let Some(node) = choose_worker(state, LeaseKind::Training, key) {
                commands.push(Command::GrantLease {
                    kind: LeaseKind::Training,
                    config_key: key.clone(),
                    node,
                    subject: None,
                    ttl_ms: LEASE_TTL.as_millis() as u64,
                    at_ms,
                });
            }
        }
        commands
    }
}

/// Self-play games of the present champion. Those of its predecessors teach a candidate little that is new, however many
/// have come in while it was evaluated.
fn champion_games(state: &ClusterState, config: &ConfigState) -> u64 {
    let its = state.segments.iter().map(|(_, segment)| segment).filter(|segment| {
        segment.model == config.champion
            && segment.config_key == config.config_key
            && segment.source == SELFPLAY_SOURCE
    });
    its.map(|segment| segment.games).sum()
}

/// Has the leader look at the state now.
///
/// # Errors
/// When no leader is known.
pub async fn handle(node: Context, _: Arc<Logged>) -> Handled {
    decide_now(node).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World};

    #[test]
    fn one_node_trains_when_there_is_something_to_train_on() {
        let mut world = World::with_nodes(3);
        let mut training = Training::default();
        assert_eq!(training.decide(&world.state, &View::default(), 0), []);
        world.play(500);
        world.cross();
        let granted = training.decide(&world.state, &View::default(), 0);
        assert!(matches!(
            &granted[..],
            [Command::GrantLease { kind: LeaseKind::Training, subject: None, .. }]
        ));
        let epoch = world.grant(LeaseKind::Training, 2, None);
        assert_eq!(training.decide(&world.state, &View::default(), 0), []);
        world.apply(Command::FailLease {
            kind: LeaseKind::Training,
            config_key: KEY.into(),
            epoch,
            node: 2,
            error: "disk full".into(),
            at_ms: 0,
        });
        assert_eq!(training.decide(&world.state, &View::default(), 100), [], "a failure waits");
        assert_eq!(training.decide(&world.state, &View::default(), 2_000).len(), 1);
    }

    #[test]
    fn waiting_candidates_pause_training() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        world.play(500);
        world.cross();
        assert_eq!(Training::default().decide(&world.state, &View::default(), 0), []);
    }
    #[test]
    fn a_new_champion_plays_before_training_goes_on() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        world.play(900);
        world.cross();
        world.evaluate("a", 3, true);
        (1..=3).for_each(|node| world.held("a", node));
        world.promote("a");
        let due = |world: &World| Training::default().decide(&world.state, &View::default(), 0).len();
        world.play(499);
        assert_eq!(due(&world), 0, "the 900 games are by its predecessor");
        world.play(1);
        assert_eq!(due(&world), 1);
    }
}
