//! Whole training steps, ten in a row: against the rounded reference, against the CPU, and
//! bit for bit the same under every schedule.

use crate::device::tests::emulated::Emulated;
use crate::device::tests::training::{parent, rounded};
use crate::device::tests::{SCHEDULES, assert_close, samples, under_schedules};
use crate::device::train::DeviceTrainer;
use crate::device::trial::comparison::apart;
use crate::encoding::batch::Batch;
use crate::network::architecture::Layout;
use crate::training::checkpoint::Checkpoint;
use crate::training::optimizer::{Moments, Optimizer, average};
use crate::training::train::{Loss, Train as _, TrainError};
use crate::training::trainer::Trainer;
use rules::{Board, with_board};

/// AdamW of the CPU on the rounded reference's derivatives.
struct Reference {
    /// Its raw weights are those in training.
    parent: Checkpoint,
    optimizer: Optimizer,
    moments: Moments,
    average: Vec<f32>,
}

impl Reference {
    fn new(parent: &Checkpoint, optimizer: Optimizer) -> Self {
        Self {
            moments: Moments::new(parent.raw.len()),
            average: parent.network.weights().to_vec(),
            parent: parent.clone(),
            optimizer,
        }
    }

    fn step(&mut self, batch: &Batch, step: u64, run: u64) -> Loss {
        let pass = rounded(&self.parent, true).pass(batch, None);
        let gradient: Vec<f32> = pass.gradient.iter().map(|&d| d as f32).collect();
        let layout = Layout::new(self.parent.header.architecture);
        let rate = self.optimizer.rate(step, step, run);
        assert!(self.moments.step(&self.optimizer, rate, &layout, &mut self.parent.raw, &gradient));
        average(&mut self.average, &self.parent.raw, self.optimizer.average, step);
        pass.loss
    }
}

/// The difference is at most `share` of the way from `start` to `want`.
pub(super) fn assert_moved(what: &str, got: &[f32], want: &[f32], start: &[f32], share: f64) {
    let (difference, way) = (apart(got, want).0, apart(want, start).0);
    assert!(difference <= share * way, "{what}: {difference} of {way}");
}

fn assert_losses(what: &str, got: Loss, want: Loss, absolute: f32, relative: f32) {
    assert_close(what, &[got.policy as f32], &[want.policy as f32], absolute, relative);
    assert_close(what, &[got.value as f32], &[want.value as f32], absolute, relative);
}

/// The first steps of AdamW move every weight by about the rate, however small its derivative:
/// where that is nothing but rounding, the direction is chance. So weights are compared by how far
/// they went, and tightly only the moments.
#[test]
fn ten_steps_agree_with_the_rounded_reference_and_the_cpu() {
    let board = Board::Hex8;
    let (batch, positions) = with_board!(board, T => samples::<T>(2, 4));
    let parent = parent(board, (3, 32), 2);
    let optimizer = Optimizer { warmup: 2, ..Optimizer::default() };
    let mut cpu = Trainer::new(&parent, board, optimizer);
    let mut reference = Reference::new(&parent, optimizer);
    let mut trainer = DeviceTrainer::new(Emulated::new(1), &parent, board, optimizer, 4).unwrap();
    let zeros = vec![0.0; parent.raw.len()];
    let mut losses = Vec::new();
    for step in 0..10 {
        let what = |what: &str| format!("{what} at step {step}");
        let (want, far) = (reference.step(&batch, step, 10), cpu.step(&batch, step, 10).unwrap());
        let got = trainer.step(&positions, step, 10).unwrap();
        assert_losses(&what("losses"), got, want, 1e-3, 1e-3);
        // The CPU's derivatives differ by some ReLUs and maxima; after ten steps that is 3 percent of a loss.
        assert_losses(&what("losses of the CPU"), got, far, 0.01, 0.04);
        losses.push(got.total());

        let [weights, average, first, second] = trainer.state().unwrap();
        assert_moved(&what("first moment"), &first, &reference.moments.first, &zeros, 0.04);
        assert_moved(&what("second moment"), &second, &reference.moments.second, &zeros, 0.01);
        assert_moved(&what("weights"), &weights, &reference.parent.raw, &parent.raw, 0.04);
        assert_moved(&what("average"), &average, &reference.average, parent.network.weights(), 0.04);
        assert_moved(&what("weights of the CPU"), &weights, cpu.parts().0, &parent.raw, 0.3);
    }
    assert!(losses[9] < 0.6 * losses[0], "{losses:?}");
}

#[test]
fn steps_do_not_depend_on_the_schedule() {
    for (board, size, seats, count, steps) in [
        (Board::Square8, (3, 32), 3, 3, 2),
        (Board::Hex8, (1, 64), 2, 2, 2),
        (Board::Hex8, (1, 32), 2, 3, 10),
    ] {
        let (_, positions) = with_board!(board, T => samples::<T>(seats, count));
        let parent = parent(board, size, seats);
        let run = |seed: u64| {
            let optimizer = Optimizer::default();
            let mut trainer =
                DeviceTrainer::new(Emulated::new(seed), &parent, board, optimizer, count).unwrap();
            let losses: Vec<Loss> =
                (0..steps).map(|step| trainer.step(&positions, step, steps).unwrap()).collect();
            let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            let of_loss = |loss: &Loss| (loss.policy.to_bits(), loss.value.to_bits());
            (losses.iter().map(of_loss).collect::<Vec<_>>(), trainer.state().unwrap().map(bits))
        };
        let first = run(0);
        for seed in 1..=SCHEDULES {
            assert!(run(seed) == first, "another result of {steps} steps under the schedule of seed {seed}");
        }
    }
}

#[test]
fn no_positions_teach_nothing() {
    let parent = parent(Board::Hex8, (1, 32), 2);
    let optimizer = Optimizer { weight_decay: 0.0, ..Optimizer::default() };
    let mut trainer = DeviceTrainer::new(Emulated::new(1), &parent, Board::Hex8, optimizer, 2).unwrap();
    let loss = trainer.step(&Batch::packed(Board::Hex8), 0, 1).unwrap();
    assert_eq!(loss, Loss::default());
    assert_eq!(trainer.state().unwrap()[0], parent.raw);
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
        assert_eq!(trainer.step_count(), parent.header.step);
    });
}
