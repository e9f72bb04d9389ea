//! Training steps on a device against those of the CPU: every loss, and where the weights went.

use crate::device::Device;
use crate::device::train::DeviceTrainer;
use crate::device::trial::comparison::{Comparison, Tolerance, apart};
use crate::device::trial::evaluations::network_of;
use crate::device::trial::samples;
use crate::encoding::batch::Batch;
use crate::error::DeviceError;
use crate::training::checkpoint::Checkpoint;
use crate::training::optimizer::Optimizer;
use crate::training::train::{Progress, Train, TrainError};
use crate::training::trainer::Trainer;
use rules::{Config, with_board};

const LOSSES: Tolerance = Tolerance { absolute: 0.02, relative: 0.02 };
/// Of the averaged weights after some steps: the length of the difference as a share of the
/// length of all. A maximum of the pooling can move to another cell and a ReLU can flip, which
/// changes single weights more than rounding does.
const WEIGHTS: f64 = 0.02;
/// Likewise, as a share of how far the steps went, each weight counting as much as its derivative: where that
/// is nearly nothing Adam goes by its sign, which is chance. In emulation up to 0.09 of the narrowest
/// networks and 0.18 of others; of weights that stay where they are, 1.
const WAY: f64 = 0.3;

/// What training steps are made with. Where a derivative is nearly nothing, Adam goes by its sign: the
/// smaller the steps, the less that matters.
fn optimizer() -> Optimizer {
    Optimizer { learning_rate: 1e-3, warmup: 2, ..Optimizer::default() }
}

/// What training steps begin with.
fn parent(config: Config, size: (u32, u32)) -> Checkpoint {
    let architecture = network_of(config.board, size);
    let mut parent = Checkpoint::seeded(config, architecture, 1);
    parent.network = samples::network(architecture);
    parent.raw = parent.network.weights().to_vec();
    parent
}

/// What training steps have come to.
pub(crate) struct Trained {
    /// The losses of policy and value, step by step.
    pub(crate) losses: Vec<f32>,
    /// The averaged weights; empty if they are not finite.
    pub(crate) average: Vec<f32>,
    pub(crate) progress: Progress,
}

impl Trained {
    fn of(trainer: &mut dyn Train, batch: &Batch, steps: u64) -> Result<Self, TrainError> {
        let mut losses = Vec::new();
        for step in 0..steps {
            let loss = trainer.step(batch, step, steps)?;
            losses.extend([loss.policy as f32, loss.value as f32]);
        }
        let average = trainer.network()?.map_or(vec![], |network| network.weights().to_vec());
        Ok(Self { losses, average, progress: trainer.progress()? })
    }
}

/// Training steps in a row on one batch of so many positions.
pub(crate) fn train<D: Device + Send>(
    device: D,
    config: Config,
    size: (u32, u32),
    (count, steps): (usize, u64),
) -> Result<Trained, TrainError>
where
    D::Memory: Send,
{
    let (batch, parent) = (samples::filled(config, count), parent(config, size));
    let mut trainer = DeviceTrainer::new(device, &parent, config.board, optimizer(), count)?;
    Trained::of(&mut trainer, &batch, steps)
}

/// Training steps in a row on one batch against the CPU's: every loss, and what became of the weights.
pub(crate) fn training<D: Device + Send>(
    open: impl FnOnce() -> Result<D, DeviceError>,
    config: Config,
    size: (u32, u32),
    (count, steps): (usize, u64),
) -> Result<Vec<Comparison>, TrainError>
where
    D::Memory: Send,
{
    let (board, parent) = (config.board, parent(config, size));
    let mut batch = Batch::new(board);
    with_board!(board, T => samples::fill(&mut batch, &samples::positions::<T>(config.seats, count)));
    let wanted = Trained::of(&mut Trainer::new(&parent, board, optimizer()), &batch, steps)?;
    let got = train(open()?, config, size, (count, steps))?;
    let architecture = network_of(board, size);
    let what =
        |what: &str| format!("{what} of {steps} steps on {count} positions, {architecture} on {board}");
    let losses = Comparison::numbers(what("losses"), &got.losses, &wanted.losses, LOSSES);
    let weights = similar(what("averaged weights"), &got.average, &wanted.average);
    let (start, derivatives) = (parent.network.weights(), &wanted.progress.moments.first);
    let what = what("the way of averaged weights");
    let way = led_there(what, &got.average, &wanted.average, start, derivatives);
    Ok(vec![losses, weights, way])
}

/// Compares the length of the difference with the length of what is wanted.
fn similar(what: String, got: &[f32], wanted: &[f32]) -> Comparison {
    let share = || {
        let (difference, whole) = apart(got, wanted);
        difference / whole
    };
    within(what, (got.len(), wanted.len()), share, WEIGHTS)
}

/// Compares the length of the difference with that of the way from where the
/// steps began, both scaled by the derivatives.
fn led_there(what: String, got: &[f32], wanted: &[f32], start: &[f32], derivatives: &[f32]) -> Comparison {
    let scaled = |values: &[f32]| -> Vec<f64> {
        values.iter().zip(derivatives).map(|(&v, &d)| f64::from(v) * f64::from(d)).collect()
    };
    let share = || apart(&scaled(got), &scaled(wanted)).0 / apart(&scaled(wanted), &scaled(start)).0;
    within(what, (got.len(), wanted.len()), share, WAY)
}

/// Compares a share with what is allowed, unless there are no numbers or not as many as wanted.
fn within(
    what: String,
    (got, wanted): (usize, usize),
    share: impl FnOnce() -> f64,
    allowed: f64,
) -> Comparison {
    let tolerance = Some(Tolerance { absolute: 0.0, relative: allowed });
    let share = if got == wanted && got > 0 { share() } else { f64::NAN };
    let wrong =
        (share.is_nan() || share > allowed).then(|| format!("they differ by {share}, {allowed} is allowed"));
    let worst = share.is_finite().then_some(share / allowed);
    Comparison { what, compared: wanted, tolerance, worst, wrong }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_similar_or_not() {
        let check = |got: &[f32], agrees: bool| {
            let found = similar("w".into(), got, &[3.0, 4.0]);
            assert_eq!(found.agrees(), agrees, "{found:?}");
        };
        check(&[3.0, 4.0], true);
        check(&[3.05, 4.05], true);
        check(&[3.2, 4.0], false);
        check(&[f32::NAN, 4.0], false);
        check(&[3.0], false);
        check(&[], false);
    }

    #[test]
    fn steps_led_where_they_should_or_not() {
        let (start, wanted) = ([100.0, 50.0, 7.0], [101.0, 50.0, 8.0]);
        let check = |got: &[f32], wanted: &[f32], agrees: bool| {
            let found = led_there("w".into(), got, wanted, &start, &[-2.0, 2.0, 1e-6]);
            assert_eq!(found.agrees(), agrees, "{found:?}");
        };
        check(&wanted, &wanted, true);
        check(&[100.8, 50.2, 8.0], &wanted, true);
        check(&[100.8, 50.3, 8.0], &wanted, false);
        check(&[101.0, 50.0, 6.0], &wanted, true);
        // A device that never changes a weight, goes half the way, or the other way.
        check(&start, &wanted, false);
        check(&[100.5, 50.0, 7.5], &wanted, false);
        check(&[99.0, 50.0, 6.0], &wanted, false);
        check(&[f32::NAN, 50.0, 8.0], &wanted, false);
        check(&wanted[..2], &wanted, false);
        check(&[], &[], false);
        // Steps that lead nowhere prove nothing.
        check(&start, &start, false);
    }
}
