//! Evaluations of players whose strength is known.

use super::*;
use crate::{
    learner::count::{CountError, count},
    search::{AnyEvaluator, Uniform, heuristic},
    store::{Player, segment::SegmentGame},
};
use cluster_state::ModelId;
use kernels::{Evaluation, Evaluator, Query};
use rules::Topology;
use std::cell::Cell;
use wire::Hash;

/// Plays as the heuristic does, or as its opposite.
struct Advised(f32);

impl<T: Topology> Evaluator<T> for Advised {
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        let mut evaluations = Uniform.evaluate(queries);
        for (evaluation, query) in evaluations.iter_mut().zip(queries) {
            evaluation.logits[heuristic::choose(query.state, query.legal)] = self.0;
        }
        evaluations
    }
}

fn model(name: &str, evaluator: impl AnyEvaluator + 'static) -> ModelPlayer {
    ModelPlayer { hash: ModelId(Hash::of(name.as_bytes())), evaluator: Box::new(evaluator) }
}

fn job() -> EvaluationJob {
    let settings = EvaluationConfig { simulations: 2, ..EvaluationConfig::default() };
    EvaluationJob { config: "hex8_2p".parse().unwrap(), settings, parallel: 16, seed: 11, node: NodeId(2) }
}

fn run(job: &EvaluationJob, candidate: ModelPlayer, champion: ModelPlayer) -> (EvaluationResult, Vec<Stage>) {
    let mut stages = Vec::new();
    let mut games = 0;
    let evaluated = evaluate(job, candidate, champion, &|| false, &mut |progress| {
        if stages.last() != Some(&progress.stage) {
            stages.push(progress.stage);
        }
        games += 2;
    });
    let evaluated = evaluated.unwrap();
    assert_eq!(evaluated.games.len(), games, "progress counts every game");
    (evaluated, stages)
}

#[test]
fn a_stronger_candidate_passes() {
    let (evaluated, stages) = run(&job(), model("strong", Advised(9.0)), model("weak", Uniform));
    let evidence = &evaluated.evidence;
    assert_eq!(stages, [Stage::Random, Stage::Champion, Stage::Heuristic]);
    assert!(evidence.passed_gauntlet && evidence.sprt == Sprt::Accept, "{evidence:?}");
    assert!(evidence.elo_delta > 50.0 && evidence.elo_error.is_finite(), "{evidence:?}");
    assert_eq!(evidence.wins + evidence.losses, evidence.games);
    assert!(evidence.win_rate_vs_random >= 0.55 && evidence.win_rate_vs_heuristic > 0.0);
    let kinds = |kind| evaluated.games.iter().filter(|game| game.kind == kind).count();
    assert_eq!(kinds(GameKind::Baseline), 80);
    assert_eq!(kinds(GameKind::Match) as u32, evidence.games);
}

#[test]
fn an_equal_candidate_does_not_pass() {
    let (evaluated, stages) = run(&job(), model("a", Advised(9.0)), model("b", Advised(9.0)));
    let evidence = &evaluated.evidence;
    assert!(!evidence.passed_gauntlet && evidence.sprt != Sprt::Accept, "{evidence:?}");
    assert_eq!(stages[..2], [Stage::Random, Stage::Champion]);
    assert_eq!(stages.len() == 2, evidence.sprt == Sprt::Reject);
}

#[test]
fn a_candidate_that_random_beats_plays_no_further() {
    let mut job = job();
    job.settings.win_rate_vs_random_min = 1.0;
    let (evaluated, stages) = run(&job, model("weak", Uniform), model("strong", Advised(9.0)));
    assert_eq!(stages, [Stage::Random]);
    assert!(evaluated.games.len() < 40, "stops as soon as the floor is out of reach");
    let evidence = evaluated.evidence;
    assert_eq!((evidence.games, evidence.sprt), (0, Sprt::Inconclusive));
    assert!(!evidence.passed_gauntlet && evidence.elo_error.is_finite());
}

/// The games as a verifier reads them.
fn replayed(games: &[GameRecord]) -> Vec<SegmentGame> {
    let game =
        |record: &GameRecord| SegmentGame { facts: record.validate().unwrap(), record: record.clone() };
    games.iter().map(game).collect()
}

#[test]
fn others_count_the_same_and_only_whole_sets_of_the_right_games() {
    let (job, strong, weak) = (job(), model("strong", Advised(9.0)), model("weak", Uniform));
    let (own, other) = (strong.hash, weak.hash);
    let (evaluated, _) = run(&job, strong, weak);
    let games = replayed(&evaluated.games);
    let counted = count(job.config, &games, own, other);
    assert_eq!(counted, Ok(evaluated.evidence.against.clone()));
    assert!(evaluated.evidence.holds());
    let shuffled: Vec<_> = games.iter().rev().cloned().collect();
    assert_eq!(count(job.config, &shuffled, own, other), counted, "segments have another order");

    let changed = |change: &dyn Fn(&mut Vec<SegmentGame>)| {
        let mut games = games.clone();
        change(&mut games);
        count(job.config, &games, own, other)
    };
    let last = games.len() - 1;
    let id = games[last].facts.id;
    assert_eq!(changed(&|games| drop(games.pop())), Err(CountError::Incomplete { stage: Stage::Heuristic }));
    assert_eq!(changed(&|games| games.push(games[last].clone())), Err(CountError::Twice(id)));
    assert_eq!(changed(&|games| games[last].record.seed ^= 1), Err(CountError::Opening(id)));
    assert_eq!(changed(&|games| games[last].record.players.reverse()), Err(CountError::Twice(id)));
    let players: [&[Player]; 4] = [
        &[Player::Random, Player::Random],
        &[Player::Model(own), Player::Model(own)],
        &[Player::Model(own), Player::Random, Player::Heuristic],
        &[Player::Model(own), Player::Model(Hash::of(b"a third").into())],
    ];
    for players in players {
        let found = changed(&|games| games[last].record.players = players.to_vec());
        assert_eq!(found, Err(CountError::Players(id)), "{players:?}");
    }
    let found = changed(&|games| games[last].record.kind = GameKind::Match);
    assert_eq!(found, Err(CountError::Players(id)), "a baseline is no match");
    // Another winner gives other counts.
    let won = changed(&|games| games[last].facts.winner ^= 1).unwrap();
    assert_ne!(Ok(won), counted);
}

#[test]
fn cancelling_ends_without_evidence() {
    let calls = Cell::new(0);
    let cancelled = || calls.get() > 0;
    let mut count = |_: &EvaluationProgress| calls.set(calls.get() + 1);
    let (a, b) = (|| model("a", Uniform), || model("b", Uniform));
    assert_eq!(evaluate(&job(), a(), b(), &cancelled, &mut count), None);
    assert!(calls.replace(0) >= 1);
    assert_eq!(watch(&job(), a(), b(), &cancelled, &mut count), None);
    assert!(calls.get() >= 1);
}

#[test]
fn a_round_of_a_watch_is_all_its_games() {
    let mut told = 0;
    let (strong, weak) = (model("strong", Advised(9.0)), model("weak", Uniform));
    let round = watch(&job(), strong, weak, &|| false, &mut |progress| told = progress.games).unwrap();
    let evidence = &round.evidence;
    assert_eq!((evidence.games, told, round.games.len() as u32), (WATCH_GAMES, WATCH_GAMES, WATCH_GAMES));
    assert_eq!(evidence.wins + evidence.losses, evidence.games);
    assert!(evidence.wins > 30 && evidence.elo_delta > 0.0, "{evidence:?}");
    assert!(round.games.iter().all(|game| game.kind == GameKind::Match));
    assert!(!evidence.passed_gauntlet && evidence.sprt == Sprt::Inconclusive, "no verdict on a candidate");
}
