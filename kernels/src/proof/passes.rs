//! Passes over positions on a device: large ones against the CPU, and
//! what again and again should be the same.

use crate::device::Device;
use crate::device::evaluator::DeviceEvaluator;
use crate::device::trial::comparison::Comparison;
use crate::device::trial::evaluations::{EvaluatedPositions, network_of};
use crate::device::trial::samples;
use crate::error::DeviceError;
use crate::network::cpu::CpuEvaluator;
use crate::network::evaluator::{Evaluator, Query};
use rules::{Config, Topology, with_board};
use std::sync::Arc;

/// One pass over `count` positions against the CPU's, which sees only the `distinct` ones that come again and
/// again: what is wrong in a large batch is where it reads and writes, and a number that has no factor in
/// common with the batch or a block moves every position there.
pub(crate) fn one_pass<D: Device>(
    open: impl FnOnce() -> Result<D, DeviceError>,
    config: Config,
    size: (u32, u32),
    (count, distinct): (usize, usize),
) -> Result<Vec<Comparison>, DeviceError> {
    with_board!(config.board, T => one_pass_on::<D, T>(open()?, config.seats, size, (count, distinct)))
}

fn one_pass_on<D: Device, T: Topology>(
    device: D,
    seats: u8,
    size: (u32, u32),
    (count, distinct): (usize, usize),
) -> Result<Vec<Comparison>, DeviceError> {
    let architecture = network_of(T::BOARD, size);
    let network = Arc::new(samples::network(architecture));
    let positions = samples::positions::<T>(seats, distinct);
    let queries: Vec<_> = positions.iter().map(|(state, legal)| Query { state, legal }).collect();
    let wanted = CpuEvaluator::new(Arc::clone(&network)).evaluate(&queries);
    let mut evaluator = DeviceEvaluator::new(device, network)?.in_passes_of(count.max(1));
    let queries: Vec<_> =
        positions.iter().cycle().take(count).map(|(state, legal)| Query { state, legal }).collect();
    let got = evaluator.try_evaluate(&queries)?;
    let wanted = EvaluatedPositions::of(wanted.iter().cycle().take(count));
    let of = format!("{count} positions in one pass, {architecture} on {}", T::BOARD);
    Ok(EvaluatedPositions::of(got.iter()).compare(&wanted, &of).into())
}

/// What a device makes of `count` positions.
pub(crate) fn evaluate<D: Device>(
    device: D,
    config: Config,
    size: (u32, u32),
    count: usize,
) -> Result<EvaluatedPositions, DeviceError> {
    let network = Arc::new(samples::network(network_of(config.board, size)));
    let mut evaluator = DeviceEvaluator::new(device, network)?;
    with_board!(config.board, T => {
        let positions = samples::positions::<T>(config.seats, count);
        let queries: Vec<_> = positions.iter().map(|(state, legal)| Query { state, legal }).collect();
        Ok(EvaluatedPositions::of(evaluator.try_evaluate(&queries)?.iter()))
    })
}
