//! Every tensor's derivative against central differences, in `f64`.

use crate::encoding::batch::Batch;
use crate::encoding::target::Target;
use crate::network::architecture::Architecture;
use crate::network::forward::Workspace;
use crate::network::real::Real;
use crate::network::weights::Network;
use crate::training::gradient::Gradient;
use rules::playout::{self, Choices};
use rules::{Board, Config, Move, MoveKind, Options, State, Topology, with_board};

/// Positions of every phase; the last ones have no policy target.
fn batch<T: Topology>(seats: u8, positions: usize) -> Batch {
    let mut all: Vec<(State<T>, Vec<Move>)> = Vec::new();
    let mut choices = Choices::new(11);
    for _ in 0..if T::CELLS < 100 { 20 } else { 1 } {
        let start = State::<T>::new(seats, Options { swap: seats == 2, ..Options::default() });
        playout::play(start, &mut choices, &mut Vec::new(), |state, legal| {
            all.push((*state, legal.to_vec()))
        });
    }
    // One position for every kind of move that occurs, then any.
    let mut chosen: Vec<usize> = MoveKind::ALL
        .iter()
        .filter_map(|&kind| {
            all.iter().position(|(_, legal)| legal.len() > 1 && legal.iter().any(|mv| mv.kind() == kind))
        })
        .collect();
    chosen.extend((0..).map(|_| choices.below(all.len())).take(4));
    chosen.truncate(positions);
    let mut batch = Batch::new(T::BOARD);
    for (i, &at) in chosen.iter().enumerate() {
        let (state, legal) = &all[at];
        let mut policy: Vec<(u16, f32)> =
            (0..legal.len().min(3)).map(|k| ((k * legal.len() / 3) as u16, 1.0 + k as f32)).collect();
        policy.dedup_by_key(|entry| entry.0);
        if i + 2 > chosen.len() {
            policy.clear();
        }
        let winner = choices.below(usize::from(seats)) as u8;
        batch.push_sample(state, legal, Target { policy: &policy, winner });
    }
    batch
}

fn loss(space: &mut Workspace<f64>, weights: &[f64], batch: &Batch) -> f64 {
    let mut sums = crate::training::losses::LossSums::default();
    for chunk in space.chunks(batch.len()) {
        space.forward(weights, batch, chunk.clone());
        sums = sums + space.losses(weights, batch, &chunk, None);
    }
    sums.policy / sums.policies.max(1) as f64 + sums.value / sums.values as f64
}

fn check(config: Config, positions: usize, samples: usize) {
    let batch = with_board!(config.board, T => batch::<T>(config.seats, positions));
    let architecture = Architecture { channels: 8, blocks: 3, ..Architecture::small(config.board) };
    let mut choices = Choices::new(2);
    let mut weights: Vec<f64> = Network::seeded(architecture, 3)
        .weights()
        .iter()
        .map(|&weight| f64::from(weight) + (choices.below(2001) as f64 - 1000.0) * 1.5e-4)
        .collect();
    let mut space = Workspace::new(architecture, config.board);
    let mut gradient = Gradient::new(&space);
    let sums = gradient.of_batch(&mut space, &weights, &batch);
    assert!(sums.policies > 0 && sums.policies < sums.values, "{sums:?}");
    let exact = gradient.weights.clone();

    for tensor in space.layout().tensors.clone() {
        // The largest derivative and some at random.
        let range = tensor.span.start..tensor.span.start + tensor.span.len;
        let largest = range.clone().max_by(|&a, &b| exact[a].abs().total_cmp(&exact[b].abs())).unwrap();
        let mut at = vec![largest];
        at.extend((0..samples).map(|_| tensor.span.start + choices.below(tensor.span.len)));
        assert!(exact[largest] != 0.0, "{config}: {} has no gradient", tensor.name);
        for i in at {
            let before = weights[i];
            // A step across the kink of a ReLU or a maximum spoils a difference, so a smaller one is tried.
            let differences = [1e-5, 1e-6, 1e-7].map(|step| {
                weights[i] = before + step;
                let above = loss(&mut space, &weights, &batch);
                weights[i] = before - step;
                let below = loss(&mut space, &weights, &batch);
                weights[i] = before;
                (above - below) / (2.0 * step)
            });
            let close = |difference: f64| (difference - exact[i]).abs() <= 1e-6 + 1e-4 * exact[i].abs();
            assert!(
                differences.into_iter().any(close),
                "{config}: {} [{}]: {} but {differences:?}",
                tensor.name,
                i - tensor.span.start,
                exact[i]
            );
        }
    }
}

#[test]
fn derivatives_agree_with_central_differences() {
    for (key, positions) in [("hex8_2p", 24), ("hex8_3p", 20), ("square8_2p", 24), ("square8_4p", 18)] {
        check(key.parse().unwrap(), positions, 8);
    }
}

#[test]
fn large_boards_have_the_same_derivatives() {
    for key in ["hexagonal_3p", "square19_2p"] {
        check(key.parse().unwrap(), 9, 1);
    }
}

#[test]
fn single_precision_is_close_to_double() {
    let board = Board::Hex8;
    let batch = with_board!(board, T => batch::<T>(2, 20));
    let network = Network::seeded(Architecture::small(board), 3);
    fn gradient<F: Real>(network: &Network, board: Board, batch: &Batch) -> Vec<f64> {
        let weights: Vec<F> = network.weights().iter().map(|&weight| F::of(weight)).collect();
        let mut space = Workspace::new(network.architecture(), board);
        let mut gradient = Gradient::new(&space);
        gradient.of_batch(&mut space, &weights, batch);
        gradient.weights.into_iter().map(F::to_f64).collect()
    }
    let (single, double) =
        (gradient::<f32>(&network, board, &batch), gradient::<f64>(&network, board, &batch));
    let norm: f64 = double.iter().map(|d| d * d).sum::<f64>().sqrt();
    let error: f64 = single.iter().zip(&double).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
    assert!(norm > 0.1 && error < 1e-4 * norm, "{error} of {norm}");
}
