//! EvaluationDaemon, the leader's half: when a candidate is evaluated, and by whom; and whether evaluation
//! keeps up. The holder's half is [`crate::daemons::gauntlet`].
//!
//! Invariant: the depth of the queue is the number of candidates in the replicated state that wait, over all
//! configurations. Backpressure begins at once, ends only after the depth has been low for a while, and does
//! not begin again soon after. An operator's event begins it as well; it then ends like any other.

use super::{
    feedback_loop,
    placement::{LEASE_TTL, RetryPauses, choose_evaluator},
    verification::Verification,
};
use crate::learner::settings::EvaluationConfig;
use cluster_state::{
    ClusterState, Command, ConfigKey, ConfigState, LeaseKind, ModelId, NodeId,
    command::{GrantLease, SetBackpressure},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// How long the depth has to be low before backpressure ends.
const STABLE: Duration = Duration::from_secs(15);
/// How long after its end backpressure does not begin again.
const REST: Duration = Duration::from_secs(30);

/// What the leader remembers, by its own clock. A new leader waits anew before it ends what another began.
#[derive(Debug, Default)]
pub struct EvaluationDecider {
    retries: RetryPauses,
    verification: Verification,
    /// Since when the depth has been low, by configuration under pressure.
    low: BTreeMap<ConfigKey, u64>,
    /// When pressure ended, by configuration.
    released: BTreeMap<ConfigKey, u64>,
}

fn evaluator(state: &ClusterState, config: &ConfigState, candidate: ModelId) -> Option<NodeId> {
    let review = state.models.get(&candidate).and_then(|model| model.review.as_ref());
    let before = review.map(|review| review.evaluated_by);
    choose_evaluator(state, &config.config_key, candidate, before, &BTreeSet::new())
}

/// Candidates that wait for evidence against the champion of their configuration. One that is being evaluated
/// waits no more.
#[must_use]
pub fn depth(state: &ClusterState) -> u64 {
    let waiting = |config: &ConfigState| {
        let busy = config.evaluation.live.as_ref().and_then(|lease| lease.subject);
        let open = config.candidates.iter().filter(|candidate| {
            let evidence = state.models.get(candidate).and_then(|model| model.evidence.as_ref());
            Some(**candidate) != busy && evidence.is_none_or(|evidence| evidence.champion != config.champion)
        });
        open.count() as u64
    };
    state.configs.values().map(|config| waiting(config)).sum()
}

impl EvaluationDecider {
    /// The evaluations that are due, and where backpressure begins or ends.
    pub fn decide(&mut self, state: &ClusterState, settings: &EvaluationConfig, at_ms: u64) -> Vec<Command> {
        let mut commands = self.pressure(state, settings, at_ms);
        for config in state.configs.values() {
            let key = &config.config_key;
            if config.evaluation.live.is_some() {
                continue;
            }
            let next = feedback_loop::next(state, config, &mut self.verification, settings, at_ms);
            let Some(candidate) = next else { continue };
            if !self.retries.allows(key, config.evaluation.failures, at_ms) {
                continue;
            }
            if let Some(node) = evaluator(state, config, candidate) {
                commands.push(Command::GrantLease(GrantLease {
                    kind: LeaseKind::Evaluation,
                    config_key: key.clone(),
                    node,
                    subject: Some(candidate),
                    ttl_ms: LEASE_TTL.as_millis() as u64,
                    at_ms,
                }));
            }
        }
        commands
    }

    /// Where backpressure begins or ends. All configurations share the nodes that evaluate, so all are held
    /// back.
    fn pressure(&mut self, state: &ClusterState, settings: &EvaluationConfig, at_ms: u64) -> Vec<Command> {
        let depth = depth(state);
        let rested = |released: &u64| at_ms.saturating_sub(*released) >= REST.as_millis() as u64;
        self.low.retain(|key, _| state.configs.contains_key(key));
        self.released.retain(|key, released| state.configs.contains_key(key) && !rested(released));
        let mut commands = Vec::new();
        for config in state.configs.values() {
            let key = &config.config_key;
            let (active, release_threshold) = match &config.steering.backpressure {
                // A threshold of 0 would never be undercut.
                Some(pressure) if depth < pressure.release_threshold.max(1) => {
                    let since = *self.low.entry(key.clone()).or_insert(at_ms);
                    if at_ms.saturating_sub(since) < STABLE.as_millis() as u64 {
                        continue;
                    }
                    self.released.insert(key.clone(), at_ms);
                    (false, pressure.release_threshold)
                }
                None if depth >= settings.backpressure_on && !self.released.contains_key(key) => {
                    (true, settings.backpressure_off)
                }
                Some(_) | None => {
                    self.low.remove(key);
                    continue;
                }
            };
            self.low.remove(key);
            commands.push(Command::SetBackpressure(SetBackpressure {
                config_key: key.clone(),
                active,
                depth,
                threshold: settings.backpressure_on,
                release_threshold,
                trigger: None,
                at_ms,
            }));
        }
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World, hash};

    fn settings() -> EvaluationConfig {
        EvaluationConfig { backpressure_on: 3, backpressure_off: 2, ..EvaluationConfig::default() }
    }

    fn granted(commands: &[Command]) -> Vec<ModelId> {
        let subject = |command: &Command| match command {
            Command::GrantLease(GrantLease { kind: LeaseKind::Evaluation, subject, .. }) => *subject,
            Command::SetBackpressure(_) => None,
            other => panic!("{other:?}"),
        };
        commands.iter().filter_map(subject).collect()
    }

    fn pressure(commands: &[Command]) -> Vec<(&str, bool, u64)> {
        let set = |command| match command {
            &Command::SetBackpressure(SetBackpressure { ref config_key, active, depth, .. }) => {
                Some((config_key.as_str(), active, depth))
            }
            Command::GrantLease(_) => None,
            other => panic!("{other:?}"),
        };
        commands.iter().filter_map(set).collect()
    }

    #[test]
    fn a_candidate_is_evaluated_once_and_again_later_after_a_failure() {
        let mut world = World::with_nodes(3);
        let mut evaluation = EvaluationDecider::default();
        let mut due = |world: &World, at_ms| granted(&evaluation.decide(&world.state, &settings(), at_ms));
        assert_eq!(due(&world, 0), []);
        world.train("a", 2);
        assert_eq!(due(&world, 0), [hash("a")]);
        world.fail_evaluation("a", 3);
        assert_eq!(due(&world, 100), []);
        assert_eq!(due(&world, 1_100), [hash("a")]);
        world.grant(LeaseKind::Evaluation, 3, Some(hash("a")));
        assert_eq!(due(&world, 1_100), []);
    }

    #[test]
    fn pressure_begins_at_the_threshold_and_ends_when_the_depth_stays_low() {
        let mut world = World::with_nodes(3);
        let mut evaluation = EvaluationDecider::default();
        world.add_config("square8_2p");
        for name in ["a", "b"] {
            world.train(name, 2);
        }
        let mut step = |world: &mut World, at_ms, expected: &[(&str, bool, u64)]| {
            let commands = evaluation.decide(&world.state, &settings(), at_ms);
            assert_eq!(pressure(&commands), expected, "at {at_ms}");
            for command in commands {
                if matches!(command, Command::SetBackpressure(_)) {
                    world.apply(command);
                }
            }
        };
        step(&mut world, 0, &[]);
        world.train("c", 2);
        let both = |active, depth| [(KEY, active, depth), ("square8_2p", active, depth)];
        step(&mut world, 0, &both(true, 3));
        step(&mut world, 50_000, &[]);
        world.reject("a");
        step(&mut world, 60_000, &[]); // two wait: between the thresholds
        world.reject("b");
        step(&mut world, 90_000, &[]);
        world.train("d", 2);
        step(&mut world, 100_000, &[]); // high again: the time counts anew
        world.reject("d");
        step(&mut world, 110_000, &[]);
        step(&mut world, 124_999, &[]);
        step(&mut world, 125_000, &both(false, 1));
        for name in ["e", "f"] {
            world.train(name, 2);
        }
        step(&mut world, 154_999, &[]); // it rests
        step(&mut world, 155_000, &both(true, 3));
    }

    #[test]
    fn what_an_event_began_ends_as_well() {
        let mut world = World::with_nodes(3);
        let mut evaluation = EvaluationDecider::default();
        for (release_threshold, threshold) in [(35, 70), (0, 0)] {
            world.apply(Command::SetBackpressure(SetBackpressure {
                config_key: KEY.into(),
                active: true,
                depth: 80,
                threshold,
                release_threshold,
                trigger: Some(hash(&format!("event {threshold}"))),
                at_ms: 0,
            }));
            assert_eq!(evaluation.decide(&world.state, &settings(), 10_000), []);
            assert_eq!(evaluation.decide(&world.state, &settings(), 24_000), []);
            let commands = evaluation.decide(&world.state, &settings(), 25_000);
            assert_eq!(pressure(&commands), [(KEY, false, 0)]);
            world.apply(commands[0].clone());
        }
    }

    #[test]
    fn who_is_evaluated_waits_no_more() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        world.train("b", 2);
        assert_eq!(depth(&world.state), 2);
        world.grant(LeaseKind::Evaluation, 3, Some(hash("b")));
        assert_eq!(depth(&world.state), 1);
    }
}
