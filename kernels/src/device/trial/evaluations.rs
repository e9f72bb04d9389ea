//! The evaluations of a device against those of the CPU.

use crate::device::Device;
use crate::device::evaluator::DeviceEvaluator;
use crate::device::trial::comparison::{Comparison, Tolerance};
use crate::device::trial::samples;
use crate::error::DeviceError;
use crate::network::architecture::Architecture;
use crate::network::cpu::CpuEvaluator;
use crate::network::evaluator::{Evaluation, Evaluator, Query};
use rules::{Board, Config, Topology, with_board};
use std::sync::Arc;

/// How close logits are: each layer rounds the trunk to eight bits once more, and the CPU does not.
const LOGITS: Tolerance = Tolerance { absolute: 0.03, relative: 0.03 };
/// How close probabilities of winning are.
const VALUES: Tolerance = Tolerance { absolute: 0.005, relative: 0.005 };
/// The network that is checked, of so many blocks and channels.
pub(crate) fn network_of(board: Board, (blocks, channels): (u32, u32)) -> Architecture {
    Architecture { blocks, channels, ..Architecture::small(board) }
}

/// The evaluations of positions, one after the other.
pub(crate) struct EvaluatedPositions {
    pub(crate) logits: Vec<f32>,
    pub(crate) values: Vec<f32>,
}

impl EvaluatedPositions {
    pub(crate) fn of<'a>(evaluations: impl Iterator<Item = &'a Evaluation>) -> Self {
        let mut all = Self { logits: Vec::new(), values: Vec::new() };
        for one in evaluations {
            all.logits.extend(&one.logits);
            all.values.extend(one.value);
        }
        all
    }

    /// Compares them with what they should be; `of` says which positions.
    pub(crate) fn compare(&self, wanted: &Self, of: &str) -> [Comparison; 2] {
        [
            Comparison::numbers(format!("logits of {of}"), &self.logits, &wanted.logits, LOGITS),
            Comparison::numbers(format!("values of {of}"), &self.values, &wanted.values, VALUES),
        ]
    }
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
        let wanted = EvaluatedPositions::of(wanted[..count].iter());
        let of = format!("{count} positions, {architecture} on {}", T::BOARD);
        found.extend(EvaluatedPositions::of(got.iter()).compare(&wanted, &of));
    }
    Ok(found)
}
