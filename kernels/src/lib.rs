//! The compute core: encoding, network, optimiser, checkpoints.
//!
//! Knows the rules and nothing else. Search asks for an [`Evaluator`]; the networks here are evaluators.

// The node's search, which tests compile here, names this crate.
#[cfg(test)]
extern crate self as kernels;

mod action;
mod architecture;
mod backward;
mod batch;
mod checkpoint;
mod conv;
mod cpu;
mod device;
mod encode;
mod evaluator;
#[cfg(test)]
mod gradients;
mod heads;
mod network;
mod optimizer;
mod real;
pub mod roofline;
mod taps;
mod tower;
mod trainer;

pub use architecture::{Architecture, Grid};
pub use batch::{Batch, Target};
pub use checkpoint::{
    CHECKPOINT_BYTES_MAX, CHECKPOINT_FORMAT, Checkpoint, CheckpointError, CheckpointHeader,
};
pub use cpu::CpuEvaluator;
pub use device::{
    AnyBackend, Backend, CpuBackend, CudaBackend, DeviceError, Failures, PlayWaves, WaveDecision, WaveGame,
    WaveReport, WaveSettings,
};
pub use encode::{CHANNELS, ENCODER_VERSION, GLOBALS, encode, relative};
pub use evaluator::{AnyEvaluator, Evaluation, Evaluator, Query};
pub use network::Network;
pub use optimizer::Optimizer;
pub use trainer::{Loss, NotFinite, Progress, Train, TrainError, Trainer};

/// The kernels as they are shipped and compiled; for `scripts/build-kernels`.
pub mod cuda {
    pub use crate::device::{
        COMPILER, CompileError, Compiled, Image, Manifest, OPTIONS, TARGETS, Usage, compile,
        is_compiler_present, source, source_hash,
    };
}

/// What proves a card; for `ringrift gpu-check`.
pub mod proof {
    use rules::Board;

    /// Which cells a convolution reads on a board: taps of a cell, and `[cells, taps]`, [`rules::NONE_CELL`] off the board.
    #[must_use]
    pub fn neighbours(board: Board) -> (usize, &'static [u16]) {
        let taps = crate::taps::Taps::of(board);
        (taps.taps, &taps.sources)
    }

    pub use crate::device::proof::{
        Card, CardEvaluator, Comparison, Effort, Evaluated, Speed, Tolerance, Vector, Waves, WavesSpeed,
        mean_moves,
    };
}
