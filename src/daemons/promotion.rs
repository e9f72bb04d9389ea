//! PromotionController and AutoPromotionDaemon: the verdict on an evaluated candidate.
//!
//! The state machine checks the same evidence again when it applies `Promote`: this only decides when to ask.

use raft::{ClusterState, Command, ConfigState, Model, Sprt};
use wire::Hash;

/// What the leader proposes; `elo_delta_min` is the smallest gain that counts.
#[must_use]
pub fn decide(state: &ClusterState, elo_delta_min: f64, at_ms: u64) -> Vec<Command> {
    let mut commands = Vec::new();
    for config in state.configs.values() {
        for (position, candidate) in config.candidates.iter().enumerate() {
            let Some(model) = state.models.get(candidate) else { continue };
            let newest = position + 1 == config.candidates.len();
            match judge(state, config, model, newest, elo_delta_min) {
                Verdict::Wait => {}
                Verdict::Promote => commands.push(Command::Promote {
                    config_key: config.config_key.clone(),
                    candidate: *candidate,
                    expected_champion: config.champion,
                    elo_delta_min,
                    at_ms,
                }),
                Verdict::Reject(reason) => commands.push(reject(config, *candidate, reason, at_ms)),
            }
        }
    }
    commands
}

enum Verdict {
    Wait,
    Promote,
    Reject(String),
}

fn judge(
    state: &ClusterState,
    config: &ConfigState,
    model: &Model,
    newest: bool,
    elo_delta_min: f64,
) -> Verdict {
    let leased = config.evaluation.live.as_ref().is_some_and(|lease| lease.subject == Some(model.info.hash));
    let evidence = match &model.evidence {
        Some(evidence) if evidence.champion == config.champion => evidence,
        Some(_) | None if newest || leased => return Verdict::Wait,
        Some(_) | None => return Verdict::Reject("superseded by a newer candidate".to_owned()),
    };
    if !evidence.passed_gauntlet {
        return Verdict::Reject(format!(
            "gauntlet failed: {:.0} % against random, {:.0} % against the heuristic, Elo {:+.0} ± {:.0}",
            evidence.win_rate_vs_random * 100.0,
            evidence.win_rate_vs_heuristic * 100.0,
            evidence.elo_delta,
            evidence.elo_error
        ));
    }
    if evidence.sprt != Sprt::Accept || evidence.elo_delta < elo_delta_min {
        return Verdict::Reject(format!(
            "not shown to be stronger: Elo {:+.0} ± {:.0} after {} games",
            evidence.elo_delta, evidence.elo_error, evidence.games
        ));
    }
    let holders = model.holders.iter().filter(|node| state.is_online(**node)).count() as u64;
    if holders < state.required_model_holders() { Verdict::Wait } else { Verdict::Promote }
}

fn reject(config: &ConfigState, candidate: Hash, reason: String, at_ms: u64) -> Command {
    Command::Reject { config_key: config.config_key.clone(), candidate, reason, at_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{World, hash};

    /// What is proposed, as `promote NAME` or `reject NAME`.
    fn check(world: &World, expected: &[(&str, &str)]) {
        let commands = decide(&world.state, 25.0, 0);
        let found: Vec<_> = commands
            .iter()
            .map(|command| match command {
                Command::Promote { candidate, .. } => ("promote", *candidate),
                Command::Reject { candidate, .. } => ("reject", *candidate),
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
