//! Evaluations of players whose strength is known.

use super::*;
use crate::{
    learner::count::{Asked, CountError, count},
    search::{AnyEvaluator, Uniform, heuristic},
    store::{Player, segment::SegmentGame},
};
use cluster_state::{ModelId, Terms};
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
    let (config, backend) = ("hex8_2p".parse().unwrap(), "test".to_owned());
    EvaluationJob { config, settings, parallel: 16, lease: 11, node: NodeId(2), backend }
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
    let terms = job.settings.terms();
    let asked =
        Asked { config: job.config, candidate: own, champion: other, lease: 11, watched: false, terms };
    let counted = count(&asked, &games);
    assert_eq!(counted, Ok(evaluated.evidence.against.clone()));
    assert!(evaluated.evidence.holds());
    let shuffled: Vec<_> = games.iter().rev().cloned().collect();
    assert_eq!(count(&asked, &shuffled), counted, "segments have another order");

    let changed = |change: &dyn Fn(&mut Vec<SegmentGame>)| {
        let mut games = games.clone();
        change(&mut games);
        count(&asked, &games)
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
fn an_evaluator_chooses_neither_its_games_nor_when_to_stop() {
    let (job, strong, weak) = (job(), model("strong", Advised(9.0)), model("weak", Uniform));
    let (candidate, champion) = (strong.hash, weak.hash);
    let (evaluated, _) = run(&job, strong, weak);
    let games = replayed(&evaluated.games);
    let (config, terms) = (job.config, job.settings.terms());
    let asked = Asked { config, candidate, champion, lease: 11, watched: false, terms };
    let left_out = |stage: Stage| {
        let seed = stage.seed_of_set(11, 1);
        let games: Vec<_> = games.iter().filter(|game| game.record.seed != seed).cloned().collect();
        assert_eq!(games.len() + 2, evaluated.games.len());
        count(&asked, &games)
    };
    for stage in [Stage::Random, Stage::Champion, Stage::Heuristic] {
        assert_eq!(left_out(stage), Err(CountError::Seeds { stage }));
    }
    let other_lease = Asked { lease: 12, ..asked };
    assert_eq!(count(&other_lease, &games), Err(CountError::Seeds { stage: Stage::Random }));
    // The test was over before these games ended.
    let short = Terms { games_max: 4, ..terms };
    assert_eq!(
        count(&Asked { terms: short, ..asked }, &games),
        Err(CountError::Surplus { stage: Stage::Champion })
    );
    let short = Terms { baseline_games: 2, ..terms };
    assert_eq!(
        count(&Asked { terms: short, ..asked }, &games),
        Err(CountError::Surplus { stage: Stage::Random })
    );
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
    let (candidate, champion) = (evidence.candidate, evidence.champion);
    let (config, terms) = (job().config, job().settings.terms());
    let asked = Asked { config, candidate, champion, lease: 11, watched: true, terms };
    let mut games = replayed(&round.games);
    assert_eq!(count(&asked, &games), Ok(evidence.against.clone()));
    let candidates = count(&Asked { watched: false, ..asked }, &games);
    assert_eq!(candidates, Err(CountError::Seeds { stage: Stage::Champion }), "it is no evaluation");
    let last = Stage::Before.seed_of_set(11, WATCH_GAMES / 2 - 1);
    games.retain(|game| game.record.seed != last);
    assert_eq!(count(&asked, &games), Err(CountError::Round(WATCH_GAMES - 2)));
}
