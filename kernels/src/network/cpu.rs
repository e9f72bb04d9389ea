//! Evaluation on the CPU, on the calling thread.

use crate::encoding::batch::Batch;
use crate::network::evaluator::{Evaluation, Evaluator, Query};
use crate::network::forward::Workspace;
use crate::network::weights::Network;
use rules::{Board, SEATS_MAX, Topology};
use std::sync::Arc;

/// Evaluates with a network on the calling thread. Each thread has an evaluator of its own; all share the
/// weights.
pub struct CpuEvaluator {
    network: Arc<Network>,
    /// The memory for the last board; self-play asks about one board only.
    space: Option<(Workspace<f32>, Batch)>,
}

impl CpuEvaluator {
    /// An evaluator of a network.
    #[must_use]
    pub fn new(network: Arc<Network>) -> Self {
        Self { network, space: None }
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Arc<Network> {
        &self.network
    }

    fn space(&mut self, board: Board) -> &mut (Workspace<f32>, Batch) {
        let architecture = self.network.architecture();
        let kept = self.space.take().filter(|(space, _)| space.is_for(architecture, board));
        self.space.insert(kept.unwrap_or_else(|| (Workspace::new(architecture, board), Batch::new(board))))
    }
}

impl<T: Topology> Evaluator<T> for CpuEvaluator {
    /// # Panics
    /// If the network does not play on the board: see [`crate::network::architecture::Architecture::fits`].
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        let network = Arc::clone(&self.network);
        let weights = network.weights();
        let (space, batch) = self.space(T::BOARD);
        batch.clear();
        for query in queries {
            batch.push(query.state, query.legal);
        }
        let mut evaluations = Vec::with_capacity(queries.len());
        for chunk in space.chunks(batch.len()) {
            space.forward(weights, batch, chunk.clone());
            for (i, position) in chunk.clone().enumerate() {
                let (mover, seats) = (batch.movers[position], batch.seats[position]);
                let mut evaluation = Evaluation {
                    logits: space.logits(weights, batch, &chunk, i).collect(),
                    value: absolute(space.value(i, seats), mover, seats),
                };
                tame(&mut evaluation, seats);
                evaluations.push(evaluation);
            }
        }
        evaluations
    }
}

/// From seats as the mover sees them to seats of the game.
pub(crate) fn absolute(relative: [f32; SEATS_MAX], mover: u8, seats: u8) -> [f32; SEATS_MAX] {
    let mut value = [0.0; SEATS_MAX];
    for (at, &share) in relative[..usize::from(seats)].iter().enumerate() {
        value[(usize::from(mover) + at) % usize::from(seats)] = share;
    }
    value
}

/// Replaces what overflowed by an even opinion, because a stranger's network may have weights that are finite
/// and absurd.
pub(crate) fn tame(evaluation: &mut Evaluation, seats: u8) {
    if !evaluation.value.iter().all(|share| share.is_finite()) {
        evaluation.value[..usize::from(seats)].fill(1.0 / f32::from(seats));
    }
    for logit in evaluation.logits.iter_mut().filter(|logit| !logit.is_finite()) {
        *logit = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::architecture::Architecture;
    use rules::{Config, Options, State, playout, with_board};

    /// A network that is not the identity anywhere.
    fn network(architecture: Architecture) -> Arc<Network> {
        let seeded = Network::seeded(architecture, 1);
        let mut choices = playout::Choices::new(5);
        let noise = |w: &f32| w + (choices.below(2001) as f32 - 1000.0) * 1e-4;
        let weights = seeded.weights().iter().map(noise).collect();
        Arc::new(Network::from_weights(seeded.architecture(), weights).unwrap())
    }

    #[test]
    fn an_answer_does_not_depend_on_its_batch() {
        let wide = |board| Architecture { channels: 64, blocks: 1, ..Architecture::small(board) };
        let odd = |board| Architecture { channels: 84, blocks: 3, ..Architecture::small(board) };
        for board in Board::ALL {
            for architecture in [Architecture::small(board), wide(board), odd(board)] {
                check_batches(board, architecture);
            }
        }
    }

    fn check_batches(board: Board, architecture: Architecture) {
        for config in Config::all().into_iter().filter(|config| config.board == board) {
            with_board!(config.board, T => {
                let mut evaluator = CpuEvaluator::new(network(architecture));
                let mut positions = Vec::new();
                let start = State::<T>::new(config.seats, Options::default());
                playout::play(start, &mut playout::Choices::new(9), &mut Vec::new(), |state, legal| {
                    if state.ply() % 3 == 0 && positions.len() < 40 {
                        positions.push((*state, legal.to_vec()));
                    }
                });
                let queries: Vec<_> = positions.iter().map(|(state, legal)| Query { state, legal }).collect();
                let together = evaluator.evaluate(&queries);
                assert_eq!(together.len(), queries.len());
                for (first, one) in together.iter().enumerate().step_by(5) {
                    for count in [1, 2, 3, 7] {
                        let some = &queries[first..queries.len().min(first + count)];
                        assert_eq!(evaluator.evaluate(some)[0], *one, "{config} {architecture} {first} {count}");
                    }
                    assert_eq!(one.logits.len(), queries[first].legal.len());
                    assert!((one.value.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                    assert!(one.value.iter().all(|v| *v >= 0.0));
                    assert!(one.value[usize::from(config.seats)..].iter().all(|&v| v == 0.0));
                }
                assert!(together.iter().any(|one| one.logits.iter().any(|l| (l - one.logits[0]).abs() > 1e-3)));
            });
        }
    }

    #[test]
    fn the_untrained_network_has_no_strong_opinion() {
        let mut evaluator = CpuEvaluator::new(Arc::new(Network::seeded(Architecture::small(Board::Hex8), 0)));
        let start = State::<rules::Hex8>::new(2, Options::default());
        playout::play(start, &mut playout::Choices::new(1), &mut Vec::new(), |state, legal| {
            let one = &evaluator.evaluate(&[Query { state, legal }])[0];
            assert!((one.value[0] - 0.5).abs() < 0.25, "{:?}", one.value);
            assert!(one.logits.iter().all(|logit| logit.abs() < 3.0), "{:?}", one.logits);
        });
    }

    #[test]
    fn absurd_weights_give_no_opinion() {
        let architecture = Architecture::small(Board::Hex8);
        let absurd = Network::from_weights(architecture, vec![1e30; architecture.parameters()]).unwrap();
        let mut evaluator = CpuEvaluator::new(Arc::new(absurd));
        let state = State::<rules::Hex8>::new(3, Options::default());
        let mut legal = Vec::new();
        state.legal(&mut legal);
        let one = &evaluator.evaluate(&[Query { state: &state, legal: &legal }])[0];
        assert!(one.logits.iter().all(|&logit| logit == 0.0));
        assert_eq!(one.value, [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0]);
    }

    #[test]
    fn no_question_no_answer() {
        let mut evaluator = CpuEvaluator::new(network(Architecture::small(Board::Square8)));
        assert!(Evaluator::<rules::Square8>::evaluate(&mut evaluator, &[]).is_empty());
    }
}
