//! EvaluationDaemon, the leader's half: which candidate is evaluated, and by whom. The holder's half is
//! [`super::gauntlet`].

use super::handlers::{Handled, decide as decide_now};
use super::work::{Backoff, LEASE_TTL, choose_worker};
use crate::{events::log::Logged, node::Context};
use raft::{ClusterState, Command, ConfigState, LeaseKind};
use std::sync::Arc;
use wire::Hash;

/// What the leader remembers.
#[derive(Debug, Default)]
pub struct Evaluation(Backoff);

/// The newest candidate without evidence against the present champion.
fn next(state: &ClusterState, config: &ConfigState) -> Option<Hash> {
    let newest = *config.candidates.last()?;
    let evidence = state.models.get(&newest).and_then(|model| model.evidence.as_ref());
    evidence.is_none_or(|evidence| evidence.champion != config.champion).then_some(newest)
}

impl Evaluation {
    /// What the leader proposes.
    pub fn decide(&mut self, state: &ClusterState, at_ms: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        for config in state.configs.values() {
            let key = &config.config_key;
            if config.evaluation.live.is_some() {
                continue;
            }
            let Some(candidate) = next(state, config) else { continue };
            if !self.0.allows(key, config.evaluation.failures, at_ms) {
                continue;
            }
            if let Some(node) = choose_worker(state, LeaseKind::Evaluation, key) {
                commands.push(Command::GrantLease {
                    kind: LeaseKind::Evaluation,
                    config_key: key.clone(),
                    node,
                    subject: Some(candidate),
                    ttl_ms: LEASE_TTL.as_millis() as u64,
                    at_ms,
                });
            }
        }
        commands
    }
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
    use crate::daemons::fixture::{World, hash};

    fn subject(commands: &[Command]) -> Option<Hash> {
        match commands {
            [] => None,
            [Command::GrantLease { kind: LeaseKind::Evaluation, subject, .. }] => *subject,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_newest_candidate_is_evaluated_against_the_present_champion() {
        let mut world = World::with_nodes(3);
        let mut evaluation = Evaluation::default();
        assert_eq!(subject(&evaluation.decide(&world.state, 0)), None);
        world.train("a", 2);
        assert_eq!(subject(&evaluation.decide(&world.state, 0)), Some(hash("a")));
        world.train("b", 2);
        assert_eq!(subject(&evaluation.decide(&world.state, 0)), Some(hash("b")));
        world.evaluate("b", 3, true);
        assert_eq!(subject(&evaluation.decide(&world.state, 0)), None);
        world.evaluate("a", 3, true);
        for node in 1..=3 {
            world.held("a", node);
        }
        world.promote("a");
        assert_eq!(subject(&evaluation.decide(&world.state, 0)), Some(hash("b")), "the champion moved");
    }
}
