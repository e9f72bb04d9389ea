//! What a launch has to do: arithmetic, bytes, and how long a block cannot help waiting.
//!
//! Counted from the launch's own numbers and from how the kernel in `cuda/` maps work to blocks; one arm for each kernel.

use crate::roofline::recorder::Launch;

/// Cycles until a word comes from the memory, from the second-level cache, from the first or shared memory; until a
/// shuffle comes back. Of Hopper (*Luo et al. 2025, Dissecting the NVIDIA Hopper architecture*), rounded.
const MEMORY: f64 = 550.0;
const CACHE: f64 = 270.0;
const NEAR: f64 = 33.0;
const SHUFFLE: f64 = 25.0;
/// Loads of a plain loop that the compiler lets run ahead at once.
const AHEAD: f64 = 4.0;

/// What a launch has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Work {
    /// Multiplications and additions that the result needs, on tensor cores.
    pub(crate) useful_flops: f64,
    /// Those that are carried out: with rows that pad.
    pub(crate) tensor_flops: f64,
    /// Bytes through shared memory.
    pub(crate) shared_bytes: f64,
    /// Bytes out of the second-level cache.
    pub(crate) cache_bytes: f64,
    /// Bytes that memory has to give or take if every array goes once.
    pub(crate) memory_bytes: f64,
    /// Accesses of a warp to one line of the first-level cache: a multiprocessor does one a cycle.
    pub(crate) lines: f64,
    /// Cycles that a block waits whatever the others do, besides its products.
    pub(crate) chain: f64,
}

/// The moves of the positions at hand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Moves {
    /// Of all positions.
    pub(crate) count: f64,
    /// Of a position, on average.
    pub(crate) each: f64,
}

/// The width that a kernel's name ends in.
fn width(kernel: &str) -> f64 {
    kernel.rsplit('_').next().and_then(|width| width.parse().ok()).unwrap_or(0.0)
}

/// A warp's share of a product: 32 rows by `n` columns, 16 of the inner dimension a step, through `ldmatrix`.
fn tile_bytes(warp_steps: f64, n: f64) -> f64 {
    warp_steps * (2.0 + n / 16.0) * 512.0
}

/// Blocks of the small layers, of 32 by 32 sums over so much of an inner dimension, 32 at a time: both factors are copied to
/// shared memory, where a warp reads nine words for eight sums of each lane.
fn dense(blocks: f64, inner: f64) -> Work {
    let steps = (inner / 32.0).ceil();
    let copied = 2.0 * 32.0 * 32.0 * 4.0;
    Work {
        shared_bytes: blocks * (steps * copied + inner * 4.0 * 9.0 * 128.0),
        cache_bytes: blocks * (steps * copied + 32.0 * 32.0 * 4.0),
        // Seventeen instructions of four warps, of which a multiprocessor issues four a cycle; a line for each copied.
        lines: blocks * (steps * 64.0 + inner * 17.0),
        chain: steps * 2.0 * CACHE + inner * (NEAR / AHEAD + 17.0),
        ..Work::default()
    }
}

/// Which kernel it is decides what its numbers mean; one that is not known has no work.
pub(crate) fn work(launch: &Launch, moves: Moves) -> Work {
    let blocks = f64::from(launch.grid.blocks.0) * f64::from(launch.grid.blocks.1);
    let threads = f64::from(launch.grid.threads);
    let int = |i: usize| launch.ints.get(i).map_or(0.0, |&value| value as f64);
    let there = |i: usize| if launch.arrays.get(i) == Some(&true) { 1.0 } else { 0.0 };
    let kernel = launch.kernel;
    let n = width(kernel);
    match kernel {
        "expand_positions" => {
            let rows = blocks * int(0);
            Work {
                memory_bytes: rows * (8.0 + 1.0 + 96.0) + blocks * (64.0 + 128.0),
                cache_bytes: rows * 105.0,
                // Some sixty instructions for a pair of channels; a multiprocessor issues four a cycle.
                lines: rows * 24.0 / 32.0 * 60.0 / 4.0,
                chain: int(0) * 24.0 / threads * 120.0,
                ..Work::default()
            }
        }
        "conv_32" | "conv_64" | "conv_96" | "conv_128" | "conv_back_32" | "conv_back_64" | "conv_back_96"
        | "conv_back_128" => {
            let (rows, taps, k, reach) = (int(0), int(2), int(3), int(4));
            // Rows of a block with those around them, once; all weights.
            let copied = blocks * 2.0 * k * (threads + 2.0 * reach + taps * n);
            let sources = blocks * threads * taps * 2.0;
            // y, y32, residual, mask: arrays 3, 4, 7, 8.
            let after = rows * n * (2.0 * there(3) + 4.0 * there(4) + 2.0 * there(7) + 2.0 * there(8));
            Work {
                useful_flops: 2.0 * rows * taps * k * n,
                tensor_flops: 2.0 * blocks * threads * taps * k * n,
                shared_bytes: copied
                    + 2.0 * sources
                    + tile_bytes(blocks * threads / 32.0 * taps * k / 16.0, n)
                    + blocks * threads * n * 8.0,
                cache_bytes: copied + sources + after,
                memory_bytes: rows * k * 2.0 + after + 2.0 * taps * k * n,
                chain: 2.0 * MEMORY + taps / AHEAD * CACHE,
                ..Work::default()
            }
        }
        "tower_32" | "tower_64" | "tower_96" | "tower_128" => {
            let (boards, cells, taps, layers) = (int(0), int(1), int(2), int(3));
            let (c, of_block) = (n, threads / 64.0);
            let inner = taps * (48.0 + (layers - 1.0) * c);
            let weights = inner * c * 2.0;
            // Pools: every third block and the end; each thread walks down columns, then along a vector times weights.
            let pools = ((layers - 1.0) / 2.0 / 3.0).floor();
            let columns = (of_block * c / threads).ceil();
            let walk = columns * cells * NEAR / AHEAD;
            let vector = |inputs: f64| columns * inputs * CACHE / AHEAD;
            Work {
                useful_flops: 2.0 * boards * cells * inner * c,
                tensor_flops: 2.0 * blocks * of_block * 64.0 * inner * c,
                shared_bytes: blocks * weights
                    + tile_bytes(blocks * of_block * 2.0 * inner / 16.0, c)
                    + blocks * of_block * 64.0 * c * 4.0 * layers,
                cache_bytes: blocks * (weights + pools * 2.0 * c * c * 4.0)
                    + boards * cells * (96.0 + 2.0 * c),
                memory_bytes: boards * (cells * (96.0 + 2.0 * c) + 128.0 + 8.0 * c) + weights,
                chain: vector(32.0) + (pools + 1.0) * walk + pools * vector(2.0 * c) + 4.0 * MEMORY,
                ..Work::default()
            }
        }
        "pool" | "board_sums" => {
            let (cells, width) = (int(0), int(1));
            let bytes = blocks * cells * width * 2.0;
            Work {
                memory_bytes: bytes + blocks * width * 8.0,
                cache_bytes: bytes,
                lines: blocks * cells * width / 32.0,
                chain: cells / AHEAD * MEMORY,
                ..Work::default()
            }
        }
        "pool_back" => {
            let bytes = int(0) * int(2) * 16.0;
            Work { memory_bytes: bytes, cache_bytes: bytes, chain: 2.0 * MEMORY, ..Work::default() }
        }
        "column_sums" => {
            let (rows, columns) = (int(0), blocks);
            Work {
                memory_bytes: rows * columns * 4.0,
                cache_bytes: rows * columns * 32.0, // a sector for every word
                lines: rows * columns,
                chain: rows / threads / AHEAD * CACHE + 10.0 * SHUFFLE,
                ..Work::default()
            }
        }
        "dense" => {
            let (rows, inputs, outputs) = (int(0), int(1), int(2));
            let memory_bytes = (rows * (inputs + outputs) + inputs * outputs) * 4.0;
            Work { memory_bytes, ..dense(blocks, inputs) }
        }
        "dense_back" => {
            let (rows, inputs, outputs) = (int(0), int(1), int(2));
            // What is added to, and the mask.
            let more = rows * inputs * (int(3) + there(2)) * 4.0;
            let memory_bytes = (rows * (inputs + outputs) + inputs * outputs) * 4.0 + more;
            Work { memory_bytes, ..dense(blocks, outputs) }
        }
        "dense_weights" => {
            let (rows, inputs, outputs, of_split) = (int(0), int(1), int(2), int(3));
            let splits = f64::from(launch.grid.blocks.1);
            let memory_bytes = (rows * (inputs + outputs) + splits * inputs * outputs) * 4.0;
            Work { memory_bytes, ..dense(blocks, of_split.min(rows)) }
        }
        "policy_logits" => Work {
            memory_bytes: moves.count * 20.0 + int(0) * int(1) * 96.0 * 4.0,
            cache_bytes: moves.count * 400.0,
            lines: moves.count * 20.0,
            // A move's description, then what it names, then the sum over the lanes; one move after the other.
            chain: moves.each * (CACHE + CACHE + 5.0 * SHUFFLE + 100.0),
            ..Work::default()
        },
        "policy_losses" => Work {
            memory_bytes: moves.count * 8.0,
            cache_bytes: moves.count * 20.0,
            chain: (moves.each / 32.0).ceil() * 4.0 * CACHE + 2000.0,
            ..Work::default()
        },
        "policy_back" => {
            let (boards, cells, share) = (int(0), int(1), int(3));
            Work {
                memory_bytes: moves.count * 20.0 + boards * cells * 96.0 * (4.0 + 4.0 + 2.0),
                cache_bytes: moves.count * 800.0 + boards * cells * 96.0 * 14.0,
                lines: moves.count * 30.0 + boards * cells * 3.0 * 4.0,
                // As for the logits, and what is read is added to and written back before the next move.
                chain: share * (moves.each * (3.0 * CACHE + 200.0) + cells * 3.0 * (NEAR + CACHE / AHEAD)),
                ..Work::default()
            }
        }
        "weights_back_32" | "weights_back_64" | "weights_back_96" | "weights_back_128" => {
            let (rows, cells, taps, k, of_split, reach) = (int(0), int(1), int(2), int(3), int(4), int(5));
            let splits = f64::from(launch.grid.blocks.1);
            let steps = (of_split / 32.0).ceil();
            // Rows of a split with those around them, once for all taps; dy for each block that shares the inputs.
            let around = steps * 32.0 + 2.0 * reach;
            let dy = blocks * steps * 32.0 * n * 2.0;
            let sources = blocks * cells * taps * 2.0;
            // Every lane of a warp looks up which row it names.
            let lookups = blocks * threads * steps * 2.0 * 2.0;
            let partial = splits * taps * k * n * 4.0;
            Work {
                useful_flops: 2.0 * rows * taps * k * n,
                tensor_flops: 2.0 * blocks * steps * 32.0 * threads * n,
                shared_bytes: dy
                    + blocks * around * threads / taps * 2.0
                    + sources
                    + lookups
                    + tile_bytes(blocks * threads / 32.0 * steps * 2.0, n),
                cache_bytes: dy + splits * around * k * 2.0 + sources + partial,
                memory_bytes: rows * (k + n) * 2.0 + partial,
                chain: 2.0 * MEMORY + cells * taps / threads / AHEAD * CACHE,
                ..Work::default()
            }
        }
        "sum_partials" => {
            let (splits, count) = (int(0), int(1));
            Work {
                memory_bytes: (splits + 1.0) * count * 4.0,
                cache_bytes: splits * count * 4.0,
                chain: splits / AHEAD * CACHE,
                ..Work::default()
            }
        }
        "gradient_norm" => {
            let bytes = int(0) * 4.0;
            Work { memory_bytes: bytes, cache_bytes: bytes, chain: 64.0 / AHEAD * MEMORY, ..Work::default() }
        }
        "gradient_scale" => Work { chain: 4.0 * CACHE + 10.0 * SHUFFLE, ..Work::default() },
        "adamw" => {
            let bytes = int(0) * (4.0 * 9.0 + 1.0 + 2.0);
            Work { memory_bytes: bytes, cache_bytes: bytes, chain: 2.0 * MEMORY, ..Work::default() }
        }
        "pack_head" => Work { chain: 2.0 * CACHE, ..Work::default() },
        _ => Work::default(),
    }
}
