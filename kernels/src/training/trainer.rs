//! Training: one step at a time, on the calling thread.

use crate::encoding::batch::Batch;
use crate::error::DeviceError;
use crate::network::architecture::Architecture;
use crate::network::forward::Workspace;
use crate::network::weights::Network;
use crate::training::checkpoint::Checkpoint;
use crate::training::gradient::Gradient;
use crate::training::losses::LossSums;
use crate::training::optimizer::{Moments, Optimizer, average};
use crate::training::train::{Loss, NotFinite, Progress, Train, TrainError};
use rules::Board;

/// Weights in training, on the CPU.
pub struct Trainer {
    architecture: Architecture,
    optimizer: Optimizer,
    weights: Vec<f32>,
    average: Vec<f32>,
    moments: Moments,
    space: Workspace<f32>,
    gradient: Gradient<f32>,
    step: u64,
}

impl Trainer {
    /// Goes on from the raw weights of a checkpoint, on a board.
    ///
    /// # Panics
    /// If the network does not play on the board.
    #[must_use]
    pub fn new(parent: &Checkpoint, board: Board, optimizer: Optimizer) -> Self {
        let architecture = parent.header.architecture;
        let space = Workspace::new(architecture, board);
        let gradient = Gradient::new(&space);
        let moments = parent.moments.clone().unwrap_or_else(|| Moments::new(parent.raw.len()));
        Self {
            architecture,
            optimizer,
            weights: parent.raw.clone(),
            average: parent.network.weights().to_vec(),
            moments,
            space,
            gradient,
            step: parent.header.step,
        }
    }

    /// Steps since the seeded network.
    #[must_use]
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// One step on a batch of samples, the `of_run`-th of `run` of this
    /// training run. Returns the loss before it.
    ///
    /// # Errors
    /// [`NotFinite`], and nothing has changed.
    ///
    /// # Panics
    /// If the batch is of another board or has positions without targets.
    pub fn step(&mut self, batch: &Batch, of_run: u64, run: u64) -> Result<Loss, NotFinite> {
        self.check(batch);
        let sums = self.gradient.of_batch(&mut self.space, &self.weights, batch);
        let rate = self.optimizer.rate(self.step, of_run, run);
        let (layout, gradient) = (self.space.layout(), &self.gradient.weights);
        if !self.moments.step(&self.optimizer, rate, layout, &mut self.weights, gradient) {
            return Err(NotFinite { step: self.step });
        }
        average(&mut self.average, &self.weights, self.optimizer.average, self.step);
        self.step = self.step.saturating_add(1);
        Ok(Loss::of(sums))
    }

    /// The loss of the averaged weights, which are what is played, on samples; without learning from them.
    ///
    /// # Panics
    /// If the batches are of another board or have positions without targets.
    pub fn evaluate<'a>(&mut self, batches: impl IntoIterator<Item = &'a Batch>) -> Loss {
        let mut sums = LossSums::default();
        for batch in batches {
            self.check(batch);
            for chunk in self.space.chunks(batch.len()) {
                self.space.forward(&self.average, batch, chunk.clone());
                sums = sums + self.space.losses(&self.average, batch, &chunk, None);
            }
        }
        Loss::of(sums)
    }

    fn check(&self, batch: &Batch) {
        assert!(self.space.is_for(self.architecture, batch.board), "a batch of {}", batch.board);
        assert!(batch.packed.is_none(), "a batch for a device");
        assert_eq!(batch.winners.len(), batch.len(), "samples have targets");
    }

    /// The averaged weights as a network, if they are finite.
    #[must_use]
    pub fn network(&self) -> Option<Network> {
        Network::from_weights(self.architecture, self.average.clone())
    }

    /// The raw weights and the state of the optimiser.
    #[cfg(test)]
    pub(crate) fn parts(&self) -> (&[f32], &Moments) {
        (&self.weights, &self.moments)
    }
}

impl Train for Trainer {
    fn step(&mut self, batch: &Batch, of_run: u64, run: u64) -> Result<Loss, TrainError> {
        Ok(Self::step(self, batch, of_run, run)?)
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<Loss, DeviceError> {
        Ok(Self::evaluate(self, [batch]))
    }

    fn step_count(&self) -> u64 {
        Self::step_count(self)
    }

    fn network(&self) -> Result<Option<Network>, DeviceError> {
        Ok(Self::network(self))
    }

    fn progress(&self) -> Result<Progress, DeviceError> {
        Ok(Progress { raw: self.weights.clone(), moments: self.moments.clone() })
    }
}
