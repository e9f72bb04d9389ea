//! Gradients and whole training steps against the CPU.

use super::{assert_close, assert_similar, network, samples, under_schedules};
use crate::architecture::Architecture;
use crate::backward::Gradient;
use crate::checkpoint::Checkpoint;
use crate::device::Bf16;
use crate::device::tests::emulated::Emulated;
use crate::device::train::DeviceTrainer;
use crate::optimizer::Optimizer;
use crate::tower::Workspace;
use crate::trainer::{Loss, Train as _, TrainError, Trainer};
use rules::{Board, Config, with_board};

fn parent(board: Board, (blocks, channels): (u32, u32), seats: u8) -> Checkpoint {
    let architecture = Architecture { blocks, channels, ..Architecture::small(board) };
    let mut checkpoint = Checkpoint::seeded(Config { board, seats }, architecture, 1);
    let network = network(architecture, 1);
    // Exact in bf16: what remains is the rounding of activations.
    checkpoint.raw = network.weights().iter().map(|&weight| Bf16::of(weight).to_f32()).collect();
    checkpoint.network = network;
    checkpoint
}

/// How far a derivative by the trunk's weights may be off: with activations in bf16 a maximum of the pooling can move to
/// another cell and a ReLU can flip, which changes more than rounding does. The kernels are compared one by one, tightly.
const SHARE: f64 = 0.2;
/// By the heads' weights, which no such choice lies before.
const HEAD_SHARE: f64 = 0.02;

/// Every tensor's derivative, on one device.
fn check(device: Emulated, board: Board, size: (u32, u32), seats: u8, count: usize) {
    let parent = parent(board, size, seats);
    let (batch, packed) = with_board!(board, T => samples::<T>(seats, count));
    let mut space = Workspace::<f32>::new(parent.header.architecture, board);
    let mut gradient = Gradient::new(&space);
    let want = Loss::of(gradient.of_batch(&mut space, &parent.raw, &batch));
    let what = format!("{} on {board}, seed {}", parent.header.architecture, device.seed());
    let mut trainer = DeviceTrainer::new(device, &parent, board, Optimizer::default(), count + 1).unwrap();
    let (loss, got) = trainer.gradient_of(packed.packed.as_ref().unwrap()).unwrap();
    assert_close(&what, &[loss.policy as f32], &[want.policy as f32], 0.0, 0.01);
    assert_close(&what, &[loss.value as f32], &[want.value as f32], 0.0, 0.01);
    for tensor in &space.layout().tensors {
        let (got, want) = (tensor.span.of(&got), tensor.span.of(&gradient.weights));
        let share = if tensor.span.start < space.layout().policy_w.start { SHARE } else { HEAD_SHARE };
        assert_similar(&format!("{what}: {}", tensor.name), got, want, share);
    }
}

#[test]
fn derivatives_of_the_small_network() {
    for seed in 1..=super::SCHEDULES {
        check(Emulated::new(seed), Board::Hex8, (3, 32), 2, 5);
        check(Emulated::new(seed), Board::Square8, (3, 32), 3, 2);
    }
}

#[test]
fn derivatives_on_large_boards() {
    check(Emulated::new(1), Board::Hexagonal, (3, 32), 3, 1);
    check(Emulated::new(2), Board::Square19, (3, 32), 2, 3);
}

#[test]
fn derivatives_of_every_width() {
    check(Emulated::new(1), Board::Hex8, (1, 64), 2, 17);
    check(Emulated::new(2), Board::Square8, (3, 96), 2, 1);
    check(Emulated::new(3), Board::Hex8, (3, 128), 2, 1);
}

#[test]
fn ten_steps_agree_with_the_cpu_and_do_not_depend_on_the_schedule() {
    let board = Board::Hex8;
    let (batch, positions) = with_board!(board, T => samples::<T>(2, 4));
    let parent = parent(board, (3, 32), 2);
    let optimizer = Optimizer { warmup: 2, ..Optimizer::default() };
    let mut reference = Trainer::new(&parent, board, optimizer);
    let mut losses = Vec::new();
    for step in 0..10 {
        losses.push(reference.step(&batch, step, 10).unwrap());
    }
    let mut states = Vec::new();
    for seed in [1, 2] {
        let mut trainer = DeviceTrainer::new(Emulated::new(seed), &parent, board, optimizer, 4).unwrap();
        for (step, want) in losses.iter().enumerate() {
            let got = trainer.step(&positions, step as u64, 10).unwrap();
            let what = format!("step {step}, seed {seed}");
            assert_close(&what, &[got.policy as f32], &[want.policy as f32], 0.02, 0.02);
            assert_close(&what, &[got.value as f32], &[want.value as f32], 0.02, 0.02);
        }
        states.push(trainer.state().unwrap());
    }
    assert_eq!(states[0], states[1]);
    assert!(losses[9].total() < 0.9 * losses[0].total(), "{losses:?}");
    let moved = |from: &[f32], to: &[f32]| from.iter().zip(to).map(|(a, b)| b - a).collect::<Vec<_>>();
    let (weights, _) = reference.parts();
    let [got, average, ..] = &states[0];
    assert_similar("weights", &moved(&parent.raw, got), &moved(&parent.raw, weights), 0.35);
    let network = reference.network().unwrap();
    assert_similar("average", average, network.weights(), 0.02);
}

#[test]
fn a_gradient_that_is_not_finite_changes_nothing() {
    let board = Board::Hex8;
    let mut parent = parent(board, (1, 32), 2);
    parent.raw.fill(1e30);
    let (_, positions) = with_board!(board, T => samples::<T>(2, 2));
    under_schedules(|device| {
        let device = Emulated::new(device.seed());
        let mut trainer = DeviceTrainer::new(device, &parent, board, Optimizer::default(), 2).unwrap();
        let before = trainer.state().unwrap();
        assert!(matches!(trainer.step(&positions, 0, 1), Err(TrainError::NotFinite(_))));
        assert_eq!(trainer.state().unwrap(), before);
    });
}
