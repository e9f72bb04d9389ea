//! Makes decisions of recorded self-play games again, and says whether a record can be true.
//!
//! Invariant: nothing of the record is believed but the seed, the moves and how the game was played. All that
//! follows from these is compared: the random opening, which steps were searched and how thoroughly, and for
//! the chosen decisions the policy and the move.
//!
//! A decision is made again alone. Its random numbers begin where those of the decisions before it end, and
//! how many these drew follows from the moves; so the game is replayed by the rules, and only the chosen
//! decisions are searched.

use super::{
    game::{GameError, LiveGame, options, weights},
    selfplay::{Beginning, FULL_SHARE, quick},
};
use crate::{
    search::{AnyEvaluator, Judged, Search, SearchError, SearchSettings, sample_at, unit},
    store::{Decision, GameKind, GameRecord, Played, Player, record::POLICY_MAX},
};
use cluster_state::ModelId;
use kernels::Query;
use rules::{Config, Move, playout::Choices, with_board};

/// Searches that share a call of the network.
const BATCH: usize = 32;
/// Two policies differ if more than this share of their weight is on different moves.
const DISTANCE_MAX: f32 = 0.5;

/// Why a record cannot be true, whatever model and backend made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ply {ply}: {what}")]
pub struct Untrue {
    /// The first step that cannot be.
    pub ply: u32,
    /// What cannot be.
    pub what: &'static str,
}

/// Why nothing can be said about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unjudged {
    /// A record does not say how the game was played.
    #[error("the record does not say how the game was played")]
    Unsaid,
    /// A program of another version wrote it.
    #[error("a program of another version wrote it")]
    Foreign,
    /// The evaluator cannot judge a position.
    #[error(transparent)]
    Search(#[from] SearchError),
}

/// How a decision of the record compares with the same decision made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// The step.
    pub ply: u32,
    /// Whether policy and move are the same to the last bit.
    pub equal: bool,
    /// Whether they are about the same, as they mostly are where another backend rounds in another way.
    pub similar: bool,
}

/// What came of looking at a game again.
pub type Outcome = Result<Vec<Compared>, Untrue>;

/// The model of a game of self-play.
#[must_use]
pub fn model_of(record: &GameRecord) -> Option<ModelId> {
    let mut models = record.players.iter().map(|player| match player {
        Player::Model(model) => Some(*model),
        Player::Random | Player::Heuristic => None,
    });
    let first = models.next()??;
    (record.kind == GameKind::Selfplay && models.all(|model| model == Some(first))).then_some(first)
}

/// Makes decisions of several valid games of one model again: for each game those whose plies are named.
///
/// # Errors
/// [`Unjudged`] if nothing can be said about one of the games.
pub fn compare(
    games: &[(&GameRecord, &[u32])],
    config: Config,
    evaluator: &mut dyn AnyEvaluator,
) -> Result<Vec<Outcome>, Unjudged> {
    with_board!(config.board, T => compare_on::<T>(games, config, evaluator))
}

/// A decision that is made again.
struct Trial<T: Judged> {
    game: usize,
    ply: u32,
    /// The index of the move that was played, and the policy as the record has it.
    played: usize,
    policy: Vec<(u16, u16)>,
    full: bool,
    /// Whether the move was drawn from the policy.
    drawn: bool,
    exploration: f32,
    search: Search<T>,
    choices: Choices,
}

fn compare_on<T: Judged>(
    games: &[(&GameRecord, &[u32])],
    config: Config,
    evaluator: &mut dyn AnyEvaluator,
) -> Result<Vec<Outcome>, Unjudged> {
    let (mut trials, mut outcomes) = (Vec::new(), Vec::new());
    for (index, (record, plies)) in games.iter().enumerate() {
        let played = record.played.as_ref().ok_or(Unjudged::Unsaid)?;
        outcomes.push(match walk::<T>(record, played, config, plies) {
            Ok(found) => {
                trials.extend(found.into_iter().map(|trial| Trial { game: index, ..trial }));
                Ok(Vec::new())
            }
            Err(Walked::Untrue(untrue)) => Err(untrue),
            Err(Walked::Search(error)) => return Err(error.into()),
        });
    }
    for batch in trials.chunks_mut(BATCH) {
        search(batch, evaluator)?;
        for trial in batch {
            if let Ok(compared) = &mut outcomes[trial.game] {
                compared.push(trial.compared());
            }
        }
    }
    Ok(outcomes)
}

/// Why a walk through a recorded game ended early.
pub(super) enum Walked {
    Untrue(Untrue),
    Search(SearchError),
}

impl Walked {
    pub(super) fn at(ply: usize, what: &'static str) -> Self {
        Self::Untrue(Untrue { ply: ply as u32, what })
    }

    pub(super) fn of(error: GameError, ply: usize) -> Self {
        match error {
            GameError::Search(error) => Self::Search(error),
            GameError::TooLong => Self::at(ply, "no game is so long"),
        }
    }
}

/// Replays a game, and prepares the decisions of the named plies.
fn walk<T: Judged>(
    record: &GameRecord,
    played: &Played,
    config: Config,
    plies: &[u32],
) -> Result<Vec<Trial<T>>, Walked> {
    let mut game = LiveGame::<T>::new(config, record.seed);
    if (record.swap, record.turn_end) != (options(config).swap, false) {
        return Err(Walked::at(0, "self-play has other rules"));
    }
    let mut checked = 0;
    let Beginning { mut choices, mut sampled, opening } = Beginning::of(record.seed);
    game.open(opening, &mut choices).map_err(|error| Walked::of(error, 0))?;
    let (mut trials, mut legal) = (Vec::new(), Vec::new());
    let mut decisions = record.decisions.iter();
    loop {
        let at = game.moves().len();
        game.settle(&mut legal).map_err(|error| Walked::of(error, at))?;
        let ply = game.moves().len();
        // What was played since the last decision follows from the seed and the rules.
        if let Some(at) = (checked..ply).find(|&at| record.moves.get(at) != Some(&game.moves()[at])) {
            return Err(Walked::at(at, "another opening"));
        }
        checked = ply;
        if legal.is_empty() {
            break;
        }
        let full = unit(&mut choices) < FULL_SHARE;
        let recorded = recorded(record, decisions.next(), ply, full, &legal);
        let (decision, mv) = recorded.map_err(|what| Walked::at(ply, what))?;
        let drawn = sampled > 0;
        sampled = sampled.saturating_sub(1);
        if plies.contains(&(ply as u32)) {
            let mut trial = Trial::new(decision, mv, (full, drawn), played, &choices);
            let simulations = if full { played.simulations } else { quick(played.simulations) };
            trial.search.start(&game.state, simulations, Some(&mut trial.choices)).map_err(Walked::Search)?;
            trials.push(trial);
        }
        Search::pass(&game.state, &legal, &mut choices);
        choices.skip(u64::from(drawn));
        game.apply(legal[mv]).map_err(|error| Walked::of(error, ply))?;
    }
    match decisions.next() {
        Some(decision) => Err(Walked::at(decision.ply as usize, "nothing was to decide")),
        None if record.moves.len() > game.moves().len() => {
            Err(Walked::at(game.moves().len(), "the game is over"))
        }
        None => Ok(trials),
    }
}

/// What the record says of the choice at `ply`: the decision, and the index of the move; or what cannot be.
fn recorded<'a>(
    record: &GameRecord,
    decision: Option<&'a Decision>,
    ply: usize,
    full: bool,
    legal: &[Move],
) -> Result<(&'a Decision, usize), &'static str> {
    let decision = decision.filter(|it| it.ply as usize == ply).ok_or("the decision is missing")?;
    let teaches = full && legal.len() <= POLICY_MAX;
    if decision.policy.is_empty() == teaches {
        return Err("another kind of search");
    }
    let played = record.moves.get(ply).and_then(|&code| Move::from_code(code));
    let index = played.and_then(|played| legal.iter().position(|&mv| mv == played));
    Ok((decision, index.ok_or("an illegal move")?))
}

/// Answers the searches until all are finished.
fn search<T: Judged>(trials: &mut [Trial<T>], evaluator: &mut dyn AnyEvaluator) -> Result<(), Unjudged> {
    loop {
        let asking: Vec<usize> = (0..trials.len()).filter(|&i| trials[i].search.query().is_some()).collect();
        if asking.is_empty() {
            return Ok(());
        }
        let queries: Vec<Query<'_, T>> = asking.iter().filter_map(|&i| trials[i].search.query()).collect();
        let mut evaluations = T::evaluator(evaluator).evaluate(&queries).into_iter();
        for i in asking {
            trials[i].search.answer(&evaluations.next().unwrap_or_default())?;
        }
    }
}

impl<T: Judged> Trial<T> {
    fn new(
        decision: &Decision,
        played: usize,
        (full, drawn): (bool, bool),
        how: &Played,
        choices: &Choices,
    ) -> Self {
        let settings = SearchSettings { noise_scale: how.exploration, ..SearchSettings::default() };
        Self {
            game: 0,
            ply: decision.ply,
            played,
            policy: decision.policy.clone(),
            full,
            drawn,
            exploration: how.exploration,
            search: Search::new(settings),
            choices: choices.clone(),
        }
    }

    /// Compares the record with the finished search.
    fn compared(&mut self) -> Compared {
        let best = self.search.best();
        let policy = self.search.policy();
        let found = weights(if self.full { policy } else { &[] });
        let choice = if self.drawn { sample_at(self.exploration, policy, &mut self.choices) } else { best };
        let same_move = choice == self.played;
        // Of a move that was drawn, the policy says more than the move.
        let similar = match (self.full, self.drawn) {
            (true, true) => distance(&found, &self.policy) <= DISTANCE_MAX,
            (true, false) => same_move && distance(&found, &self.policy) <= DISTANCE_MAX,
            (false, _) => same_move,
        };
        Compared { ply: self.ply, equal: same_move && found == self.policy, similar }
    }
}

/// The total variation distance of two policies: the share of the weight that is on different moves.
fn distance(one: &[(u16, u16)], other: &[(u16, u16)]) -> f32 {
    let sum =
        |policy: &[(u16, u16)]| policy.iter().map(|&(_, weight)| f32::from(weight)).sum::<f32>().max(1.0);
    let (mut i, mut j, mut common) = (0, 0, 0.0);
    let (all, others) = (sum(one), sum(other));
    while let (Some(&(a, p)), Some(&(b, q))) = (one.get(i), other.get(j)) {
        match a.cmp(&b) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                common += (f32::from(p) / all).min(f32::from(q) / others);
                (i, j) = (i + 1, j + 1);
            }
        }
    }
    1.0 - common
}

#[cfg(test)]
pub(crate) mod tests;
