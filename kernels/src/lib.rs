//! The compute core: positions become numbers, a network judges them, and training changes the network; on
//! the CPU or on a CUDA card. The crate knows the rules of the game and nothing of peers, events or clusters.
//!
//! ```text
//!  search asks                                                 training asks
//!  an Evaluator                                                a Train
//!       │                                                          │
//!       │       ┌──────────────── AnyBackend ───────────────┐      │
//!       ▼       ▼                                           ▼      ▼
//!   ┌─────────────────────┐                  ┌──────────────────────────┐
//!   │ the CPU             │                  │ device: a card           │
//!   │ network: forward    │   the same       │ forward, train, games    │   one code for every Device
//!   │ training: backward, │◄─ mathematics ──►│ ops: one checked launch  │   nothing else calls kernels
//!   │ the optimiser       │                  │      for each kernel     │
//!   └──────────┬──────────┘                  │ card: driver and images  │   or the emulation, in tests
//!              │                             └────────────┬─────────────┘
//!              └──────────────► encoding ◄────────────────┘
//!                               planes, legal moves, batches
//! ```
//!
//! Where to begin: `encoding/planes.rs` for what the network sees, `network/architecture.rs` for what it is,
//! `network/forward.rs` and `training/backward.rs` for the definition of every operation in plain loops. Then
//! `device/mod.rs` for what a device is, `device/ops/mod.rs` for how a kernel is declared, and `cuda/all.cu`
//! for the kernels. [`proof`] holds a device against the CPU, [`dry_run`] records what would be launched;
//! both stand above everything else, and nothing here needs them. Folders import downward only: `proof` and
//! `dry_run`, `device`, `training`, `network`, `encoding`.
//!
//! The instruments that need no launches of their own are in the crate `gauge`. Comparisons with a device
//! stay here: they call kernels directly, and the emulation, which proves them, exists in the tests of this
//! crate alone. Elsewhere they would need launches that anybody could call with the wrong arguments.

// The tests compile the search of the node as well, which names this crate `kernels`.
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

/// The kernels as they are shipped, and their compiler.
pub mod cuda {
    pub use crate::device::card::compile::{CompileError, Compiled, compile, is_compiler_present};
    pub use crate::device::card::image::{
        COMPILER, Image, ImageManifest, OPTIONS, TARGETS, Usage, candidates, capability_of, manifest, source,
        source_hash,
    };
    pub use crate::device::ops::all as kernels;
}
