//! What a launch has to do, in the units that a card's peaks are given in.
//!
//! Every launch states its cost beside its arguments, computed from the same numbers. A card never
//! asks for it; a device that carries nothing out does, for predictions. The formulas follow how
//! the kernel in `cuda/` maps work to blocks.

use super::kernel::LaunchGrid;

/// Cycles until a word arrives from the memory of the card.
pub(crate) const MEMORY: f64 = 550.0;
/// Cycles until a word arrives from the second-level cache. This and the others are of Hopper, rounded (*Luo
/// et al. 2025, Dissecting the NVIDIA Hopper architecture*).
pub(crate) const CACHE: f64 = 270.0;
/// Cycles until a word arrives from the first-level cache or shared memory.
pub(crate) const NEAR: f64 = 33.0;
/// Cycles until a shuffle of a warp is done.
pub(crate) const SHUFFLE: f64 = 25.0;
/// Loads of a plain loop that the compiler lets run ahead at once.
pub(crate) const AHEAD: f64 = 4.0;

/// What a launch has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Workload {
    /// Multiplications and additions on tensor cores that the result needs.
    pub useful_flops: f64,
    /// Multiplications and additions on tensor cores that are carried out, those of padding rows included.
    pub tensor_flops: f64,
    /// Bytes through shared memory.
    pub shared_bytes: f64,
    /// Bytes out of the second-level cache.
    pub cache_bytes: f64,
    /// Bytes to and from the memory of the card if every array goes once.
    pub memory_bytes: f64,
    /// Accesses of a warp to one line of the first-level cache; a multiprocessor does one of them in a cycle.
    pub lines: f64,
    /// Cycles that a block waits whatever the other blocks do, besides its products on tensor cores.
    pub chain: f64,
}

/// What a launch says of its cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cost {
    /// The launch is predicted from its workload.
    Counted(Workload),
    /// The launch is not predicted by itself, for this reason.
    Uncounted(&'static str),
}

impl LaunchGrid {
    /// How many blocks there are.
    pub(crate) fn block_count(self) -> f64 {
        f64::from(self.blocks.0) * f64::from(self.blocks.1)
    }

    /// How many threads a block has.
    pub(crate) fn block_threads(self) -> f64 {
        f64::from(self.threads)
    }
}

/// 1 for an array that is there, and 0 for one that is absent.
pub(crate) fn present<A>(array: Option<A>) -> f64 {
    f64::from(u8::from(array.is_some()))
}

/// Bytes that a warp reads from shared memory for its share of a product, through `ldmatrix`: 32 rows by `n`
/// columns, 16 of the inner dimension a step.
pub(crate) fn tile_bytes(warp_steps: f64, n: f64) -> f64 {
    warp_steps * (2.0 + n / 16.0) * 512.0
}
