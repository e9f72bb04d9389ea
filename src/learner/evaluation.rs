//! The evaluation of a candidate: against random play, against the champion, against the heuristic.
//!
//! Invariant: the cheap verdicts come first, and a candidate that has failed plays no further. Only games that count are
//! returned.

use super::{
    arena::{Arena, ArenaSettings, Contestant, ModelPlayer},
    sprt::{Elo, Sets, SprtSettings},
};
use crate::{
    config::EvaluationConfig,
    store::{GameKind, GameRecord},
};
use cluster_state::{Evidence, Sprt, state_machine::EVIDENCE_GAMES_MIN};
use rules::Config;

/// What is evaluated how.
#[derive(Clone, Debug)]
pub struct EvaluationJob {
    /// Configuration of all games.
    pub config: Config,
    /// Settings of the evaluation.
    pub settings: EvaluationConfig,
    /// Games side by side.
    pub parallel: usize,
    /// Seed of the openings and of random play.
    pub seed: u64,
    /// The node that plays.
    pub node: u64,
}

/// Against whom the candidate plays, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Uniformly random play.
    Random,
    /// The champion.
    Champion,
    /// The one-ply heuristic.
    Heuristic,
    /// The champion before, for a champion that is watched.
    Before,
}

impl Stage {
    /// As people read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "against random",
            Self::Champion => "against the champion",
            Self::Heuristic => "against the heuristic",
            Self::Before => "against the champion before",
        }
    }
}

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvaluationProgress {
    /// The opponent.
    pub stage: Stage,
    /// Games so far.
    pub games: u32,
    /// Of these, won by the candidate.
    pub wins: u32,
    /// Games of the stage at most.
    pub games_max: u32,
    /// The Elo difference so far.
    pub elo: Elo,
}

/// What the evaluation found.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationResult {
    /// The evidence, without the segments that will hold the games. A rate is 0 where its games were not played.
    pub evidence: Evidence,
    /// The games it rests on.
    pub games: Vec<GameRecord>,
}

/// Games of one round in which a champion is watched.
pub const WATCH_GAMES: u32 = 50;

/// Plays one round of the champion against the one before it; none if cancelled. The evidence has the sums alone: the
/// verdict is on those of all rounds.
pub fn watch(
    job: &EvaluationJob,
    champion: ModelPlayer,
    before: ModelPlayer,
    cancelled: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(&EvaluationProgress),
) -> Option<EvaluationResult> {
    let hashes = (champion.hash, before.hash);
    let mut run = EvaluationRun { job, cancelled, progress, games: Vec::new() };
    let (mut player, mut opponent) = (Contestant::Model(champion), Contestant::Model(before));
    let sets = run.stage(Stage::Before, &mut player, &mut opponent, |_| false)?;
    let elo = sets.elo();
    let evidence = Evidence {
        candidate: hashes.0,
        champion: hashes.1,
        games: sets.games(),
        wins: sets.wins(),
        losses: sets.losses(),
        elo_delta: elo.delta,
        elo_error: elo.error,
        sprt: Sprt::Inconclusive,
        win_rate_vs_random: 0.0,
        win_rate_vs_heuristic: 0.0,
        passed_gauntlet: false,
        segments: Vec::new(),
    };
    Some(EvaluationResult { evidence, games: run.games })
}

/// Plays until the verdict; none if cancelled.
pub fn evaluate(
    job: &EvaluationJob,
    candidate: ModelPlayer,
    champion: ModelPlayer,
    cancelled: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(&EvaluationProgress),
) -> Option<EvaluationResult> {
    let hashes = (candidate.hash, champion.hash);
    let mut player = Contestant::Model(candidate);
    let mut run = EvaluationRun { job, cancelled, progress, games: Vec::new() };
    let settings = &job.settings;
    let floor = settings.win_rate_vs_random_min;
    let sprt = SprtSettings { elo1: settings.elo1, games_max: settings.games_max, ..SprtSettings::default() };

    let hopeless = |sets: &Sets| {
        let open = settings.baseline_games.saturating_sub(sets.games());
        f64::from(sets.wins() + open) < floor * f64::from(sets.games() + open)
    };
    let random = run.stage(Stage::Random, &mut player, &mut Contestant::Random, hopeless)?;
    let beats_random = random.games() >= settings.baseline_games && random.score() >= floor;

    let mut against = Sets::new(job.config.seats);
    let mut verdict = Sprt::Inconclusive;
    if beats_random {
        let mut opponent = Contestant::Model(champion);
        against =
            run.stage(Stage::Champion, &mut player, &mut opponent, |sets| sets.sprt(&sprt).is_some())?;
        verdict = against.sprt(&sprt).unwrap_or(Sprt::Inconclusive);
    }
    let mut heuristic = Sets::new(job.config.seats);
    if beats_random && verdict != Sprt::Reject {
        heuristic = run.stage(Stage::Heuristic, &mut player, &mut Contestant::Heuristic, |_| false)?;
    }

    let elo = against.elo();
    let evidence = Evidence {
        candidate: hashes.0,
        champion: hashes.1,
        games: against.games(),
        wins: against.wins(),
        losses: against.losses(),
        elo_delta: elo.delta,
        elo_error: elo.error,
        sprt: verdict,
        win_rate_vs_random: random.score(),
        win_rate_vs_heuristic: heuristic.score(),
        passed_gauntlet: beats_random && verdict == Sprt::Accept && against.games() >= EVIDENCE_GAMES_MIN,
        segments: Vec::new(),
    };
    Some(EvaluationResult { evidence, games: run.games })
}

struct EvaluationRun<'a> {
    job: &'a EvaluationJob,
    cancelled: &'a dyn Fn() -> bool,
    progress: &'a mut dyn FnMut(&EvaluationProgress),
    games: Vec<GameRecord>,
}

impl EvaluationRun<'_> {
    /// Plays one opponent until `done` or all games are played; none if cancelled.
    fn stage(
        &mut self,
        stage: Stage,
        player: &mut Contestant,
        opponent: &mut Contestant,
        done: impl Fn(&Sets) -> bool,
    ) -> Option<Sets> {
        let settings = &self.job.settings;
        let (kind, games_max, salt) = match stage {
            Stage::Random => (GameKind::Baseline, settings.baseline_games, 1),
            Stage::Champion => (GameKind::Match, settings.games_max, 2),
            Stage::Heuristic => (GameKind::Baseline, settings.baseline_games, 3),
            Stage::Before => (GameKind::Match, WATCH_GAMES, 0),
        };
        let arena = ArenaSettings {
            games: games_max,
            parallel: self.job.parallel,
            simulations: settings.simulations,
            seed: self.job.seed.wrapping_mul(4).wrapping_add(salt),
            kind,
            node: self.job.node,
        };
        let mut arena = Arena::new(self.job.config, arena);
        let mut sets = Sets::new(self.job.config.seats);
        while !arena.finished() {
            if (self.cancelled)() {
                return None;
            }
            for set in arena.step(player, opponent) {
                sets.add(set.wins);
                self.games.extend(set.records);
                let (games, wins) = (sets.games(), sets.wins());
                (self.progress)(&EvaluationProgress { stage, games, wins, games_max, elo: sets.elo() });
                if done(&sets) {
                    return Some(sets);
                }
            }
        }
        Some(sets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{AnyEvaluator, Uniform, heuristic};
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
        ModelPlayer { hash: Hash::of(name.as_bytes()), evaluator: Box::new(evaluator) }
    }

    fn job() -> EvaluationJob {
        let settings = EvaluationConfig { simulations: 2, ..EvaluationConfig::default() };
        EvaluationJob { config: "hex8_2p".parse().unwrap(), settings, parallel: 16, seed: 11, node: 2 }
    }

    fn run(
        job: &EvaluationJob,
        candidate: ModelPlayer,
        champion: ModelPlayer,
    ) -> (EvaluationResult, Vec<Stage>) {
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
        assert!(
            !evidence.passed_gauntlet && evidence.sprt == Sprt::Inconclusive,
            "no verdict on a candidate"
        );
    }
}
