//! What search asks of a network.
//!
//! Invariant: an answer has one logit per legal move, in the order of the moves, and values of the seats in
//! the game that are not negative and sum to one.

use rules::{Hex8, Hexagonal, Move, SEATS_MAX, Square8, Square19, State, Topology};

/// An unfinished position.
#[derive(Clone, Copy)]
pub struct Query<'a, T: Topology> {
    /// The position.
    pub state: &'a State<T>,
    /// All its legal moves, in the order of [`State::legal`].
    pub legal: &'a [Move],
}

/// What an evaluator thinks of a position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// One logit per legal move (softmax gives the policy).
    pub logits: Vec<f32>,
    /// The probability that each seat wins, by seat from 0 (not relative to
    /// the mover); 0 for seats not in the game.
    pub value: [f32; SEATS_MAX],
}

/// Judges positions, many at a time.
pub trait Evaluator<T: Topology>: Send {
    /// Evaluates all queries: one evaluation for each, in order.
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation>;
}

/// An evaluator of every board, as a value.
pub trait AnyEvaluator:
    Evaluator<Hex8> + Evaluator<Square8> + Evaluator<Square19> + Evaluator<Hexagonal>
{
}

impl<E> AnyEvaluator for E where
    E: Evaluator<Hex8> + Evaluator<Square8> + Evaluator<Square19> + Evaluator<Hexagonal>
{
}
