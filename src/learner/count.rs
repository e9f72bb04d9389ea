//! Counts the games of an evaluation again, from their records.
//!
//! Invariant: nothing that the evaluator says is believed but the terms of the test. The rules have replayed
//! the games, and whole sets are counted, in which the candidate plays once from each seat, after the opening
//! that their seed gives. The seeds are those that the lease gives, from the first set on and without a gap,
//! and the sets end with the one that ends the test.

use super::{
    arena::opening,
    evaluation::{Stage, WATCH_GAMES},
};
use crate::store::{GameKind, Player, segment::SegmentGame};
use cluster_state::{ModelId, Tallies, Tally, Terms};
use rules::Config;
use std::collections::BTreeMap;
use wire::Hash;

/// Why games are not those of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CountError {
    /// The candidate does not play from exactly one seat, or the others are not one opponent of an
    /// evaluation.
    #[error("game {0} is not one of the candidate against an opponent of an evaluation")]
    Players(Hash),
    /// The game does not begin as its seed says.
    #[error("game {0} does not begin with the opening of its seed")]
    Opening(Hash),
    /// The candidate plays from this seat in another game of the set.
    #[error("game {0} is there twice in its set")]
    Twice(Hash),
    /// The games of a set are missing.
    #[error("a set of games {0} is not complete", stage.as_str())]
    Incomplete {
        /// Against whom it was played.
        stage: Stage,
    },
    /// The seeds of the sets are not those that the lease gives, or some are left out.
    #[error("the sets of games {} are not the first ones of the lease", stage.as_str())]
    Seeds {
        /// Against whom they were played.
        stage: Stage,
    },
    /// The games go on after their verdict, or there are more than the terms say.
    #[error("there are more games {} than the terms ask for", stage.as_str())]
    Surplus {
        /// Against whom they were played.
        stage: Stage,
    },
    /// A round of a watch has a fixed number of games.
    #[error("{0} games in a round of {WATCH_GAMES}")]
    Round(u32),
}

/// What an evaluation was asked to play.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The configuration of the games.
    pub config: Config,
    /// The model that was evaluated.
    pub candidate: ModelId,
    /// The model that it was compared with.
    pub champion: ModelId,
    /// Id of the lease.
    pub lease: u64,
    /// Whether it is a round of a champion that is watched.
    pub watched: bool,
    /// What it was run by.
    pub terms: Terms,
}

/// Counts the games of an evaluation, which were all replayed.
///
/// # Errors
/// Returns [`CountError`] for games that are not those of this evaluation.
pub fn count<'a>(
    asked: &Asked,
    games: impl IntoIterator<Item = &'a SegmentGame>,
) -> Result<Tallies, CountError> {
    let &Asked { config, candidate, .. } = asked;
    // Whether the candidate won, by opponent, seed of the opening, and seat of the candidate.
    let mut sets: BTreeMap<(Stage, u64), Vec<Option<bool>>> = BTreeMap::new();
    for SegmentGame { record, facts } in games {
        let id = facts.id;
        let mut seats = (0u8..).zip(&record.players);
        let is_candidate = |player: &Player| *player == Player::Model(candidate);
        let (seat, _) = seats.find(|(_, player)| is_candidate(player)).ok_or(CountError::Players(id))?;
        let mut others = record.players.iter().enumerate().filter(|(i, _)| *i != usize::from(seat));
        let (_, opponent) = others.next().ok_or(CountError::Players(id))?;
        let stage = stage(*opponent, record.kind, asked).ok_or(CountError::Players(id))?;
        if others.any(|(_, other)| other != opponent) || is_candidate(opponent) {
            return Err(CountError::Players(id));
        }
        if !record.moves.starts_with(&opening(config, record.seed)) {
            return Err(CountError::Opening(id));
        }
        let none = || vec![None; usize::from(config.seats)];
        let set = sets.entry((stage, record.seed)).or_insert_with(none);
        match set.get_mut(usize::from(seat)) {
            Some(won @ None) => *won = Some(facts.winner == seat),
            Some(Some(_)) | None => return Err(CountError::Twice(id)),
        }
    }
    let mut tallies = Tallies::new(config.seats);
    for ((stage, _), set) in &sets {
        if set.iter().any(Option::is_none) {
            return Err(CountError::Incomplete { stage: *stage });
        }
    }
    for stage in [Stage::Random, Stage::Champion, Stage::Heuristic, Stage::Before] {
        for number in 0..sets.keys().filter(|(of, _)| *of == stage).count() {
            let seed = stage.seed_of_set(asked.lease, number as u32);
            let set = sets.get(&(stage, seed)).ok_or(CountError::Seeds { stage })?;
            if ends(&tallies, stage, asked) {
                return Err(CountError::Surplus { stage });
            }
            tally(&mut tallies, stage).add(set.iter().filter(|won| **won == Some(true)).count() as u32);
        }
    }
    if asked.watched && !ends(&tallies, Stage::Before, asked) {
        return Err(CountError::Round(tallies.champion.games()));
    }
    Ok(tallies)
}

/// Whether no set is to follow these in a stage.
fn ends(tallies: &Tallies, stage: Stage, asked: &Asked) -> bool {
    let terms = &asked.terms;
    match stage {
        Stage::Random => tallies.random.games() >= terms.baseline_games || tallies.random.falls_short(terms),
        Stage::Champion => tallies.champion.sprt(terms).is_some(),
        Stage::Heuristic => tallies.heuristic.games() >= terms.baseline_games,
        Stage::Before => tallies.champion.games() >= WATCH_GAMES,
    }
}

/// The stage of a game against this opponent.
fn stage(opponent: Player, kind: GameKind, asked: &Asked) -> Option<Stage> {
    match (opponent, kind) {
        (Player::Model(model), GameKind::Match) if model == asked.champion => {
            Some(if asked.watched { Stage::Before } else { Stage::Champion })
        }
        (Player::Random, GameKind::Baseline) if !asked.watched => Some(Stage::Random),
        (Player::Heuristic, GameKind::Baseline) if !asked.watched => Some(Stage::Heuristic),
        (Player::Model(_) | Player::Random | Player::Heuristic, _) => None,
    }
}

fn tally(tallies: &mut Tallies, stage: Stage) -> &mut Tally {
    match stage {
        Stage::Random => &mut tallies.random,
        Stage::Champion | Stage::Before => &mut tallies.champion,
        Stage::Heuristic => &mut tallies.heuristic,
    }
}
