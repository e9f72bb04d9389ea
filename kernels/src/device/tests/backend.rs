//! Emulation as a backend, beside the CPU and cards: what users of the trait see agrees with the CPU.

use crate::device::backend::{Backend, CpuBackend};
use crate::device::evaluator::DeviceEvaluator;
use crate::device::tests::emulated::Emulated;
use crate::device::tests::steps::assert_moved;
use crate::device::tests::{assert_close, network};
use crate::device::train::DeviceTrainer;
use crate::encoding::batch::Batch;
use crate::encoding::target::Target;
use crate::error::DeviceError;
use crate::network::architecture::Architecture;
use crate::network::evaluator::{AnyEvaluator, Evaluator, Query};
use crate::network::weights::Network;
use crate::training::checkpoint::Checkpoint;
use crate::training::optimizer::Optimizer;
use crate::training::train::Train;
use rules::{Board, Config, Hex8, Options, State, Topology, playout, with_board};
use std::sync::Arc;

/// Emulation under the schedule of a seed.
struct EmulatedBackend(u64);

impl Backend for EmulatedBackend {
    fn describe(&self) -> String {
        format!("emulation, seed {}", self.0)
    }

    fn evaluator(&self, network: Arc<Network>) -> Result<Box<dyn AnyEvaluator>, DeviceError> {
        Ok(Box::new(DeviceEvaluator::new(Emulated::new(self.0), network)?))
    }

    fn batch(&self, board: Board) -> Batch {
        Batch::packed(board)
    }

    fn trainer(
        &self,
        parent: &Checkpoint,
        board: Board,
        optimizer: Optimizer,
        positions_max: usize,
    ) -> Result<Box<dyn Train>, DeviceError> {
        let device = Emulated::new(self.0);
        Ok(Box::new(DeviceTrainer::new(device, parent, board, optimizer, positions_max)?))
    }
}

fn evaluations_agree<T: Topology>(
    [evaluator, reference]: [&mut dyn Evaluator<T>; 2],
    seats: u8,
    counts: &[usize],
) {
    let mut positions = Vec::new();
    let start = State::<T>::new(seats, Options::default());
    playout::play(start, &mut playout::Choices::new(2), &mut Vec::new(), |state, legal| {
        positions.push((*state, legal.to_vec()));
    });
    for &count in counts {
        let queries: Vec<_> =
            positions.iter().rev().take(count).map(|(state, legal)| Query { state, legal }).collect();
        let (got, want) = (evaluator.evaluate(&queries), reference.evaluate(&queries));
        assert_eq!(got.len(), count);
        for (got, want) in got.iter().zip(&want) {
            assert_close("logits", &got.logits, &want.logits, 0.03, 0.03);
            assert_close("value", &got.value, &want.value, 0.01, 0.01);
            assert!((got.value.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn evaluators_agree_whatever_the_batch() {
    for (board, seats, counts) in [(Board::Hex8, 3, &[0, 1, 7, 3][..]), (Board::Square19, 2, &[1])] {
        let network = Arc::new(network(Architecture::small(board), 4));
        let mut reference = CpuBackend.evaluator(Arc::clone(&network)).unwrap();
        let mut evaluator = EmulatedBackend(3).evaluator(network).unwrap();
        with_board!(board, T => evaluations_agree::<T>([&mut *evaluator, &mut *reference], seats, counts));
    }
}

#[test]
fn a_step_of_training_agrees() {
    fn loss_and_network(backend: &impl Backend, parent: &Checkpoint) -> (f64, Network) {
        let optimizer = Optimizer { warmup: 1, ..Optimizer::default() };
        let mut trainer = backend.trainer(parent, Board::Hex8, optimizer, 8).unwrap();
        let mut batch = backend.batch(Board::Hex8);
        for _ in 0..2 {
            batch.clear();
            let start = State::<Hex8>::new(2, Options::default());
            playout::play(start, &mut playout::Choices::new(2), &mut Vec::new(), |state, legal| {
                if batch.len() < 5 {
                    batch.push_sample(state, legal, Target { policy: &[(1, 2.0)], winner: 1 });
                }
            });
        }
        let loss = trainer.step(&batch, 0, 1).unwrap();
        assert_eq!(trainer.step_count(), 1);
        (loss.total(), trainer.network().unwrap().unwrap())
    }
    let architecture = Architecture { blocks: 1, ..Architecture::small(Board::Hex8) };
    let parent = Checkpoint::seeded(Config { board: Board::Hex8, seats: 2 }, architecture, 1);
    let (want, reference) = loss_and_network(&CpuBackend, &parent);
    let (got, network) = loss_and_network(&EmulatedBackend(1), &parent);
    assert!((got - want).abs() < 0.02, "{got} {want}");
    assert_moved("average", network.weights(), reference.weights(), parent.network.weights(), 0.3);
}

#[test]
fn a_network_without_kernels_is_refused() {
    let odd = Architecture { channels: 36, ..Architecture::small(Board::Hex8) };
    let network = Arc::new(Network::seeded(odd, 1));
    let refused = EmulatedBackend(1).evaluator(Arc::clone(&network));
    assert_eq!(refused.err(), Some(DeviceError::Architecture(odd)));
    assert!(CpuBackend.evaluator(network).is_ok());
}
