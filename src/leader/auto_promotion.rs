//! AutoPromotionDaemon: the gate on an evaluated candidate.
//!
//! Invariant: a candidate is judged by what its own evaluation against the present champion found, once
//! others have confirmed that, and by nothing else. Every condition has to hold.

use super::{
    feedback_loop::deserves_another,
    verification::{ROUNDS_MAX, Verified},
};
use crate::learner::settings::EvaluationConfig;
use cluster_state::{ClusterState, ConfigState, Evidence, Model, Sprt, state_machine::EVIDENCE_GAMES_MIN};

/// What becomes of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateVerdict {
    /// It waits, for this reason.
    Wait(String),
    /// It becomes champion.
    Promote,
    /// It will never play, for this reason.
    Reject(String),
}

/// Judges the candidate at `position` among those of its configuration. `verified` says whether others
/// confirm its evidence.
#[must_use]
pub fn judge(
    state: &ClusterState,
    config: &ConfigState,
    model: &Model,
    position: usize,
    verified: &Verified,
    settings: &EvaluationConfig,
) -> CandidateVerdict {
    let newest = position + 1 == config.candidates.len();
    let leased = config.evaluation.live.as_ref().is_some_and(|lease| lease.subject == Some(model.info.hash));
    let evidence = match &model.evidence {
        _ if leased => return CandidateVerdict::Wait("it is being evaluated".to_owned()),
        Some(evidence) if evidence.champion == config.champion => evidence,
        Some(_) | None if newest => return CandidateVerdict::Wait("it waits for its evaluation".to_owned()),
        Some(_) | None => return CandidateVerdict::Reject("superseded by a newer candidate".to_owned()),
    };
    if newest && deserves_another(model, evidence, settings) {
        let why =
            if evidence.terms == settings.terms() { "the games ran out" } else { "the terms were others" };
        return CandidateVerdict::Wait(format!("{why} at {}: it plays once more", elo(evidence)));
    }
    let rounds = model.review.as_ref().map_or(0, |review| review.rounds);
    match verified {
        Verified::Yes => {}
        Verified::Waits(what) => return CandidateVerdict::Wait(format!("it waits for {what}")),
        Verified::Contested(reason) if newest && rounds < ROUNDS_MAX => {
            return CandidateVerdict::Wait(format!("{reason}: it is evaluated again"));
        }
        Verified::Contested(reason) => return CandidateVerdict::Reject(reason.clone()),
    }
    if let Some(reason) = objection(evidence, settings) {
        return CandidateVerdict::Reject(reason);
    }
    let have = model.holders.iter().filter(|node| state.is_online(**node)).count() as u64;
    let need = state.required_model_holders();
    if have < need {
        return CandidateVerdict::Wait(format!("{have} of the {need} online nodes that it needs hold it"));
    }
    CandidateVerdict::Promote
}

fn elo(evidence: &Evidence) -> String {
    format!("Elo {:+.0} ± {:.0} after {} games", evidence.elo_delta, evidence.elo_error, evidence.games)
}

/// The first condition that a candidate does not meet, in words.
fn objection(evidence: &Evidence, settings: &EvaluationConfig) -> Option<String> {
    let percent = |rate: f64| format!("{:.0} %", rate * 100.0);
    let floor = settings.win_rate_vs_random_min;
    if evidence.win_rate_vs_random < floor {
        let won = percent(evidence.win_rate_vs_random);
        return Some(format!("gauntlet failed: {won} against random, {} needed", percent(floor)));
    }
    if evidence.games < EVIDENCE_GAMES_MIN {
        let games = evidence.games;
        return Some(format!(
            "gauntlet failed: {games} games against the champion, {EVIDENCE_GAMES_MIN} needed"
        ));
    }
    match evidence.sprt {
        Sprt::Accept => {}
        Sprt::Reject => return Some(format!("not stronger: {}", elo(evidence))),
        Sprt::Inconclusive => return Some(format!("not shown to be stronger: {}", elo(evidence))),
    }
    if evidence.elo_delta < settings.elo_delta_min {
        return Some(format!("not stronger by {:.0}: {}", settings.elo_delta_min, elo(evidence)));
    }
    (!evidence.passed_gauntlet).then(|| {
        let against = [evidence.win_rate_vs_random, evidence.win_rate_vs_heuristic].map(percent);
        format!("gauntlet failed: {} against random, {} against the heuristic", against[0], against[1])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        daemons::fixture::{KEY, World, hash},
        leader::verification::Verification,
    };

    fn verdict(world: &World, name: &str) -> CandidateVerdict {
        let config = world.state.config(KEY).unwrap();
        let position = config.candidates.iter().position(|it| *it == hash(name)).unwrap();
        let model = world.state.models.get(&hash(name)).unwrap();
        let verified = Verification::default().verdict(&world.state, model, world.now);
        judge(&world.state, config, model, position, &verified, &EvaluationConfig::default())
    }

    #[test]
    fn every_condition_has_to_hold() {
        let check = |change: fn(&mut Evidence), expected: Option<&str>| {
            let mut world = World::with_nodes(3);
            world.train("a", 2);
            // An evaluation that shows nothing is repeated once.
            world.evaluate("a", 3, true);
            world.evaluate("a", 3, true);
            world.claim("a", change);
            (1..=3).for_each(|node| world.held("a", node));
            match (verdict(&world, "a"), expected) {
                (CandidateVerdict::Promote, None) => {}
                (CandidateVerdict::Reject(reason), Some(part)) if reason.contains(part) => {}
                (other, _) => panic!("{other:?}, expected {expected:?}"),
            }
        };
        check(|_| {}, None);
        check(|it| it.elo_delta = 25.0, None);
        check(|it| it.elo_delta = 24.9, Some("not stronger by 25"));
        check(
            |it| (it.sprt, it.elo_delta, it.elo_error) = (Sprt::Reject, 240.0, 30.0),
            Some("not stronger: Elo +240 ± 30 after 100 games"),
        );
        check(|it| it.sprt = Sprt::Inconclusive, Some("not shown to be stronger"));
        check(|it| it.win_rate_vs_random = 0.54, Some("54 % against random, 55 % needed"));
        check(|it| (it.games, it.wins, it.losses) = (15, 14, 1), Some("15 games"));
        check(|it| it.passed_gauntlet = false, Some("gauntlet failed"));
    }

    #[test]
    fn what_is_not_settled_waits_and_says_why() {
        let mut world = World::with_nodes(3);
        let waits = |world: &World, part: &str| {
            let CandidateVerdict::Wait(reason) = verdict(world, "a") else {
                panic!("{:?}", verdict(world, "a"))
            };
            assert!(reason.contains(part), "{reason}");
        };
        world.train("a", 2);
        waits(&world, "waits for its evaluation");
        world.evaluate_in_vain("a", 3, 40.0);
        waits(&world, "plays once more");
        world.grant(cluster_state::LeaseKind::Evaluation, 3, Some(hash("a")));
        waits(&world, "being evaluated");
        // Neither evidence for it nor evidence against it decides before it is confirmed.
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        let champion = world.state.config(KEY).unwrap().champion;
        let lost = cluster_state::samples::evidence_of((hash("a"), champion), [60, 0, 0]);
        world.evaluated(3, lost);
        waits(&world, "waits for 1 verifier to count its games");
        world.confirm("a", 1);
        assert!(matches!(verdict(&world, "a"), CandidateVerdict::Reject(_)));
        let mut world = World::with_nodes(3);
        world.train("a", 2);
        world.evaluated(3, cluster_state::samples::evidence(hash("a"), champion));
        waits(&world, "waits for 1 verifier to count its games");
        world.deny("a", 1);
        waits(&world, "0 of 1 verifiers counted the same, 1 otherwise: it is evaluated again");
        world.evaluate("a", 3, true);
        waits(&world, "1 of the 3 online nodes");
    }
}
