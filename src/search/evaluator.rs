//! Evaluators of any board, and an evaluator that knows nothing.

use kernels::{AnyEvaluator, Evaluation, Evaluator, Query};
use rules::{Hex8, Hexagonal, SEATS_MAX, Square8, Square19, Topology};

/// A board whose positions an [`AnyEvaluator`] can judge. All four boards are.
pub trait Judged: Topology {
    /// The same evaluator, as an evaluator of this board.
    fn evaluator(any: &mut dyn AnyEvaluator) -> &mut dyn Evaluator<Self>;
}

macro_rules! judged {
    ($($board:ty),*) => {$(
        impl Judged for $board {
            fn evaluator(any: &mut dyn AnyEvaluator) -> &mut dyn Evaluator<Self> {
                any
            }
        }
    )*};
}

judged!(Hex8, Square8, Square19, Hexagonal);

/// An evaluator for which every move is as good as any other, and so is every seat.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uniform;

impl<T: Topology> Evaluator<T> for Uniform {
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        queries
            .iter()
            .map(|query| {
                let mut value = [0.0; SEATS_MAX];
                let seats = query.state.seats();
                value[..usize::from(seats)].fill(1.0 / f32::from(seats));
                Evaluation { logits: vec![0.0; query.legal.len()], value }
            })
            .collect()
    }
}
