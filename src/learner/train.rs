//! One training run: a parent and the replay window in, a child out. On the calling thread, which the caller gives a
//! low priority, or on a card that it waits for.
//!
//! Invariant: without a time limit that binds, the child's bytes follow from parent, window, settings, seed and backend.
//! With one, the run is shortened as a whole, so that the learning rate still comes down at its end.

use crate::{config::TrainingConfig, learner::window::ReplayWindow};
use kernels::{
    Backend, Batch, Checkpoint, CheckpointError, CheckpointHeader, CpuBackend, DeviceError, Loss, NotFinite,
    Optimizer, Train,
};
use rules::playout::Choices;
use std::time::{Duration, Instant};
use wire::Hash;

/// Positions set aside that a run is measured on, at most.
const VALIDATION_MAX: usize = 4096;
/// Steps after which the speed is known well enough to plan with.
const STEPS_TO_PLAN: u64 = 8;
/// Share of the time limit that the steps may take; the rest is for validation.
const STEPS_SHARE: f64 = 0.95;

/// What a run is given.
#[derive(Clone, Copy)]
pub struct TrainingJob<'a> {
    /// The parent's bytes.
    pub parent: &'a [u8],
    /// Batch, reuse, rate and time limit.
    pub settings: &'a TrainingConfig,
    /// Positions in the window that no run has used: the run makes `new_positions * reuse / batch` steps.
    pub new_positions: usize,
    /// How much of the data is in the window, as the child's header will say.
    pub data_index: u64,
    /// Decides order and symmetries.
    pub seed: u64,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunProgress {
    /// Passes over the window.
    pub epochs_completed: u32,
    /// Passes planned, at least one.
    pub total_epochs: u32,
    /// Steps done.
    pub steps: u64,
    /// Steps planned now; fewer than at first where the time limit binds.
    pub total_steps: u64,
    /// Training loss of the latest steps.
    pub loss: Loss,
}

/// What a run has made.
#[derive(Clone, Debug)]
pub struct TrainingResult {
    /// The child, encoded.
    pub bytes: Vec<u8>,
    /// The content hash of the bytes.
    pub hash: Hash,
    /// The child's header.
    pub header: CheckpointHeader,
    /// Training loss of the last tenth of the steps.
    pub final_loss: Loss,
    /// Loss of the averaged weights on games set aside; none if there are none.
    pub validation: Option<Loss>,
    /// Positions trained on, each as often as it was used.
    pub samples: u64,
    /// Passes over the window, the last one perhaps partial.
    pub epochs: u32,
    /// Wall-clock time.
    pub elapsed: Duration,
    /// Whether the time limit has shortened the run.
    pub shortened: bool,
}

/// Why a run made nothing.
#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    /// The parent cannot be used.
    #[error("cannot use the parent")]
    Parent(#[from] CheckpointError),
    /// Nothing to learn from.
    #[error("the window has no positions for training")]
    Empty,
    /// The caller asked to stop.
    #[error("cancelled after {steps} steps")]
    Cancelled {
        /// Steps done and thrown away.
        steps: u64,
    },
    /// Training has diverged.
    #[error("training has diverged")]
    Diverged(#[from] NotFinite),
    /// The averaged weights, or what training would go on from, are not finite.
    #[error("training has left weights that are not finite")]
    Weights,
    /// The card failed. The CPU does not.
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

/// Walks through the positions in random order, again and again.
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

/// Means over the latest steps.
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

/// Trains as [`run`] does, and should the backend fail, from the beginning again on the CPU; `failed` hears why first.
///
/// # Errors
/// [`TrainingError`], but that of a device.
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

/// Trains. `progress` is told about every few steps; `cancelled` is asked before each.
///
/// # Errors
/// [`TrainingError`]; nothing of a failed run is kept.
pub fn run(
    backend: &impl Backend,
    window: &mut ReplayWindow,
    job: TrainingJob<'_>,
    cancelled: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(RunProgress),
) -> Result<TrainingResult, TrainingError> {
    let began = Instant::now();
    let parent = Checkpoint::for_config(job.parent, window.config())?;
    let positions = window.training();
    if positions == 0 {
        return Err(TrainingError::Empty);
    }
    let batch_size = job.settings.batch.max(1);
    let wanted = (job.new_positions as f64 * f64::from(job.settings.reuse) / batch_size as f64).ceil();
    let planned = (wanted as u64).max(1);
    let epochs_of = |steps: u64| (steps * batch_size as u64).div_ceil(positions as u64).max(1) as u32;
    let optimizer = Optimizer { learning_rate: job.settings.learning_rate, ..Optimizer::default() };
    let mut trainer = backend.trainer(&parent, window.board(), optimizer, batch_size)?;
    let mut choices = Choices::new(job.seed);
    let mut order = Shuffled::new(positions);
    let mut batch = backend.batch(window.board());
    let mut recent = Recent::default();
    let limit = job.settings.seconds_max as f64 * STEPS_SHARE;
    let (mut steps, mut total) = (0u64, planned);
    while steps < total {
        if cancelled() {
            return Err(TrainingError::Cancelled { steps });
        }
        batch.clear();
        for _ in 0..batch_size {
            let index = order.next(&mut choices);
            window.push_training(&mut batch, index, &mut choices);
        }
        recent.losses.push(trainer.step(&batch, steps, total)?);
        steps += 1;
        if steps >= STEPS_TO_PLAN.min(planned) {
            let affordable = (steps as f64 / began.elapsed().as_secs_f64() * limit) as u64;
            total = planned.min(affordable.max(steps));
        }
        if steps % 16 == 0 || steps == total {
            let done = steps * batch_size as u64 / positions as u64;
            progress(RunProgress {
                epochs_completed: if steps == total { epochs_of(total) } else { done as u32 },
                total_epochs: epochs_of(total),
                steps,
                total_steps: total,
                loss: recent.mean(16),
            });
        }
    }
    let validation = validate(window, &mut *trainer, &mut batch, batch_size)?;
    let hash = Hash::of(job.parent);
    let child =
        Checkpoint::trained(&*trainer, &parent, hash, job.data_index)?.ok_or(TrainingError::Weights)?;
    let bytes = child.to_bytes();
    Ok(TrainingResult {
        hash: Hash::of(&bytes),
        bytes,
        header: child.header,
        final_loss: recent.mean(steps.div_ceil(10) as usize),
        validation,
        samples: steps * batch_size as u64,
        epochs: epochs_of(steps),
        elapsed: began.elapsed(),
        shortened: total < planned,
    })
}

/// The loss on positions spread evenly over all that are set aside.
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
