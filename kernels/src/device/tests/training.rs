//! Derivatives by every weight: tightly against the rounded reference, and that against the CPU.

use crate::device::array::Bf16;
use crate::device::tests::emulated::Emulated;
use crate::device::tests::rounded::Rounded;
use crate::device::tests::{SCHEDULES, assert_close, network, samples};
use crate::device::train::DeviceTrainer;
use crate::device::trial::comparison::{apart, length};
use crate::encoding::batch::Batch;
use crate::network::architecture::{Architecture, Layout};
use crate::network::forward::Workspace;
use crate::training::checkpoint::Checkpoint;
use crate::training::gradient::Gradient;
use crate::training::optimizer::Optimizer;
use crate::training::train::Loss;
use rules::{Board, Config, with_board};

pub(super) fn parent(board: Board, (blocks, channels): (u32, u32), seats: u8) -> Checkpoint {
    let architecture = Architecture { blocks, channels, ..Architecture::small(board) };
    let mut checkpoint = Checkpoint::seeded(Config { board, seats }, architecture, 1);
    let network = network(architecture, 1);
    // Exact in bf16, so that the CPU computes with the same weights.
    checkpoint.raw = network.weights().iter().map(|&weight| Bf16::of(weight).to_f32()).collect();
    checkpoint.network = network;
    checkpoint
}

pub(super) fn rounded(parent: &Checkpoint, rounds: bool) -> Rounded<'_> {
    Rounded { architecture: parent.header.architecture, weights: &parent.raw, rounds }
}

/// What the CPU computes, in f64.
fn of_cpu(parent: &Checkpoint, board: Board, batch: &Batch) -> (Loss, Vec<f64>) {
    let weights: Vec<f64> = parent.raw.iter().map(|&w| f64::from(w)).collect();
    let mut space = Workspace::<f64>::new(parent.header.architecture, board);
    let mut gradient = Gradient::new(&space);
    let loss = Loss::of(gradient.of_batch(&mut space, &weights, batch));
    (loss, gradient.weights)
}

/// What is next to nothing. Two tensors are sums over what the policy head rounds to bf16, where one tie
/// weighs the more: a 256th of the largest of them.
fn absolute(tensor: &str) -> f64 {
    if tensor.starts_with("policy.cells") { 2e-3 } else { 1e-5 }
}

/// Each tensor's difference is at most `share` of what is wanted, or next to nothing.
fn assert_tensors(what: &str, layout: &Layout, got: &[f64], want: &[f64], share: f64) {
    for tensor in &layout.tensors {
        let (got, want) = (tensor.span.of(got), tensor.span.of(want));
        let (difference, whole) = apart(got, want);
        assert!(
            difference <= share * whole + absolute(&tensor.name),
            "{what}: {}: {difference} of {whole}",
            tensor.name
        );
    }
}

#[test]
fn without_rounding_the_reference_is_the_cpu() {
    for (board, seats, count) in [(Board::Hex8, 2, 20), (Board::Square8, 4, 5), (Board::Hexagonal, 3, 1)] {
        let parent = parent(board, (3, 32), seats);
        let (batch, _) = with_board!(board, T => samples::<T>(seats, count));
        let (loss, want) = of_cpu(&parent, board, &batch);
        let got = rounded(&parent, false).pass(&batch, None);
        assert!((got.loss.total() - loss.total()).abs() < 1e-9);
        assert_tensors("f64", &Layout::new(parent.header.architecture), &got.gradient, &want, 1e-9);
        assert!(want.iter().all(|d| d.is_finite()));
    }
}

/// Why derivatives with bf16 are up to a fifth away from those of the CPU: rounding moves a few ReLUs and
/// maxima to the other side. With the sides of the CPU, the rest is the rounding of eight bits.
#[test]
fn rounding_alone_changes_little() {
    for (board, seats) in [(Board::Hex8, 2), (Board::Square8, 3)] {
        let parent = parent(board, (3, 32), seats);
        let (batch, _) = with_board!(board, T => samples::<T>(seats, 16));
        let (loss, want) = of_cpu(&parent, board, &batch);
        let exact = rounded(&parent, false).pass(&batch, None);
        let forced = rounded(&parent, true).pass(&batch, Some(&exact.sides));
        let own = rounded(&parent, true).pass(&batch, None);
        let layout = Layout::new(parent.header.architecture);
        assert_tensors("with the CPU's sides", &layout, &forced.gradient, &want, 0.015);
        assert!((own.loss.total() - loss.total()).abs() < 0.002, "{:?} {loss:?}", own.loss);
        let (all, moved) = own.sides.differing(&exact.sides);
        assert!(moved > 0 && moved < all / 500, "{moved} of {all}");
        assert_tensors("with its own sides", &layout, &own.gradient, &want, 0.2);
    }
}

/// Of what the rounded reference says, in the norm of a tensor. Where f32 and f64 fall on two
/// sides of a tie between neighbours in bf16 one number differs by a 256th, and now and then a
/// ReLU; most tensors agree to a ten-thousandth.
const SHARE: f64 = 0.01;
/// Each number: a hundredth, and what is this share of the tensor's mean square.
const EACH: f64 = 0.1;

/// Every tensor's derivative, on one device.
fn check(device: Emulated, board: Board, size: (u32, u32), seats: u8, count: usize) {
    let parent = parent(board, size, seats);
    let (batch, packed) = with_board!(board, T => samples::<T>(seats, count));
    let want = rounded(&parent, true).pass(&batch, None);
    let layout = Layout::new(parent.header.architecture);
    let what = format!("{} on {board}, seed {}", parent.header.architecture, device.seed());
    let mut trainer = DeviceTrainer::new(device, &parent, board, Optimizer::default(), count + 1).unwrap();
    let (loss, got) = trainer.gradient_of(packed.packed.as_ref().unwrap()).unwrap();
    assert_close(&what, &[loss.policy as f32], &[want.loss.policy as f32], 1e-4, 1e-4);
    assert_close(&what, &[loss.value as f32], &[want.loss.value as f32], 1e-4, 1e-4);
    let got: Vec<f64> = got.into_iter().map(f64::from).collect();
    assert_tensors(&what, &layout, &got, &want.gradient, SHARE);
    for tensor in &layout.tensors {
        let (got, want) = (tensor.span.of(&got), tensor.span.of(&want.gradient));
        let mean = length(want) / (want.len() as f64).sqrt();
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            let close = (g - w).abs() <= absolute(&tensor.name) + EACH * mean + 0.01 * w.abs();
            assert!(close, "{what}: {} [{i}]: {g} but {w}, {mean} on average", tensor.name);
        }
        // Only what no move of these positions reads has no derivative.
        assert!(mean > 1e-5 || tensor.name.starts_with("policy"), "{what}: {} says nothing", tensor.name);
    }
}

#[test]
fn derivatives_of_the_small_network() {
    for seed in 1..=SCHEDULES {
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
    check(Emulated::new(2), Board::Square8, (3, 96), 2, 2);
    check(Emulated::new(3), Board::Hex8, (3, 128), 2, 2);
    check(Emulated::new(4), Board::Hexagonal, (1, 128), 2, 1);
}
