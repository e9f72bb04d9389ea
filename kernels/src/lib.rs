//! The compute core: encoding, network, optimiser, checkpoints.
//!
//! Knows the rules and nothing else. Search asks for an [`Evaluator`]; the networks here are evaluators.

// The node's search, which tests compile here, names this crate.
#[cfg(test)]
extern crate self as kernels;

mod device;
pub mod dry_run;
mod encoding;
mod error;
mod network;
pub mod proof;
mod training;

pub use device::any::AnyBackend;
pub use device::backend::{Backend, CpuBackend, CudaBackend};
pub use device::failures::Failures;
pub use device::games::wave_games::{PlayWaves, WaveDecision, WaveGame, WaveReport, WaveSettings};
pub use encoding::batch::Batch;
pub use encoding::planes::{CHANNELS, ENCODER_VERSION, GLOBALS, encode, relative};
pub use encoding::target::Target;
pub use error::DeviceError;
pub use network::architecture::{Architecture, Tiling};
pub use network::cpu::CpuEvaluator;
pub use network::evaluator::{AnyEvaluator, Evaluation, Evaluator, Query};
pub use network::weights::Network;
pub use training::checkpoint::{
    CHECKPOINT_BYTES_MAX, CHECKPOINT_FORMAT, Checkpoint, CheckpointError, CheckpointHeader,
};
pub use training::optimizer::Optimizer;
pub use training::train::{Loss, NotFinite, Progress, Train, TrainError};
pub use training::trainer::Trainer;

/// The kernels as they are shipped and compiled; for `scripts/build-kernels`.
pub mod cuda {
    pub use crate::device::card::compile::{CompileError, Compiled, compile, is_compiler_present};
    pub use crate::device::card::image::{
        COMPILER, Image, ImageManifest, OPTIONS, TARGETS, Usage, candidates, capability_of, manifest, source,
        source_hash,
    };
    pub use crate::device::ops::all as kernels;
}
