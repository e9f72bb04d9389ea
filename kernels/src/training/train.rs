//! What training is on any backend: one step at a time, and what is left of it.

use crate::encoding::batch::Batch;
use crate::error::DeviceError;
use crate::network::weights::Network;
use crate::training::losses::LossSums;
use crate::training::optimizer::Moments;

/// Mean losses over positions, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Cross-entropy of the policy, over the positions that have a policy target.
    pub policy: f64,
    /// Cross-entropy of the value to the seat that won.
    pub value: f64,
}

impl Loss {
    /// What training minimises.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.policy + self.value
    }

    pub(crate) fn of(sums: LossSums) -> Self {
        let mean = |sum: f64, count: usize| sum / count.max(1) as f64;
        Self { policy: mean(sums.policy, sums.policies), value: mean(sums.value, sums.values) }
    }
}

/// The gradient was not finite; the weights are as before the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gradient of step {step} is not finite")]
pub struct NotFinite {
    /// The number of the step, counted from the seeded network.
    pub step: u64,
}

/// Why a step was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// The gradient was not finite, and nothing has changed.
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
    /// The device failed; what it holds is lost.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// Weights in training, on any backend.
pub trait Train: Send {
    /// One step on a batch of the same backend's, the `of_run`-th of `run` of this
    /// training run. Returns the loss before it.
    ///
    /// # Errors
    /// [`TrainError`] if the step was not made.
    ///
    /// # Panics
    /// If the batch is of another board or another backend, has too many positions, or some without targets.
    fn step(&mut self, batch: &Batch, of_run: u64, run: u64) -> Result<Loss, TrainError>;

    /// The loss of the averaged weights, which are what is played, on a batch; without learning from it.
    ///
    /// # Errors
    /// [`DeviceError`] if the device failed.
    ///
    /// # Panics
    /// As [`Self::step`] does.
    fn evaluate(&mut self, batch: &Batch) -> Result<Loss, DeviceError>;

    /// How many steps have been made since the seeded network.
    fn step_count(&self) -> u64;

    /// The averaged weights as a network, if they are finite.
    ///
    /// # Errors
    /// [`DeviceError`] if a device does not give them back.
    fn network(&self) -> Result<Option<Network>, DeviceError>;

    /// What a later run goes on from, besides the averaged weights.
    ///
    /// # Errors
    /// [`DeviceError`] if a device does not give it back.
    fn progress(&self) -> Result<Progress, DeviceError>;
}

/// What training goes on from, for a checkpoint to keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The weights that steps change.
    pub(crate) raw: Vec<f32>,
    /// The optimiser's moments.
    pub(crate) moments: Moments,
}
