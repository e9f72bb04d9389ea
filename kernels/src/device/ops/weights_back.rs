//! The derivative of a convolution by its weights, and the sum of what blocks leave; see `cuda/train.cu`.
//!
//! How rows are divided into splits changes how a result is rounded, so splits depend on
//! shapes alone and are the same on every card.

use super::call::{ArrayPart, Call};
use super::conv::{DEPTH, STAGES};
use super::{ConvShape, Ops, SHARED_BYTES_MAX};
use crate::device::Device;
use crate::device::array::{Array, Bf16};
use crate::device::cost::{AHEAD, CACHE, MEMORY, Workload, tile_bytes};
use crate::device::kernel::LaunchGrid;
use crate::device::kernel::kernels;
use crate::error::DeviceError;

kernels! {
    WEIGHTS_BACK = Widths("weights_back");
    SUM_PARTIALS = One("sum_partials");
}

/// The most threads of a block: a warp for each of nine taps.
const THREADS_MAX: usize = 288;
/// Inputs of a warp.
const INPUTS_OF_WARP: usize = 32;
/// Blocks that splits are made for, and the most splits.
const BLOCKS: usize = 264;
const SPLITS_MAX: usize = 128;
/// The fewest rows of a split.
const SPLIT_ROWS_MIN: usize = 512;

/// How the work is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Division {
    threads: usize,
    /// Blocks that share the inputs.
    blocks: usize,
    rows_of_split: usize,
    splits: usize,
    /// No fewer than there are splits of fewer rows.
    splits_max: usize,
    /// Rows of x that a block holds.
    ring: usize,
    shared_bytes: usize,
}

impl Division {
    fn new(shape: ConvShape, (k, n): (usize, usize)) -> Self {
        let slices = k.div_ceil(INPUTS_OF_WARP);
        let of_block = (THREADS_MAX / 32 / shape.taps).clamp(1, slices);
        let (blocks, rows) = (slices.div_ceil(of_block), shape.rows());
        let splits_max = rows.div_ceil(SPLIT_ROWS_MIN).min(BLOCKS / blocks).clamp(1, SPLITS_MAX);
        let rows_of_split = rows.div_ceil(splits_max).next_multiple_of(DEPTH).max(SPLIT_ROWS_MIN);
        let ring = (STAGES * DEPTH + 2 * shape.reach).next_power_of_two();
        let x_ring = (ring + 1) * (of_block * INPUTS_OF_WARP + 8);
        Self {
            threads: 32 * shape.taps * of_block,
            blocks,
            rows_of_split,
            splits: rows.div_ceil(rows_of_split),
            splits_max,
            ring,
            shared_bytes: 2 * (x_ring + STAGES * DEPTH * (n + 8) + shape.taps * shape.cells),
        }
    }
}

/// Numbers of partial sums that [`Ops::weights_back`] needs room for, with up to as many boards.
pub(crate) fn partial_len(shape: ConvShape, (k, n): (usize, usize)) -> usize {
    Division::new(shape, (k, n)).splits_max * shape.taps * k * n
}

impl<D: Device> Ops<'_, D> {
    /// The derivative by the weights, of whose `n` columns `columns` are
    /// kept. `partial` has room for [`partial_len`].
    #[allow(clippy::too_many_arguments, reason = "as many as the kernels have")]
    pub(crate) fn weights_back(
        &self,
        x: &Array<D, Bf16>,
        dy: &Array<D, Bf16>,
        sources: &Array<D, u16>,
        partial: &Array<D, f32>,
        dw: ArrayPart<'_, D, f32>,
        shape: ConvShape,
        (k, n, columns): (usize, usize, usize),
    ) -> Result<(), DeviceError> {
        let kernel = WEIGHTS_BACK.of(n);
        assert!(k.is_multiple_of(16) && k <= 128, "{kernel}: {k} inputs");
        let (rows, count, division) = (shape.rows(), shape.taps * k * n, Division::new(shape, (k, n)));
        let Division { threads, blocks, rows_of_split, splits, ring, shared_bytes, .. } = division;
        assert!(threads <= THREADS_MAX, "{kernel}: {shape:?}");
        assert!(shared_bytes <= SHARED_BYTES_MAX, "{kernel}: {k} inputs, {shape:?}");
        Call::new(kernel)
            .array(x, rows * k)
            .array(dy, rows * n)
            .array(sources, shape.cells * shape.taps)
            .array(partial, splits * count)
            .int(rows)
            .int(shape.cells)
            .int(shape.taps)
            .int(k)
            .int(rows_of_split)
            .int(shape.reach)
            .int(ring)
            .costs(|grid| work(grid, shape, (k, n), rows_of_split))
            .launch(self.0, (blocks, splits), threads as u32, shared_bytes)?;
        self.sum_partials(partial, dw, splits, (count, n, columns))
    }

    /// The sum of `splits` times `count` numbers, in rows of `n` of which the first `columns` are kept.
    pub(crate) fn sum_partials(
        &self,
        partial: &Array<D, f32>,
        out: ArrayPart<'_, D, f32>,
        splits: usize,
        (count, n, columns): (usize, usize, usize),
    ) -> Result<(), DeviceError> {
        assert!(columns <= n && n > 0 && count % n == 0, "{columns} of {n} columns of {count}");
        Call::new(SUM_PARTIALS.name())
            .array(partial, splits * count)
            .part(out, count / n * columns)
            .int(splits)
            .int(count)
            .int(n)
            .int(columns)
            .costs(|_| {
                let (splits, count) = (splits as f64, count as f64);
                Workload {
                    memory_bytes: (splits + 1.0) * count * 4.0,
                    cache_bytes: splits * count * 4.0,
                    chain: splits / AHEAD * CACHE,
                    ..Workload::default()
                }
            })
            .each(self.0, count)
    }
}

fn work(grid: LaunchGrid, shape: ConvShape, (k, n): (usize, usize), rows_of_split: usize) -> Workload {
    let (blocks, threads, splits) = (grid.block_count(), grid.block_threads(), f64::from(grid.blocks.1));
    let (rows, cells, taps) = (shape.rows() as f64, shape.cells as f64, shape.taps as f64);
    let (k, n, reach) = (k as f64, n as f64, shape.reach as f64);
    let steps = (rows_of_split as f64 / 32.0).ceil();
    // Rows of a split with those around them, once for all taps; dy for each block that shares the inputs.
    let around = steps * 32.0 + 2.0 * reach;
    let dy = blocks * steps * 32.0 * n * 2.0;
    let sources = blocks * cells * taps * 2.0;
    // Every lane of a warp looks up which row it names.
    let lookups = blocks * threads * steps * 2.0 * 2.0;
    let partial = splits * taps * k * n * 4.0;
    Workload {
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
        ..Workload::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::kernel::WIDTHS;
    use crate::encoding::planes::CHANNELS;
    use crate::encoding::taps::Taps;
    use rules::Board;

    #[test]
    fn splits_cover_the_rows_and_have_room() {
        let of = |boards: usize, k: usize| {
            Division::new(ConvShape { boards, cells: 1, taps: 7, reach: 9 }, (k, 32))
        };
        for k in [16, 48, 96, 128] {
            let mut room = 0;
            for rows in (1..200_000).step_by(97).chain([16_384 * 361, 16_384 * 469]) {
                let division = of(rows, k);
                let Division { rows_of_split, splits, splits_max, .. } = division;
                assert!(
                    rows_of_split * splits >= rows && rows_of_split * (splits - 1) < rows,
                    "{division:?}"
                );
                assert!(splits <= splits_max && room <= splits_max, "{division:?}");
                room = splits_max;
            }
        }
    }

    #[test]
    fn what_a_block_holds_fits_on_every_card() {
        for board in Board::ALL {
            for boards in [1, 4096] {
                let shape = ConvShape::new(Taps::of(board), boards);
                for (k, n) in WIDTHS.into_iter().flat_map(|n| [(CHANNELS, n), (n, n)]) {
                    let division = Division::new(shape, (k, n));
                    let Division { threads, blocks, splits_max, ring, shared_bytes, .. } = division;
                    assert!(shared_bytes <= SHARED_BYTES_MAX, "{board}, {k} by {n}: {division:?}");
                    assert!(threads <= THREADS_MAX && blocks * splits_max <= BLOCKS);
                    // What is read in a step, and what is copied two steps ahead.
                    assert!(ring.is_power_of_two() && ring >= STAGES * DEPTH + 2 * shape.reach);
                }
            }
        }
    }
}
