//! Makes moves of recorded matches again: those of an evaluation, in which models play each other, random
//! play and the heuristic.
//!
//! Invariant: nothing of the record is believed but its moves and how it says that it was played. Random play
//! follows from the seed, and the heuristic from the position, so each of their moves is made again. A model
//! searches without noise, so its move follows from the position, the network and the number of simulations;
//! of these a sample is made again. Where this node computes as the player does, one move that differs proves
//! that the game was not played so; elsewhere so many have to differ as honest rounding explains with a
//! chance of at most [`ALARM`].

use super::{
    again::{Unjudged, Untrue, Walked},
    arena::opened,
    audit::{DISSIMILAR_MAX, tail},
    game::{options, person},
};
use crate::{
    search::{AnyEvaluator, Judged, Search, SearchSettings, heuristic, random},
    store::{GameRecord, Player},
};
use cluster_state::ModelId;
use kernels::Query;
use rules::{Config, Move, playout::Choices, with_board};

/// How many decisions of models are made again. Where they must be the same, an evaluation in which one
/// decision in twenty is forged stays undetected with a chance of 4 %, and of 0.1 % by two verifiers.
pub const DECISIONS: usize = 64;
/// The chance that honest games are found forged because of rounding alone.
pub const ALARM: f64 = 1e-6;
/// Searches that share a call of the network.
const BATCH: usize = 32;

/// A network that played, on this node.
pub struct Rival<'a> {
    /// The model.
    pub model: ModelId,
    /// Its network.
    pub evaluator: &'a mut dyn AnyEvaluator,
}

/// Looks at matches of one configuration, which were all replayed by the rules, and makes a sample of the
/// decisions of `rivals` again, which `choices` draws. `backend` is the name of what computes here. Returns
/// why the games were not played so, if they were not.
///
/// # Errors
/// [`Unjudged`] if an evaluator fails.
pub fn forged(
    games: &[&GameRecord],
    config: Config,
    rivals: &mut [Rival<'_>],
    backend: &str,
    choices: &mut Choices,
) -> Result<Option<Untrue>, Unjudged> {
    with_board!(config.board, T => forged_on::<T>(games, config, rivals, backend, choices))
}

/// A decision that is made again.
struct Retrial<T: Judged> {
    rival: usize,
    ply: u32,
    /// The index of the move that was played.
    played: usize,
    /// Whether this node computes as the player does.
    same: bool,
    search: Search<T>,
}

fn forged_on<T: Judged>(
    games: &[&GameRecord],
    config: Config,
    rivals: &mut [Rival<'_>],
    backend: &str,
    choices: &mut Choices,
) -> Result<Option<Untrue>, Unjudged> {
    let models: Vec<ModelId> = rivals.iter().map(|rival| rival.model).collect();
    let sample = draw(games, choices);
    let mut trials = Vec::new();
    for (record, plies) in games.iter().zip(&sample) {
        match walk::<T>(record, config, &models, plies, backend) {
            Ok(found) => trials.extend(found),
            Err(Walked::Untrue(untrue)) => return Ok(Some(untrue)),
            Err(Walked::Search(error)) => return Err(error.into()),
        }
    }
    for (index, rival) in rivals.iter_mut().enumerate() {
        let mut its: Vec<_> = trials.iter_mut().filter(|trial| trial.rival == index).collect();
        for batch in its.chunks_mut(BATCH) {
            search(batch, rival.evaluator)?;
        }
    }
    Ok(verdict(&mut trials))
}

/// The plies that are made again, for each game.
fn draw(games: &[&GameRecord], choices: &mut Choices) -> Vec<Vec<u32>> {
    let mut sample = vec![Vec::new(); games.len()];
    let all = games.iter().enumerate();
    let all = all.flat_map(|(game, record)| record.decisions.iter().map(move |it| (game, it.ply)));
    let mut all: Vec<(usize, u32)> = all.collect();
    for _ in 0..DECISIONS.min(all.len()) {
        let (game, ply) = all.swap_remove(choices.below(all.len()));
        sample[game].push(ply);
    }
    sample
}

fn verdict<T: Judged>(trials: &mut [Retrial<T>]) -> Option<Untrue> {
    let (mut others, mut differ) = (0, Vec::new());
    for trial in trials {
        let differs = trial.search.best() != trial.played;
        let untrue = Untrue { ply: trial.ply, what: "the model plays another move" };
        if trial.same && differs {
            return Some(untrue);
        }
        others += usize::from(!trial.same);
        differ.extend(differs.then_some(untrue));
    }
    let explained = tail(others, differ.len(), DISSIMILAR_MAX) > ALARM;
    differ.into_iter().next().filter(|_| !explained)
}

/// Replays a game, checks every move that is not a model's, and prepares the decisions of the named plies.
fn walk<T: Judged>(
    record: &GameRecord,
    config: Config,
    models: &[ModelId],
    plies: &[u32],
    backend: &str,
) -> Result<Vec<Retrial<T>>, Walked> {
    let played = record.played.as_ref().ok_or(Walked::at(0, "it does not say how it was played"))?;
    let same = !played.backend.is_empty() && played.backend == backend;
    if (record.swap, record.turn_end) != (options(config).swap, false) {
        return Err(Walked::at(0, "a match has other rules"));
    }
    let (mut game, mut choices) = opened::<T>(config, record.seed);
    let (mut trials, mut legal, mut checked) = (Vec::new(), Vec::new(), 0);
    let mut decisions = record.decisions.iter();
    loop {
        let at = game.moves().len();
        game.settle(&mut legal).map_err(|error| Walked::of(error, at))?;
        let ply = game.moves().len();
        if let Some(at) = (checked..ply).find(|&at| record.moves.get(at) != Some(&game.moves()[at])) {
            return Err(Walked::at(at, "another opening"));
        }
        checked = ply;
        if legal.is_empty() {
            break;
        }
        let index = chosen(record, ply, &legal).ok_or(Walked::at(ply, "an illegal move"))?;
        let mover = usize::from(person(&game.state, game.state.seat()));
        let expected = match record.players.get(mover) {
            Some(Player::Random) => Some(random(&legal, &mut choices)),
            Some(Player::Heuristic) => Some(heuristic::choose(&game.state, &legal)),
            Some(Player::Model(model)) => {
                let rival = models.iter().position(|it| it == model);
                let rival = rival.ok_or(Walked::at(ply, "another model plays"))?;
                let noted = decisions.next().is_some_and(|it| it.ply as usize == ply && it.policy.is_empty());
                if !noted {
                    return Err(Walked::at(ply, "the decision is missing"));
                }
                if plies.contains(&(ply as u32)) {
                    let mut search = Search::new(SearchSettings::default());
                    search.start(&game.state, played.simulations, None).map_err(Walked::Search)?;
                    trials.push(Retrial { rival, ply: ply as u32, played: index, same, search });
                }
                None
            }
            None => return Err(Walked::at(ply, "nobody sits there")),
        };
        if expected.is_some_and(|expected| expected != index) {
            return Err(Walked::at(ply, "that player plays another move"));
        }
        game.apply(legal[index]).map_err(|error| Walked::of(error, ply))?;
    }
    match decisions.next() {
        Some(decision) => Err(Walked::at(decision.ply as usize, "nothing was to decide")),
        None => Ok(trials),
    }
}

/// The index of the move that was played at `ply`.
fn chosen(record: &GameRecord, ply: usize, legal: &[Move]) -> Option<usize> {
    let played = Move::from_code(*record.moves.get(ply)?)?;
    legal.iter().position(|&mv| mv == played)
}

/// Answers the searches until all are finished.
fn search<T: Judged>(
    trials: &mut [&mut Retrial<T>],
    evaluator: &mut dyn AnyEvaluator,
) -> Result<(), Unjudged> {
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

#[cfg(test)]
mod tests;
