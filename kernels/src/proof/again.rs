//! A device against itself: the same again gives the same bits.
//!
//! Invariant: each time is on a device that is opened for it, so nothing is left of the time before.

use crate::device::Device;
use crate::device::trial::comparison::Comparison;
use crate::device::trial::evaluations::{EvaluatedPositions, network_of};
use crate::error::DeviceError;
use crate::proof::passes;
use crate::proof::training::{self as steps, Trained};
use crate::training::train::TrainError;
use rules::Config;

/// Evaluates so many positions twice.
pub(crate) fn evaluations<D: Device>(
    open: impl Fn() -> Result<D, DeviceError>,
    config: Config,
    size: (u32, u32),
    count: usize,
) -> Result<Comparison, DeviceError> {
    let words = || -> Result<Vec<u32>, DeviceError> {
        let EvaluatedPositions { logits, values } = passes::evaluate(open()?, config, size, count)?;
        Ok(bits([&logits, &values]))
    };
    let (first, second) = (words()?, words()?);
    let architecture = network_of(config.board, size);
    let what = format!("{count} positions evaluated again, {architecture} on {}", config.board);
    Ok(Comparison::words(what, &second, &first))
}

/// Makes the same training steps twice: losses, weights, their average and the moments.
pub(crate) fn training<D: Device + Send>(
    open: impl Fn() -> Result<D, DeviceError>,
    config: Config,
    size: (u32, u32),
    (count, steps): (usize, u64),
) -> Result<Comparison, TrainError>
where
    D::Memory: Send,
{
    let words = || -> Result<Vec<u32>, TrainError> {
        let Trained { losses, average, progress } = steps::train(open()?, config, size, (count, steps))?;
        let moments = &progress.moments;
        Ok(bits([&losses, &average, &progress.raw, &moments.first, &moments.second]))
    };
    let (first, second) = (words()?, words()?);
    let architecture = network_of(config.board, size);
    let what = format!("{steps} steps on {count} positions again, {architecture} on {}", config.board);
    Ok(Comparison::words(what, &second, &first))
}

fn bits<const N: usize>(parts: [&Vec<f32>; N]) -> Vec<u32> {
    parts.into_iter().flatten().map(|number| number.to_bits()).collect()
}
