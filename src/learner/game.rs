//! A game while it is played, until it becomes a record.
//!
//! Invariant: only a finished game is recorded, and every step of the record was a legal move.

use crate::{
    clock,
    search::SearchError,
    store::{
        Decision, GameKind, GameRecord, Played, Player,
        record::{MOVES_MAX, POLICY_MAX},
    },
};
use cluster_state::NodeId;
use rules::{Config, Move, Options, RULES_VERSION, State, Topology, Victory, playout::Choices};

/// Why a game cannot go on. Such a game is never recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum GameError {
    #[error(transparent)]
    Search(#[from] SearchError),
    #[error("no end after {MOVES_MAX} steps")]
    TooLong,
}

/// The options of all games that a node plays: the winner is tested after every step, and two seats have the
/// pie rule.
pub(crate) fn options(config: Config) -> Options {
    Options { swap: config.seats == 2, victory: Victory::EveryMove }
}

pub(super) struct LiveGame<T: Topology> {
    pub(super) state: State<T>,
    pub(super) seed: u64,
    moves: Vec<u32>,
    decisions: Vec<Decision>,
}

impl<T: Topology> LiveGame<T> {
    pub(super) fn new(config: Config, seed: u64) -> Self {
        let state = State::new(config.seats, options(config));
        Self { state, seed, moves: Vec::with_capacity(256), decisions: Vec::new() }
    }

    pub(super) fn apply(&mut self, mv: Move) -> Result<(), GameError> {
        if self.moves.len() >= MOVES_MAX {
            return Err(GameError::TooLong);
        }
        self.moves.push(mv.code());
        self.state.apply(mv);
        Ok(())
    }

    /// Plays single legal moves. `legal` then holds the moves of the next choice, and none if the game is
    /// over.
    pub(super) fn settle(&mut self, legal: &mut Vec<Move>) -> Result<(), GameError> {
        loop {
            self.state.legal(legal);
            match legal[..] {
                [] if self.state.outcome().is_some() => return Ok(()),
                [] => return Err(SearchError::NoLegalMove.into()),
                [single] => self.apply(single)?,
                _ => return Ok(()),
            }
        }
    }

    /// Plays up to `choices_max` uniformly random choices, but never to the end of the game and never the pie
    /// rule.
    pub(super) fn open(&mut self, choices_max: usize, choices: &mut Choices) -> Result<(), GameError> {
        let mut legal = Vec::new();
        for _ in 0..choices_max {
            self.settle(&mut legal)?;
            legal.retain(|mv| mv.kind() != rules::MoveKind::Swap);
            if legal.is_empty() {
                return Ok(());
            }
            let mv = legal[crate::search::random(&legal, choices)];
            let mut next = self.state;
            next.apply(mv);
            if next.outcome().is_some() {
                return Ok(());
            }
            self.apply(mv)?;
        }
        Ok(())
    }

    /// Records that the next move was searched. `policy` will teach the policy; an empty one teaches only the
    /// value.
    pub(super) fn decided(&mut self, policy: &[f32]) {
        self.decisions.push(Decision { ply: self.moves.len() as u32, policy: weights(policy) });
    }

    pub(super) fn moves(&self) -> &[u32] {
        &self.moves
    }

    /// The person who won, if the game is over. Person `i` began behind seat `i`.
    pub(super) fn winner(&self) -> Option<u8> {
        self.state.outcome().map(|outcome| person(&self.state, outcome.winner))
    }

    /// The record of a finished game.
    pub(super) fn record(
        self,
        kind: GameKind,
        players: Vec<Player>,
        node: NodeId,
        played: Option<Played>,
    ) -> Option<GameRecord> {
        let outcome = self.state.outcome()?;
        let options = self.state.options();
        Some(GameRecord {
            rules_version: RULES_VERSION,
            config: self.state.config().into(),
            swap: options.swap,
            turn_end: options.victory == Victory::TurnEnd,
            seed: self.seed,
            kind,
            players,
            moves: self.moves,
            decisions: self.decisions,
            winner_seat: outcome.winner,
            node,
            created_ms: clock::now_ms(),
            played,
        })
    }
}

/// A policy as a record keeps it: index and weight of every move that has one; none if there are too many
/// moves.
pub(super) fn weights(policy: &[f32]) -> Vec<(u16, u16)> {
    let policy = if policy.len() > POLICY_MAX { &[] } else { policy };
    let weights = policy.iter().enumerate().map(|(i, &p)| (i as u16, (p * f32::from(u16::MAX)) as u16));
    weights.filter(|&(_, weight)| weight > 0).collect()
}

/// The person who sits behind a seat now.
pub(super) fn person<T: Topology>(state: &State<T>, seat: u8) -> u8 {
    if state.swapped() { 1 - seat } else { seat }
}
