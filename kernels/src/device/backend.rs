//! Where networks are evaluated and trained: the CPU, a card; in tests, emulation.

use crate::device::card::Cuda;
use crate::device::card::loaded::{self, Loaded};
use crate::device::evaluator::DeviceEvaluator;
use crate::device::failures::FailureCount;
use crate::device::games::wave::Wave;
use crate::device::games::wave_games::{PlayWaves, WaveSettings};
use crate::device::train::DeviceTrainer;
use crate::device::trial::trial;
use crate::encoding::batch::Batch;
use crate::error::DeviceError;
use crate::network::cpu::CpuEvaluator;
use crate::network::evaluator::AnyEvaluator;
use crate::network::weights::Network;
use crate::training::checkpoint::Checkpoint;
use crate::training::optimizer::Optimizer;
use crate::training::train::Train;
use crate::training::trainer::Trainer;
use rules::{Board, Config, with_board};
use std::sync::Arc;

/// Makes evaluators and trainers. The CPU defines what is right; the others agree with it up to the rounding
/// of bf16.
pub trait Backend {
    /// The processor in words, for a person.
    fn describe(&self) -> String;

    /// An evaluator of a network, for positions of any board that it plays on.
    ///
    /// # Errors
    /// [`DeviceError`] if the network cannot be evaluated here; the CPU evaluates all.
    fn evaluator(&self, network: Arc<Network>) -> Result<Box<dyn AnyEvaluator>, DeviceError>;

    /// An empty batch for [`Self::trainer`].
    fn batch(&self, board: Board) -> Batch;

    /// Goes on training from the raw weights of a checkpoint, on a board,
    /// with batches of up to so many positions.
    ///
    /// # Errors
    /// [`DeviceError`] if the network cannot be trained here; the CPU trains all.
    ///
    /// # Panics
    /// If the network does not play on the board.
    fn trainer(
        &self,
        parent: &Checkpoint,
        board: Board,
        optimizer: Optimizer,
        positions_max: usize,
    ) -> Result<Box<dyn Train>, DeviceError>;
}

/// The CPU, on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuBackend;

impl Backend for CpuBackend {
    fn describe(&self) -> String {
        "CPU".to_owned()
    }

    fn evaluator(&self, network: Arc<Network>) -> Result<Box<dyn AnyEvaluator>, DeviceError> {
        Ok(Box::new(CpuEvaluator::new(network)))
    }

    fn batch(&self, board: Board) -> Batch {
        Batch::new(board)
    }

    fn trainer(
        &self,
        parent: &Checkpoint,
        board: Board,
        optimizer: Optimizer,
        _positions_max: usize,
    ) -> Result<Box<dyn Train>, DeviceError> {
        Ok(Box::new(Trainer::new(parent, board, optimizer)))
    }
}

/// A CUDA card; clones and what they make share the loaded kernels.
#[derive(Clone, Debug)]
pub struct CudaBackend {
    loaded: Arc<Loaded>,
    description: Arc<str>,
    driver: Arc<str>,
    failures: FailureCount,
}

impl CudaBackend {
    /// How many cards there are.
    ///
    /// # Errors
    /// [`DeviceError::Absent`] or [`DeviceError::Unsupported`] if there is no
    /// driver that our kernels can be loaded with.
    pub fn count() -> Result<usize, DeviceError> {
        loaded::count()
    }

    /// The card of a number, with its kernels loaded. They stay loaded until nothing uses them any more.
    ///
    /// # Errors
    /// [`DeviceError`] says why it cannot be used.
    pub fn open(ordinal: usize) -> Result<Self, DeviceError> {
        let loaded = Arc::new(Loaded::open(ordinal)?);
        let description = format!("cuda:{ordinal} {}", loaded.describe()).into();
        Ok(Self { loaded, description, driver: loaded::driver()?.into(), failures: FailureCount::default() })
    }

    /// Has the card evaluate some positions and compares the answers with those of the CPU.
    ///
    /// # Errors
    /// [`DeviceError`] says why it is not to be trusted.
    pub fn try_out(&self) -> Result<(), DeviceError> {
        loaded::guarded(|| trial(Cuda::new(&self.loaded)?))
    }

    /// The version of CUDA that its driver is for, as in `CUDA 13.0`.
    #[must_use]
    pub fn driver(&self) -> &str {
        &self.driver
    }

    pub(crate) fn failures(&self) -> &FailureCount {
        &self.failures
    }
}

impl CudaBackend {
    /// Plays games of a network against itself on the card, search included. They take no more than half of
    /// the memory that is free: training and the games of the next network want some as well.
    ///
    /// # Errors
    /// [`DeviceError::Architecture`] if there are no kernels for the network,
    /// [`DeviceError::Memory`] if so many games do not fit.
    ///
    /// # Panics
    /// If the network does not play on the board, or a setting is outside of its limits.
    pub fn waves(
        &self,
        config: Config,
        network: &Network,
        settings: WaveSettings,
    ) -> Result<Box<dyn PlayWaves>, DeviceError> {
        let card = Cuda::new(&self.loaded)?;
        let bytes = with_board!(config.board, T => Wave::<Cuda, T>::bytes(&settings));
        if bytes > card.free_bytes()? / 2 {
            return Err(DeviceError::Memory { bytes });
        }
        Ok(with_board!(config.board, T => Box::new(Wave::<_, T>::new(card, config, network, settings)?)))
    }
}

impl Backend for CudaBackend {
    fn describe(&self) -> String {
        self.description.to_string()
    }

    fn evaluator(&self, network: Arc<Network>) -> Result<Box<dyn AnyEvaluator>, DeviceError> {
        let evaluator = DeviceEvaluator::new(Cuda::new(&self.loaded)?, network)?;
        Ok(Box::new(evaluator.counting(self.failures.clone())))
    }

    fn batch(&self, board: Board) -> Batch {
        Batch::packed(board)
    }

    fn trainer(
        &self,
        parent: &Checkpoint,
        board: Board,
        optimizer: Optimizer,
        positions_max: usize,
    ) -> Result<Box<dyn Train>, DeviceError> {
        let device = Cuda::new(&self.loaded)?;
        Ok(Box::new(DeviceTrainer::new(device, parent, board, optimizer, positions_max)?))
    }
}
