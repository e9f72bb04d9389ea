//! The evaluation of a candidate: against random play, against the champion, against the heuristic.
//!
//! Invariant: the cheap stages come first, and a candidate that has failed plays no further games. Only games
//! that count for the evidence are returned. Their seeds follow from the lease, in the order in which the
//! sets are counted, so an evaluator that leaves out games or plays others is found by whoever counts them
//! again.

use super::arena::{Arena, ArenaSettings, Contestant, ModelPlayer, seed_of_set};
use crate::{
    learner::settings::EvaluationConfig,
    store::{GameKind, GameRecord},
};
use cluster_state::{Elo, Evidence, NodeId, Sprt, Tallies, Tally};
use rules::Config;

/// What an evaluation needs besides the models.
#[derive(Clone, Debug)]
pub struct EvaluationJob {
    pub config: Config,
    pub settings: EvaluationConfig,
    /// The number of games at a time.
    pub parallel: usize,
    /// Id of the lease, from which the openings and random play follow.
    pub lease: u64,
    pub node: NodeId,
    /// The name of what computes the networks, as records say it.
    pub backend: String,
}

/// The opponents of the candidate, in the order in which it plays them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// A player that chooses uniformly among the legal moves.
    Random,
    Champion,
    /// The heuristic that looks one step ahead.
    Heuristic,
    /// The previous champion, for a champion that is watched.
    Before,
}

impl Stage {
    /// The stage in words, for logs and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "against random",
            Self::Champion => "against the champion",
            Self::Heuristic => "against the heuristic",
            Self::Before => "against the champion before",
        }
    }

    /// The seed of its games under this lease.
    fn seed(self, lease: u64) -> u64 {
        let salt = match self {
            Self::Before => 0,
            Self::Random => 1,
            Self::Champion => 2,
            Self::Heuristic => 3,
        };
        lease.wrapping_mul(4).wrapping_add(salt)
    }

    /// The seed of the games of its set `set` under this lease.
    #[must_use]
    pub fn seed_of_set(self, lease: u64, set: u32) -> u64 {
        seed_of_set(self.seed(lease), set)
    }
}

/// The progress of a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvaluationProgress {
    pub stage: Stage,
    /// The number of games so far.
    pub games: u32,
    /// How many of them the candidate won.
    pub wins: u32,
    /// The most games of the stage.
    pub games_max: u32,
    /// The Elo difference so far.
    pub elo: Elo,
}

/// The result of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationResult {
    /// The evidence, without the segments that will hold the games. A rate is 0 where its games were not
    /// played.
    pub evidence: Evidence,
    /// The games from which the evidence follows.
    pub games: Vec<GameRecord>,
}

/// The number of games of one round in which a champion is watched.
pub const WATCH_GAMES: u32 = 50;

/// Plays one round of the champion against the previous one; none if cancelled. The evidence has only the
/// sums, because the verdict is about those of all rounds.
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
    let against = Tallies { champion: sets, ..Tallies::new(job.config.seats) };
    let evidence = Evidence::of(hashes, job.settings.terms(), against, Vec::new());
    Some(EvaluationResult { evidence, games: run.games })
}

/// Plays the stages of an evaluation until the verdict; none if cancelled.
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
    let terms = job.settings.terms();
    let mut against = Tallies::new(job.config.seats);
    against.random =
        run.stage(Stage::Random, &mut player, &mut Contestant::Random, |sets| sets.falls_short(&terms))?;
    let beats_random = against.beat_random(&terms);
    if beats_random {
        let mut opponent = Contestant::Model(champion);
        against.champion =
            run.stage(Stage::Champion, &mut player, &mut opponent, |sets| sets.sprt(&terms).is_some())?;
    }
    if beats_random && against.champion.sprt(&terms) != Some(Sprt::Reject) {
        against.heuristic =
            run.stage(Stage::Heuristic, &mut player, &mut Contestant::Heuristic, |_| false)?;
    }
    let evidence = Evidence::of(hashes, terms, against, Vec::new());
    Some(EvaluationResult { evidence, games: run.games })
}

struct EvaluationRun<'a> {
    job: &'a EvaluationJob,
    cancelled: &'a dyn Fn() -> bool,
    progress: &'a mut dyn FnMut(&EvaluationProgress),
    games: Vec<GameRecord>,
}

impl EvaluationRun<'_> {
    /// Plays one opponent until `done` says so or all games are played; none if cancelled.
    fn stage(
        &mut self,
        stage: Stage,
        player: &mut Contestant,
        opponent: &mut Contestant,
        done: impl Fn(&Tally) -> bool,
    ) -> Option<Tally> {
        let settings = &self.job.settings;
        let (kind, games_max) = match stage {
            Stage::Random | Stage::Heuristic => (GameKind::Baseline, settings.baseline_games),
            Stage::Champion => (GameKind::Match, settings.games_max),
            Stage::Before => (GameKind::Match, WATCH_GAMES),
        };
        let arena = ArenaSettings {
            games: games_max,
            parallel: self.job.parallel,
            simulations: settings.simulations,
            seed: stage.seed(self.job.lease),
            kind,
            node: self.job.node,
            backend: self.job.backend.clone(),
        };
        let mut arena = Arena::new(self.job.config, arena);
        let mut sets = Tally::new(self.job.config.seats);
        while !arena.finished() {
            if (self.cancelled)() {
                return None;
            }
            let played = arena.step(player, opponent);
            // The sets that count have no gap, so that none can be left out.
            if arena.aborted() > 0 {
                return Some(sets);
            }
            for set in played {
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
mod tests;
