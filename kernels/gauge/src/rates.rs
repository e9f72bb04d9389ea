//! Positions and training samples per second: what a card's peaks allow, and what is predicted.
//!
//! A pass is recorded launch by launch as the product makes it. What a launch has to do is its own cost, how
//! many of its blocks a multiprocessor holds follows from the compiler's report, and both become a time.

use crate::images::{image_of, usage_of};
use crate::peaks::Peaks;
use crate::time::{Bound, predict, roofline};
use kernels::cuda::Image;
use kernels::dry_run::{self, Cost, RecordedPass, Workload};
use kernels::{Architecture, DeviceError, TrainError};
use rules::Board;
use serde::Serialize;
use std::collections::BTreeMap;

/// Bytes per second from the host's memory to the card.
const COPY: f64 = 10e9;
/// How many of the kernels that take the most time are named.
const SLOWEST: usize = 3;

/// Positions or samples per second of a network on a board.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NetworkRate {
    /// The board's name.
    pub board: String,
    /// The network, as `b6c96`.
    pub network: String,
    /// Positions of a pass, or samples of a step.
    pub batch: usize,
    /// Launches of a pass.
    pub launches: usize,
    /// Multiplications and additions of a position on tensor cores.
    pub flops: f64,
    /// Bytes of a position to and from memory.
    pub memory_bytes: f64,
    /// Bytes of a position out of the second-level cache.
    pub cache_bytes: f64,
    /// Positions or samples per second that the card's peaks allow.
    pub roofline_per_s: f64,
    /// Positions or samples per second that are predicted.
    pub predicted_per_s: f64,
    /// The share of the tensor cores' peak that is used if the prediction holds.
    pub share_of_peak: f64,
    /// The kernels that take the most time, the slowest first.
    pub slowest: Vec<KernelShare>,
}

/// A kernel's part of a pass.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelShare {
    /// The kernel's name in `cuda/`.
    pub kernel: String,
    /// Its share of the time of the pass.
    pub share: f64,
    /// What decides how long its longest launch takes.
    pub bound: Bound,
}

/// A network of a board, of the sizes that kernels are compiled for.
#[must_use]
pub fn sizes(board: Board) -> [Architecture; 4] {
    [(4, 32), (4, 64), (6, 96), (10, 128)].map(|(blocks, channels)| Architecture {
        blocks,
        channels,
        ..Architecture::small(board)
    })
}

/// The sums over the launches of a pass.
#[derive(Default)]
struct Totals<'a> {
    work: Workload,
    /// Seconds that are predicted.
    seconds: f64,
    /// Seconds by the card's peaks alone.
    ideal: f64,
    /// Of each kernel: seconds of all its launches, seconds of the longest, and what bounds that one.
    kernels: BTreeMap<&'a str, (f64, f64, Bound)>,
}

impl<'a> Totals<'a> {
    fn of(pass: &'a RecordedPass, peaks: &Peaks, image: &Image) -> Result<Self, DeviceError> {
        let mut totals = Self { seconds: pass.bytes_up as f64 / COPY, ..Self::default() };
        for launch in &pass.launches {
            let work = match launch.cost {
                Cost::Counted(work) => work,
                Cost::Uncounted(why) => {
                    return Err(DeviceError::Unsupported(format!(
                        "no prediction of {}: {why}",
                        launch.kernel
                    )));
                }
            };
            let found = predict(launch.grid, usage_of(image, launch.kernel), &work, peaks);
            totals.ideal += roofline(&work, peaks);
            totals.seconds += found.seconds;
            totals.work.useful_flops += work.useful_flops;
            totals.work.memory_bytes += work.memory_bytes;
            totals.work.cache_bytes += work.cache_bytes;
            let of_kernel = totals.kernels.entry(launch.kernel).or_insert((0.0, 0.0, found.bound));
            of_kernel.0 += found.seconds;
            if found.seconds > of_kernel.1 {
                (of_kernel.1, of_kernel.2) = (found.seconds, found.bound);
            }
        }
        Ok(totals)
    }

    fn slowest(&self) -> Vec<KernelShare> {
        let share = |(&kernel, &(all, _, bound)): (&&str, &(f64, f64, Bound))| KernelShare {
            kernel: kernel.to_owned(),
            share: all / self.seconds,
            bound,
        };
        let mut shares: Vec<_> = self.kernels.iter().map(share).collect();
        shares.sort_by(|a, b| b.share.total_cmp(&a.share));
        shares.truncate(SLOWEST);
        shares
    }
}

/// The rate of a pass over a batch.
fn rate(
    pass: &RecordedPass,
    board: Board,
    architecture: Architecture,
    batch: usize,
    peaks: &Peaks,
) -> Result<NetworkRate, DeviceError> {
    let totals = Totals::of(pass, peaks, &image_of(peaks.capability)?)?;
    let (n, Totals { work, seconds, ideal, .. }) = (batch as f64, &totals);
    Ok(NetworkRate {
        board: board.to_string(),
        network: architecture.size(),
        batch,
        launches: pass.launches.len(),
        flops: work.useful_flops / n,
        memory_bytes: work.memory_bytes / n,
        cache_bytes: work.cache_bytes / n,
        roofline_per_s: n / ideal,
        predicted_per_s: n / seconds,
        share_of_peak: work.useful_flops / seconds / peaks.tensor_flops,
        slowest: totals.slowest(),
    })
}

/// Positions per second of a network's forward pass over positions that are on the card.
///
/// # Errors
/// [`DeviceError::Architecture`] if there are no kernels for the network.
pub fn forward_rate(
    board: Board,
    architecture: Architecture,
    batch: usize,
    peaks: &Peaks,
) -> Result<NetworkRate, DeviceError> {
    rate(&dry_run::forward(board, architecture, batch)?, board, architecture, batch, peaks)
}

/// Samples per second of training steps, with the copies of the samples from the host.
///
/// # Errors
/// [`TrainError`] if there are no kernels for the network.
pub fn training_rate(
    board: Board,
    architecture: Architecture,
    batch: usize,
    peaks: &Peaks,
) -> Result<NetworkRate, TrainError> {
    Ok(rate(&dry_run::training(board, architecture, batch)?, board, architecture, batch, peaks)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peaks::h200;

    /// The convolutions of a position and the policy head's product, by hand.
    fn flops(board: Board, architecture: Architecture) -> f64 {
        let (cells, taps) = (board.cells(), architecture.grid.taps());
        let (c, blocks) = (architecture.channels as usize, architecture.blocks as usize);
        (2 * cells * (taps * 48 * c + 2 * blocks * taps * c * c + c * 96)) as f64
    }

    #[test]
    fn a_forward_pass_is_counted_as_it_is() {
        let peaks = Peaks::of(&h200());
        for board in Board::ALL {
            for architecture in sizes(board) {
                let rate = forward_rate(board, architecture, 5, &peaks).unwrap();
                let what = format!("{architecture} on {board}");
                assert!((rate.flops / flops(board, architecture) - 1.0).abs() < 1e-9, "{what}: {rate:?}");
                assert!(rate.predicted_per_s < rate.roofline_per_s, "{what}");
                assert!(rate.launches >= 7 && !rate.slowest.is_empty(), "{what}");
                assert!(rate.memory_bytes > (board.cells() * 96) as f64, "{what}");
            }
        }
    }

    #[test]
    fn a_training_step_is_three_times_the_arithmetic() {
        let peaks = Peaks::of(&h200());
        let [small, .., large] = sizes(Board::Hex8);
        for architecture in [small, large] {
            let rate = training_rate(Board::Hex8, architecture, 5, &peaks).unwrap();
            let c = architecture.channels as usize;
            // Nobody needs the derivative by the input of the stem.
            let stem = (2 * 61 * 7 * 48 * c) as f64;
            let expected = 3.0 * flops(Board::Hex8, architecture) - stem;
            assert!((rate.flops / expected - 1.0).abs() < 1e-9, "{} of {expected}", rate.flops);
            assert!(rate.predicted_per_s < rate.roofline_per_s);
        }
    }
}
