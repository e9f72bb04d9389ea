//! Counts the games of an evaluation again, from their records.
//!
//! Invariant: nothing that the evaluator says is believed but the seed of each opening: the rules have
//! replayed the games, and whole sets are counted, in which the candidate plays once from each seat, after
//! the opening that their seed gives.

use super::{arena::opening, evaluation::Stage};
use crate::store::{GameKind, Player, segment::SegmentGame};
use cluster_state::{ModelId, Tallies, Tally};
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
}

/// Counts the games of `candidate`, which were all replayed, against `champion` and the baselines.
///
/// # Errors
/// Returns [`CountError`] for games that are not whole sets of an evaluation.
pub fn count<'a>(
    config: Config,
    games: impl IntoIterator<Item = &'a SegmentGame>,
    candidate: ModelId,
    champion: ModelId,
) -> Result<Tallies, CountError> {
    // Whether the candidate won, by opponent, seed of the opening, and seat of the candidate.
    let mut sets: BTreeMap<(Stage, u64), Vec<Option<bool>>> = BTreeMap::new();
    for SegmentGame { record, facts } in games {
        let id = facts.id;
        let mut seats = (0u8..).zip(&record.players);
        let is_candidate = |player: &Player| *player == Player::Model(candidate);
        let (seat, _) = seats.find(|(_, player)| is_candidate(player)).ok_or(CountError::Players(id))?;
        let mut others = record.players.iter().enumerate().filter(|(i, _)| *i != usize::from(seat));
        let (_, opponent) = others.next().ok_or(CountError::Players(id))?;
        let stage = stage(*opponent, record.kind, champion).ok_or(CountError::Players(id))?;
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
    for ((stage, _), set) in sets {
        let games: Option<Vec<bool>> = set.into_iter().collect();
        let wins = games.ok_or(CountError::Incomplete { stage })?.into_iter().filter(|won| *won).count();
        tally(&mut tallies, stage).add(wins as u32);
    }
    Ok(tallies)
}

/// The stage of a game against this opponent.
fn stage(opponent: Player, kind: GameKind, champion: ModelId) -> Option<Stage> {
    match (opponent, kind) {
        (Player::Model(model), GameKind::Match) if model == champion => Some(Stage::Champion),
        (Player::Random, GameKind::Baseline) => Some(Stage::Random),
        (Player::Heuristic, GameKind::Baseline) => Some(Stage::Heuristic),
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
