//! FeedbackLoopController: a trained candidate gets its verdict, and the loop is closed.
//!
//! Invariant: every candidate ends. It is evaluated against the present champion. An evaluation that ran out
//! of games while the candidate was ahead is repeated once; one that fails is repeated a bounded number of
//! times. After that the candidate is judged on what there is, or rejected. This file decides what is
//! evaluated; [`super::evaluation`] decides when and by whom.

use super::verification::{ROUNDS_MAX, Verification};
use crate::learner::settings::EvaluationConfig;
use cluster_state::ModelId;
use cluster_state::{
    ClusterState, Command, ConfigKey, ConfigState, Evidence, Model, Sprt, command::Reject,
    state_machine::EVIDENCE_GAMES_MIN,
};
use std::collections::BTreeMap;

/// Evaluations of one candidate that may fail or expire in a row before it is given up. It is not fewer
/// because the death of a host counts as well, which says nothing of the candidate.
const ATTEMPTS_MAX: u32 = 5;

/// The candidate to evaluate next: the newest, unless it has its evidence, or evidence that nobody confirms.
#[must_use]
pub fn next(
    state: &ClusterState,
    config: &ConfigState,
    verification: &mut Verification,
    settings: &EvaluationConfig,
    at_ms: u64,
) -> Option<ModelId> {
    let newest = *config.candidates.last()?;
    let model = state.models.get(&newest)?;
    let evidence = evidence(config, model);
    let open = evidence.is_none_or(|evidence| deserves_another(model, evidence, settings))
        || verification.asks_for_another(state, config, model, at_ms);
    open.then_some(newest)
}

/// The evidence of a candidate, if it is against the present champion.
fn evidence<'a>(config: &ConfigState, model: &'a Model) -> Option<&'a Evidence> {
    model.evidence.as_ref().filter(|evidence| evidence.champion == config.champion)
}

/// Whether a candidate is evaluated once more although there is evidence about it. The games ran out while it
/// was ahead by enough, in its first evaluation; or it did not pass, by other terms than this leader's: an
/// evaluator chooses them, and with a test of two games fails whom it likes. The state says how many
/// evaluations a candidate has had, so a new leader knows of them as well.
#[must_use]
pub fn deserves_another(model: &Model, evidence: &Evidence, settings: &EvaluationConfig) -> bool {
    let rounds = model.review.as_ref().map_or(0, |review| review.rounds);
    let ahead = evidence.sprt == Sprt::Inconclusive
        && evidence.games >= EVIDENCE_GAMES_MIN
        && evidence.elo_delta > 0.0
        && evidence.elo_delta >= settings.elo_delta_min;
    let foreign = !evidence.passed_gauntlet && evidence.terms != settings.terms();
    (ahead && rounds <= 1) || (foreign && rounds < ROUNDS_MAX)
}

/// What the leader remembers: by configuration, the candidate and how many evaluations had failed in a row
/// before its first. A new leader counts anew, so that its candidates get their chances again.
#[derive(Debug, Default)]
pub struct FeedbackLoopDecider {
    failures: BTreeMap<ConfigKey, (ModelId, u32)>,
    verification: Verification,
}

impl FeedbackLoopDecider {
    /// The candidates that are given up.
    pub fn decide(&mut self, state: &ClusterState, settings: &EvaluationConfig, at_ms: u64) -> Vec<Command> {
        self.failures.retain(|key, _| state.configs.contains_key(key));
        let mut commands = Vec::new();
        for config in state.configs.values() {
            let Some(candidate) = next(state, config, &mut self.verification, settings, at_ms) else {
                self.failures.remove(&config.config_key);
                continue;
            };
            let failures = config.evaluation.failures;
            let seen = self.failures.entry(config.config_key.clone()).or_insert((candidate, failures));
            if seen.0 != candidate || failures < seen.1 {
                *seen = (candidate, failures);
            }
            let failed = failures - seen.1;
            // One that has evidence is judged on it by the gate.
            if failed >= ATTEMPTS_MAX && config.evaluation.live.is_none() {
                let error = config.evaluation.last_end.as_ref().map_or("no reason given", |end| &end.reason);
                let reason = format!("its evaluation failed {failed} times: {error}");
                commands.push(Command::Reject(Reject {
                    config_key: config.config_key.clone(),
                    candidate,
                    reason: reason.chars().take(200).collect(),
                    at_ms,
                }));
            }
        }
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World, hash};
    use cluster_state::{Tallies, Tally, Terms, samples};

    fn due(world: &World) -> Option<ModelId> {
        let config = world.state.config(KEY).unwrap();
        next(&world.state, config, &mut Verification::default(), &EvaluationConfig::default(), world.now)
    }

    #[test]
    fn the_newest_candidate_without_evidence_is_next() {
        let mut world = World::with_nodes(3);
        assert_eq!(due(&world), None);
        world.train("a", 2);
        assert_eq!(due(&world), Some(hash("a")));
        world.train("b", 2);
        assert_eq!(due(&world), Some(hash("b")));
        world.evaluate("b", 3, true);
        assert_eq!(due(&world), None);
        world.evaluate("a", 3, true);
        (1..=3).for_each(|node| world.held("a", node));
        world.promote("a");
        assert_eq!(due(&world), Some(hash("b")), "the champion moved");
    }

    #[test]
    fn a_candidate_ahead_when_the_games_ran_out_gets_one_more_evaluation() {
        for (elo_delta, expected) in [(30.0, true), (25.0, true), (24.0, false), (-60.0, false)] {
            let mut world = World::with_nodes(3);
            world.train("a", 2);
            world.evaluate_in_vain("a", 3, elo_delta);
            assert_eq!(due(&world).is_some(), expected, "{elo_delta}");
            if expected {
                world.evaluate_in_vain("a", 3, elo_delta);
                assert_eq!(due(&world), None, "once");
            }
        }
    }

    #[test]
    fn a_candidate_that_fails_by_an_evaluators_own_terms_is_evaluated_again() {
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        let champion = world.state.config(KEY).unwrap().champion;
        let terms = Terms { games_max: 2, ..samples::TERMS };
        let sets = |sets: [u32; 3]| Tally::of(sets.into()).unwrap();
        let (one, none) = (sets([0, 1, 0]), Tally::new(2));
        let against = Tallies { champion: one, random: sets([0, 0, 20]), heuristic: none };
        let short = Evidence::of((hash("a"), champion), terms, against, Vec::new());
        for round in 1..=ROUNDS_MAX {
            world.evaluated(3, short.clone());
            assert_eq!(due(&world).is_some(), round < ROUNDS_MAX, "{round}");
        }
    }

    #[test]
    fn a_candidate_whose_evaluation_keeps_failing_is_given_up() {
        let mut world = World::with_nodes(3);
        let mut control = FeedbackLoopDecider::default();
        let mut rejected = |world: &World| control.decide(&world.state, &EvaluationConfig::default(), 0);
        world.train("a", 2);
        for _ in 0..ATTEMPTS_MAX {
            assert_eq!(rejected(&world), []);
            world.fail_evaluation("a", 3);
        }
        let commands = rejected(&world);
        assert!(matches!(&commands[..], [Command::Reject(Reject { candidate, reason, .. })]
            if *candidate == hash("a") && reason == "its evaluation failed 5 times: disk full"));
        world.apply(commands[0].clone());
        world.train("b", 2);
        assert_eq!(rejected(&world), [], "the failures were not its own");
        world.fail_evaluation("b", 3);
        assert_eq!(rejected(&world), []);
    }
}
