//! Evaluation on a device.

use crate::device::Device;
use crate::device::failures::FailureCount;
use crate::device::forward::{DeviceSpace, DeviceWeights};
use crate::encoding::packed::Positions;
use crate::error::DeviceError;
use crate::network::cpu::{CpuEvaluator, absolute, tame};
use crate::network::evaluator::{Evaluation, Evaluator, Query};
use crate::network::heads::softmax;
use crate::network::weights::Network;
use rules::{Board, SEATS_MAX, Topology};
use std::sync::Arc;

/// Most positions of a pass unless told otherwise; more are evaluated in several.
const POSITIONS_MAX: usize = 4096;

/// Evaluates with a network on a device. If the device fails, that is
/// logged and counted, and the CPU goes on.
pub(crate) struct DeviceEvaluator<D: Device> {
    device: D,
    network: Arc<Network>,
    weights: DeviceWeights<D>,
    /// The memory for the last board and number of positions.
    space: Option<DeviceSpace<D>>,
    positions: Positions,
    /// The most positions of a pass.
    positions_max: usize,
    /// Where a failure is counted.
    failures: FailureCount,
    /// The CPU, once the device has failed.
    fallback: Option<CpuEvaluator>,
}

impl<D: Device> DeviceEvaluator<D> {
    /// # Errors
    /// [`DeviceError::Architecture`] if there are no kernels for the network,
    /// [`DeviceError::Memory`] if it does not fit.
    pub(crate) fn new(device: D, network: Arc<Network>) -> Result<Self, DeviceError> {
        let weights = DeviceWeights::new(&device, network.architecture(), network.weights())?;
        let positions = Positions::new(Board::Hex8);
        let failures = FailureCount::default();
        Ok(Self {
            device,
            network,
            weights,
            space: None,
            positions,
            positions_max: POSITIONS_MAX,
            failures,
            fallback: None,
        })
    }

    /// The evaluator, which counts its failures in `failures`.
    pub(crate) fn counting(self, failures: FailureCount) -> Self {
        Self { failures, ..self }
    }

    /// The evaluator, which evaluates up to `positions_max` positions in one pass; at least one.
    pub(crate) fn in_passes_of(self, positions_max: usize) -> Self {
        Self { positions_max, ..self }
    }

    /// Evaluates, or says why the device could not.
    pub(crate) fn try_evaluate<T: Topology>(
        &mut self,
        queries: &[Query<'_, T>],
    ) -> Result<Vec<Evaluation>, DeviceError> {
        let mut evaluations = Vec::with_capacity(queries.len());
        for queries in queries.chunks(self.positions_max) {
            self.pass(queries, &mut evaluations)?;
        }
        Ok(evaluations)
    }

    fn pass<T: Topology>(
        &mut self,
        queries: &[Query<'_, T>],
        evaluations: &mut Vec<Evaluation>,
    ) -> Result<(), DeviceError> {
        let Self { device, weights, positions, .. } = self;
        if positions.board == T::BOARD {
            positions.clear();
        } else {
            *positions = Positions::new(T::BOARD);
        }
        for query in queries {
            positions.push(query.state, query.legal);
        }
        let fits = |space: &DeviceSpace<D>| space.board == T::BOARD && space.positions_max >= queries.len();
        let space = match self.space.take().filter(fits) {
            Some(space) => self.space.insert(space),
            None => {
                let room = queries.len().next_power_of_two();
                self.space.insert(DeviceSpace::new(device, weights.architecture, T::BOARD, room, false)?)
            }
        };
        space.load(device, positions)?;
        space.forward(device, weights, positions, true)?;
        let logits = space.logits.read(device, positions.moves())?;
        let values = space.value.read(device, positions.len() * SEATS_MAX)?;
        let mut start = 0;
        for (i, value) in values.chunks_exact(SEATS_MAX).enumerate() {
            let (seats, end) = (positions.seats[i], positions.ends[i] as usize);
            let mut relative = [0.0; SEATS_MAX];
            relative.copy_from_slice(value);
            softmax(&mut relative[..usize::from(seats)]);
            let value = absolute(relative, positions.movers[i], seats);
            let mut evaluation = Evaluation { logits: logits[start..end].to_vec(), value };
            tame(&mut evaluation, seats);
            evaluations.push(evaluation);
            start = end;
        }
        Ok(())
    }
}

impl<T: Topology, D: Device + Send> Evaluator<T> for DeviceEvaluator<D>
where
    D::Memory: Send,
{
    /// # Panics
    /// If the network does not play on the board: see [`crate::network::architecture::Architecture::fits`].
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        assert!(self.network.architecture().fits(T::BOARD), "a network for {}", T::BOARD);
        if self.fallback.is_none() {
            match self.try_evaluate(queries) {
                Ok(evaluations) => return evaluations,
                Err(error) => {
                    tracing::error!(%error, "the device failed, evaluation goes on on the CPU");
                    self.failures.add(&error);
                }
            }
        }
        let network = &self.network;
        self.fallback.get_or_insert_with(|| CpuEvaluator::new(Arc::clone(network))).evaluate(queries)
    }
}
