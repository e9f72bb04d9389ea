//! PromotionController: the verdict of the gate becomes a command.
//!
//! Invariant: the state machine checks the same evidence again when it applies `Promote`; this only decides
//! when to ask.

use super::{
    auto_promotion::{CandidateVerdict, judge},
    verification::Verification,
};
use crate::learner::settings::EvaluationConfig;
use cluster_state::{
    ClusterState, Command, ModelId,
    command::{Promote, Reject},
};
use std::collections::BTreeMap;

/// What the leader remembers: why each candidate was passed over when it was last looked at, so that it is
/// said once, and since when its evidence has been there.
#[derive(Debug, Default)]
pub struct PromotionDecider {
    skipped: BTreeMap<ModelId, String>,
    verification: Verification,
}

impl PromotionDecider {
    /// The promotions and rejections that the gate asks for.
    pub fn decide(&mut self, state: &ClusterState, settings: &EvaluationConfig, at_ms: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        let mut skipped = BTreeMap::new();
        for config in state.configs.values() {
            let config_key = config.config_key.clone();
            for (position, &candidate) in config.candidates.iter().enumerate() {
                let Some(model) = state.models.get(&candidate) else { continue };
                let verified = self.verification.verdict(state, model, at_ms);
                match judge(state, config, model, position, &verified, settings) {
                    CandidateVerdict::Wait(reason) => {
                        if self.skipped.get(&candidate) != Some(&reason) {
                            tracing::info!(
                                config = %config_key,
                                candidate = candidate.short(),
                                reason,
                                "not promoted"
                            );
                        }
                        skipped.insert(candidate, reason);
                    }
                    CandidateVerdict::Promote => commands.push(Command::Promote(Promote {
                        config_key: config_key.clone(),
                        candidate,
                        expected_champion: config.champion,
                        elo_delta_min: settings.elo_delta_min,
                        at_ms,
                    })),
                    CandidateVerdict::Reject(reason) => {
                        tracing::info!(
                            config = %config_key,
                            candidate = candidate.short(),
                            reason,
                            "rejected"
                        );
                        let config_key = config_key.clone();
                        commands.push(Command::Reject(Reject { config_key, candidate, reason, at_ms }));
                    }
                }
            }
        }
        self.skipped = skipped;
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{World, hash};

    /// What is proposed, as `promote NAME` or `reject NAME`.
    fn check(world: &World, expected: &[(&str, &str)]) {
        let commands = PromotionDecider::default().decide(&world.state, &EvaluationConfig::default(), 0);
        let found: Vec<_> = commands
            .iter()
            .map(|command| match command {
                Command::Promote(Promote { candidate, .. }) => ("promote", *candidate),
                Command::Reject(Reject { candidate, .. }) => ("reject", *candidate),
                other => panic!("{other:?}"),
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|(what, name)| (*what, hash(name))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_proven_candidate_is_promoted_once_enough_nodes_hold_it() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        check(&world, &[]);
        world.evaluate("a", 3, true);
        check(&world, &[]);
        world.held("a", 1);
        check(&world, &[]);
        world.held("a", 3);
        check(&world, &[("promote", "a")]);
        world.promote("a");
        check(&world, &[]);
    }

    #[test]
    fn fewer_nodes_online_need_fewer_holders() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        world.evaluate("a", 3, true);
        world.held("a", 3);
        world.offline(1);
        check(&world, &[("promote", "a")]);
    }

    #[test]
    fn a_failed_candidate_is_rejected_and_an_older_one_with_it() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        world.train("b", 2);
        check(&world, &[("reject", "a")]);
        world.evaluate("b", 3, false);
        check(&world, &[("reject", "a"), ("reject", "b")]);
    }
}
