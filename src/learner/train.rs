//! One training run: it makes a child from a parent and the replay window. It computes on the calling thread,
//! which the caller gives a low priority, or on a card for which it waits.
//!
//! Invariant: if the time limit does not bind, the child's bytes follow from parent, window, settings, seed
//! and backend. If it binds, the run is shortened as a whole, so that the learning rate still falls to its
//! end.

use crate::{learner::settings::TrainingConfig, learner::window::ReplayWindow};
use cluster_state::ModelId;
use kernels::{
    Backend, Batch, Checkpoint, CheckpointError, CheckpointHeader, CpuBackend, DeviceError, Loss, NotFinite,
    Optimizer, Train,
};
use rules::playout::Choices;
use std::time::{Duration, Instant};
use wire::Hash;

/// The most positions set aside on which a run is measured.
const VALIDATION_MAX: usize = 4096;
/// The number of steps after which the speed is known well enough to plan with it.
const STEPS_TO_PLAN: u64 = 8;
/// `progress` is called after this many steps, with their mean loss.
const PROGRESS_STEPS: u64 = 16;
/// The share of the time limit that the steps may take. The rest is for validation.
const STEPS_SHARE: f64 = 0.95;

/// What a run needs besides the window.
#[derive(Clone, Copy)]
pub struct TrainingJob<'a> {
    /// The encoded parent.
    pub parent: &'a [u8],
    /// The batch size, the reuse, the learning rate and the time limit.
    pub settings: &'a TrainingConfig,
    /// The number of positions in the window that no run has used. The run makes `new_positions * reuse /
    /// batch` steps.
    pub new_positions: usize,
    /// How much of the data is in the window; the child's header says the same.
    pub data_index: u64,
    /// The seed of the order of positions and of their symmetries.
    pub seed: u64,
}

/// The progress of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunProgress {
    /// The number of complete passes over the window.
    pub epochs_completed: u32,
    /// The number of planned passes, at least one.
    pub total_epochs: u32,
    /// The number of steps done.
    pub steps: u64,
    /// The number of steps planned now. It is smaller than at first if the time limit binds.
    pub total_steps: u64,
    /// The mean training loss of the latest steps.
    pub loss: Loss,
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct TrainingResult {
    /// The encoded child.
    pub bytes: Vec<u8>,
    /// The hash of the encoded child.
    pub hash: ModelId,
    pub header: CheckpointHeader,
    /// The mean training loss of the last tenth of the steps.
    pub final_loss: Loss,
    /// The loss of the averaged weights on games set aside; none if there are no such games.
    pub validation: Option<Loss>,
    /// The number of positions that were used, each counted as often as it was used.
    pub samples: u64,
    /// The number of passes over the window, of which the last may be partial.
    pub epochs: u32,
    pub elapsed: Duration,
    /// Whether the time limit shortened the run.
    pub shortened: bool,
}

/// Why a run made no child.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The parent cannot be used.
    #[error("cannot use the parent")]
    Parent(#[from] CheckpointError),
    /// The window has no positions for training.
    #[error("the window has no positions for training")]
    Empty,
    /// The caller asked to stop.
    #[error("cancelled after {steps} steps")]
    Cancelled {
        /// The number of steps that were done and thrown away.
        steps: u64,
    },
    /// A loss is not finite.
    #[error("training has diverged")]
    Diverged(#[from] NotFinite),
    /// The averaged weights, or the state of the optimizer, are not finite.
    #[error("training has left weights that are not finite")]
    Weights,
    /// The card failed. The CPU never fails.
    #[error("the device has failed")]
    Device(#[from] DeviceError),
}

impl From<kernels::TrainError> for TrainingError {
    fn from(error: kernels::TrainError) -> Self {
        match error {
            kernels::TrainError::NotFinite(error) => Self::Diverged(error),
            kernels::TrainError::Device(error) => Self::Device(error),
        }
    }
}

/// Gives the positions in random order, again and again.
struct Shuffled {
    order: Vec<u32>,
    next: usize,
}

impl Shuffled {
    fn new(len: usize) -> Self {
        Self { order: (0..len as u32).collect(), next: len }
    }

    fn next(&mut self, choices: &mut Choices) -> usize {
        if self.next == self.order.len() {
            for i in (1..self.order.len()).rev() {
                self.order.swap(i, choices.below(i + 1));
            }
            self.next = 0;
        }
        self.next += 1;
        self.order[self.next - 1] as usize
    }
}

/// The losses of all steps so far.
#[derive(Default)]
struct Recent {
    losses: Vec<Loss>,
}

impl Recent {
    fn mean(&self, last: usize) -> Loss {
        let from = self.losses.len().saturating_sub(last.max(1));
        let latest = &self.losses[from..];
        let mean = |part: fn(&Loss) -> f64| latest.iter().map(part).sum::<f64>() / latest.len().max(1) as f64;
        Loss { policy: mean(|loss| loss.policy), value: mean(|loss| loss.value) }
    }
}

/// Trains as [`run`] does. If the backend fails, it calls `failed` and trains from the beginning on the CPU,
/// so the error is never [`TrainingError::Device`].
pub fn run_or_on_the_cpu(
    backend: &impl Backend,
    window: &mut ReplayWindow,
    job: TrainingJob<'_>,
    cancelled: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(RunProgress),
    failed: &mut dyn FnMut(&DeviceError),
) -> Result<TrainingResult, TrainingError> {
    match run(backend, window, job, cancelled, progress) {
        Err(TrainingError::Device(error)) => {
            failed(&error);
            run(&CpuBackend, window, job, cancelled, progress)
        }
        outcome => outcome,
    }
}

/// The steps of a run: how many are done, how many are planned, and how many the time limit still allows.
struct Plan {
    batch_size: usize,
    positions: usize,
    began: Instant,
    /// The time for all steps, in seconds.
    limit: f64,
    steps: u64,
    planned: u64,
    /// As many as planned, or fewer if the time limit binds.
    total: u64,
}

impl Plan {
    fn new(job: &TrainingJob<'_>, positions: usize) -> Self {
        let batch_size = job.settings.batch.max(1);
        let wanted = (job.new_positions as f64 * f64::from(job.settings.reuse) / batch_size as f64).ceil();
        let planned = (wanted as u64).max(1);
        let limit = job.settings.seconds_max as f64 * STEPS_SHARE;
        Self { batch_size, positions, began: Instant::now(), limit, steps: 0, planned, total: planned }
    }

    /// Counts a step, and shortens the run if the time limit binds.
    fn count_step(&mut self) {
        self.steps += 1;
        if self.steps >= STEPS_TO_PLAN.min(self.planned) {
            let affordable = (self.steps as f64 / self.began.elapsed().as_secs_f64() * self.limit) as u64;
            self.total = self.planned.min(affordable.max(self.steps));
        }
    }

    /// The number of positions that were used.
    fn samples(&self) -> u64 {
        self.steps * self.batch_size as u64
    }

    /// The number of passes over the window that `steps` begin.
    fn epochs(&self, steps: u64) -> u32 {
        (steps * self.batch_size as u64).div_ceil(self.positions as u64).max(1) as u32
    }

    fn progress(&self, loss: Loss) -> RunProgress {
        let done = self.samples() / self.positions as u64;
        let total_epochs = self.epochs(self.total);
        RunProgress {
            epochs_completed: if self.steps == self.total { total_epochs } else { done as u32 },
            total_epochs,
            steps: self.steps,
            total_steps: self.total,
            loss,
        }
    }
}

/// Trains. `progress` is called every few steps, and `cancelled` before each step. Nothing of a failed run is
/// kept.
pub fn run(
    backend: &impl Backend,
    window: &mut ReplayWindow,
    job: TrainingJob<'_>,
    cancelled: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(RunProgress),
) -> Result<TrainingResult, TrainingError> {
    let positions = window.training();
    let mut plan = Plan::new(&job, positions);
    let parent = Checkpoint::for_config(job.parent, window.config())?;
    if positions == 0 {
        return Err(TrainingError::Empty);
    }
    let optimizer = Optimizer { learning_rate: job.settings.learning_rate, ..Optimizer::default() };
    let mut trainer = backend.trainer(&parent, window.board(), optimizer, plan.batch_size)?;
    let mut batch = backend.batch(window.board());
    let mut choices = Choices::new(job.seed);
    let mut order = Shuffled::new(positions);
    let mut recent = Recent::default();
    while plan.steps < plan.total {
        if cancelled() {
            return Err(TrainingError::Cancelled { steps: plan.steps });
        }
        batch.clear();
        for _ in 0..plan.batch_size {
            let index = order.next(&mut choices);
            window.push_training(&mut batch, index, &mut choices);
        }
        recent.losses.push(trainer.step(&batch, plan.steps, plan.total)?);
        plan.count_step();
        if plan.steps.is_multiple_of(PROGRESS_STEPS) || plan.steps == plan.total {
            progress(plan.progress(recent.mean(PROGRESS_STEPS as usize)));
        }
    }
    let validation = validate(window, &mut *trainer, &mut batch, plan.batch_size)?;
    let hash = Hash::of(job.parent);
    let child =
        Checkpoint::trained(&*trainer, &parent, hash, job.data_index)?.ok_or(TrainingError::Weights)?;
    let bytes = child.to_bytes();
    Ok(TrainingResult {
        hash: ModelId(Hash::of(&bytes)),
        bytes,
        header: child.header,
        final_loss: recent.mean(plan.steps.div_ceil(10) as usize),
        validation,
        samples: plan.samples(),
        epochs: plan.epochs(plan.steps),
        elapsed: plan.began.elapsed(),
        shortened: plan.total < plan.planned,
    })
}

/// The loss on positions that are spread evenly over all that are set aside.
fn validate(
    window: &mut ReplayWindow,
    trainer: &mut dyn Train,
    batch: &mut Batch,
    batch_size: usize,
) -> Result<Option<Loss>, DeviceError> {
    let all = window.validation();
    let measured = all.min(VALIDATION_MAX);
    let (mut policy, mut policies, mut value) = (0.0, 0, 0.0);
    for start in (0..measured).step_by(batch_size) {
        batch.clear();
        for i in start..measured.min(start + batch_size) {
            window.push_validation(batch, i * all / measured);
        }
        let loss = trainer.evaluate(batch)?;
        policy += loss.policy * batch.policies() as f64;
        policies += batch.policies();
        value += loss.value * batch.len() as f64;
    }
    let mean = || Loss { policy: policy / policies.max(1) as f64, value: value / measured as f64 };
    Ok((measured > 0).then(mean))
}

#[cfg(test)]
mod tests;
