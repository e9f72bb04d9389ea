//! A device against the CPU: evaluations and training steps.

use super::comparison::{Comparison, Tolerance, apart};
use super::samples;
use crate::architecture::Architecture;
use crate::batch::Batch;
use crate::checkpoint::Checkpoint;
use crate::cpu::CpuEvaluator;
use crate::device::evaluator::DeviceEvaluator;
use crate::device::train::DeviceTrainer;
use crate::device::{Device, DeviceError};
use crate::evaluator::{Evaluation, Evaluator, Query};
use crate::network::Network;
use crate::optimizer::Optimizer;
use crate::trainer::{Train as _, TrainError, Trainer};
use rules::{Board, Config, Topology, with_board};
use std::sync::Arc;

/// Each layer rounds the trunk to eight bits once more, and the CPU does not.
const LOGITS: Tolerance = Tolerance { absolute: 0.03, relative: 0.03 };
/// Probabilities.
const VALUES: Tolerance = Tolerance { absolute: 0.005, relative: 0.005 };
const LOSSES: Tolerance = Tolerance { absolute: 0.02, relative: 0.02 };
/// Of the averaged weights after some steps: the length of the difference as a share of the length of all. A maximum of the
/// pooling can move to another cell and a ReLU can flip, which changes single weights more than rounding does.
const WEIGHTS: f64 = 0.02;
/// Likewise, as a share of how far the steps went, each weight counting as much as its derivative: where that is nearly
/// nothing Adam goes by its sign, which is chance. In emulation up to 0.09 of the narrowest networks and 0.18 of
/// others; of weights that stay where they are, 1.
const WAY: f64 = 0.3;

fn network_of(board: Board, (blocks, channels): (u32, u32)) -> Architecture {
    Architecture { blocks, channels, ..Architecture::small(board) }
}

/// Evaluations of batches of so many positions each against the CPU's.
pub(crate) fn evaluations<D: Device>(
    open: impl FnOnce() -> Result<D, DeviceError>,
    config: Config,
    size: (u32, u32),
    counts: &[usize],
) -> Result<Vec<Comparison>, DeviceError> {
    with_board!(config.board, T => evaluations_on::<D, T>(open()?, config.seats, size, counts))
}

fn evaluations_on<D: Device, T: Topology>(
    device: D,
    seats: u8,
    size: (u32, u32),
    counts: &[usize],
) -> Result<Vec<Comparison>, DeviceError> {
    let architecture = network_of(T::BOARD, size);
    let network = Arc::new(samples::network(architecture));
    let mut reference = CpuEvaluator::new(Arc::clone(&network));
    let mut evaluator = DeviceEvaluator::new(device, network)?;
    let most = counts.iter().copied().max().unwrap_or(0);
    let positions = samples::positions::<T>(seats, most);
    let queries: Vec<_> = positions.iter().map(|(state, legal)| Query { state, legal }).collect();
    let wanted = reference.evaluate(&queries);
    let mut found = Vec::new();
    for &count in counts {
        let got = evaluator.try_evaluate(&queries[..count])?;
        let what = |what: &str| format!("{what} of {count} positions, {architecture} on {}", T::BOARD);
        let wanted = &wanted[..count];
        let logits = |all: &[Evaluation]| all.iter().flat_map(|one| one.logits.clone()).collect::<Vec<_>>();
        let values = |all: &[Evaluation]| all.iter().flat_map(|one| one.value).collect::<Vec<_>>();
        found.push(Comparison::numbers(what("logits"), &logits(&got), &logits(wanted), LOGITS));
        found.push(Comparison::numbers(what("values"), &values(&got), &values(wanted), VALUES));
    }
    Ok(found)
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
    let board = config.board;
    let architecture = network_of(board, size);
    let (mut batch, mut packed) = (Batch::new(board), Batch::packed(board));
    with_board!(board, T => {
        let positions = samples::positions::<T>(config.seats, count);
        samples::fill(&mut batch, &positions);
        samples::fill(&mut packed, &positions);
    });
    let mut parent = Checkpoint::seeded(config, architecture, 1);
    parent.network = samples::network(architecture);
    parent.raw = parent.network.weights().to_vec();
    // Where a derivative is nearly nothing, Adam goes by its sign: the smaller the steps, the less that matters.
    let optimizer = Optimizer { learning_rate: 1e-3, warmup: 2, ..Optimizer::default() };
    let mut reference = Trainer::new(&parent, board, optimizer);
    let mut trainer = DeviceTrainer::new(open()?, &parent, board, optimizer, count)?;
    let (mut got, mut wanted) = (Vec::new(), Vec::new());
    for step in 0..steps {
        let loss = trainer.step(&packed, step, steps)?;
        got.extend([loss.policy as f32, loss.value as f32]);
        let loss = reference.step(&batch, step, steps)?;
        wanted.extend([loss.policy as f32, loss.value as f32]);
    }
    let what =
        |what: &str| format!("{what} of {steps} steps on {count} positions, {architecture} on {board}");
    let losses = Comparison::numbers(what("losses"), &got, &wanted, LOSSES);
    let (trained, wanted) = (trainer.network()?, reference.network());
    let weights_of = |network: &Option<Network>| network.as_ref().map_or(vec![], |of| of.weights().to_vec());
    let (got, wanted, start) = (weights_of(&trained), weights_of(&wanted), parent.network.weights());
    let derivatives = reference.progress()?.moments.first;
    let weights = similar(what("averaged weights"), &got, &wanted);
    let way = led_there(what("the way of averaged weights"), &got, &wanted, start, &derivatives);
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

/// Compares the length of the difference with that of the way from where the steps began, both scaled by the derivatives.
fn led_there(what: String, got: &[f32], wanted: &[f32], start: &[f32], derivatives: &[f32]) -> Comparison {
    let scaled = |values: &[f32]| -> Vec<f64> {
        values.iter().zip(derivatives).map(|(&v, &d)| f64::from(v) * f64::from(d)).collect()
    };
    let share = || apart(&scaled(got), &scaled(wanted)).0 / apart(&scaled(wanted), &scaled(start)).0;
    within(what, (got.len(), wanted.len()), share, WAY)
}

/// Whether the difference of so many numbers from as many is a share that is allowed.
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
