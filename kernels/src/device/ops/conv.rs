//! The launches of convolutions and of their derivatives; see [`crate::device::ops`].
//!
//! How rows are divided into blocks does not change a result of [`Ops::conv`] and [`Ops::conv_back`]; how they are divided
//! into splits does change one of [`Ops::weights_back`], so splits depend on shapes alone and are the same on every card.

use crate::device::Device;
use crate::device::array::{Array, Bf16};
use crate::device::ops::{Call, Ops, Part, SHARED_BYTES_MAX, Shape, of_width};
use crate::error::DeviceError;

/// Stages that kernels copy in, and how much of the inner dimension each has.
const STAGES: usize = 3;
const DEPTH: usize = 32;
/// From so many rows on, blocks of convolutions are large: one for every multiprocessor of the largest cards.
const LARGE_BLOCKS_ROWS: usize = 48 * 1024;
/// Threads of a block of `weights_back`, at most: a warp for each of nine taps.
const WEIGHTS_THREADS_MAX: usize = 288;
/// Inputs of a warp of `weights_back`.
const WEIGHTS_INPUTS: usize = 32;
/// Blocks of `weights_back` that splits are made for, and splits, at most.
const WEIGHTS_BLOCKS: usize = 264;
const SPLITS_MAX: usize = 128;
/// Rows of a split, at least.
const SPLIT_ROWS_MIN: usize = 512;

/// Cells of boards, and what is added there.
pub(crate) type Most<'a, D> = (&'a Array<D, u16>, &'a Array<D, f32>);

/// What comes after a convolution; see `cuda/conv.cu`. Absent by default.
pub(crate) struct After<'a, D: Device> {
    pub(crate) y: Option<&'a Array<D, Bf16>>,
    pub(crate) y32: Option<&'a Array<D, f32>>,
    /// The bias's array and where in it the bias begins.
    pub(crate) bias: Option<(&'a Array<D, f32>, usize)>,
    pub(crate) by_board: Option<&'a Array<D, f32>>,
    pub(crate) residual: Option<&'a Array<D, Bf16>>,
    pub(crate) mask: Option<&'a Array<D, Bf16>>,
    pub(crate) most: Option<Most<'a, D>>,
    pub(crate) relu: bool,
}

impl<D: Device> Default for After<'_, D> {
    fn default() -> Self {
        Self {
            y: None,
            y32: None,
            bias: None,
            by_board: None,
            residual: None,
            mask: None,
            most: None,
            relu: false,
        }
    }
}

/// Rows of a block of a convolution, each with a thread. Every block reads all weights, so large ones read less, where
/// there are rows enough to keep a card busy with them: so large that registers still leave room for as many warps.
fn rows_of_block(rows: usize, n: usize) -> usize {
    match n {
        ..=64 if rows >= LARGE_BLOCKS_ROWS => 256,
        65..=96 if rows >= LARGE_BLOCKS_ROWS => 192,
        _ => 128,
    }
}

/// Shared memory of such a block: its rows with those around them and one of zeros, weights, where rows are; results of
/// half a warp's rows at a time.
fn conv_shared_bytes(back: bool, block_rows: usize, shape: Shape, (k, n): (usize, usize)) -> usize {
    let slab = (block_rows + 2 * shape.reach + 1) * (k + 8);
    let weights = STAGES * if back { n * (DEPTH + 8) } else { DEPTH * (n + 8) };
    (2 * (slab + weights + shape.taps * block_rows)).max(4 * (block_rows / 2) * (n + 4))
}

/// How `weights_back` divides its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WeightsGrid {
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

impl WeightsGrid {
    fn new(shape: Shape, (k, n): (usize, usize)) -> Self {
        let slices = k.div_ceil(WEIGHTS_INPUTS);
        let of_block = (WEIGHTS_THREADS_MAX / 32 / shape.taps).clamp(1, slices);
        let (blocks, rows) = (slices.div_ceil(of_block), shape.rows());
        let splits_max = rows.div_ceil(SPLIT_ROWS_MIN).min(WEIGHTS_BLOCKS / blocks).clamp(1, SPLITS_MAX);
        let rows_of_split = rows.div_ceil(splits_max).next_multiple_of(DEPTH).max(SPLIT_ROWS_MIN);
        let ring = (STAGES * DEPTH + 2 * shape.reach).next_power_of_two();
        let x_ring = (ring + 1) * (of_block * WEIGHTS_INPUTS + 8);
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
pub(crate) fn partial_len(shape: Shape, (k, n): (usize, usize)) -> usize {
    WeightsGrid::new(shape, (k, n)).splits_max * shape.taps * k * n
}

impl<D: Device> Ops<'_, D> {
    /// `conv_*`: from `k` to `n` channels; one tap is a plain product.
    pub(crate) fn conv(
        &self,
        x: &Array<D, Bf16>,
        w: Part<'_, D, Bf16>,
        sources: &Array<D, u16>,
        shape: Shape,
        (k, n): (usize, usize),
        after: &After<'_, D>,
    ) -> Result<(), DeviceError> {
        let block_rows = rows_of_block(shape.rows(), n);
        self.conv_in_blocks(false, block_rows, x, w, sources, shape, (k, n), after)
    }

    /// `conv_back_*`: the derivative of the former by its input; `k` are its outputs and `n` its inputs.
    pub(crate) fn conv_back(
        &self,
        x: &Array<D, Bf16>,
        w: Part<'_, D, Bf16>,
        sources: &Array<D, u16>,
        shape: Shape,
        (k, n): (usize, usize),
        after: &After<'_, D>,
    ) -> Result<(), DeviceError> {
        let block_rows = rows_of_block(shape.rows(), n);
        self.conv_in_blocks(true, block_rows, x, w, sources, shape, (k, n), after)
    }

    /// Either of the two, in blocks of so many rows: a multiple of 32, at most 256.
    #[allow(clippy::too_many_arguments, reason = "what two kernels have in common")]
    pub(crate) fn conv_in_blocks(
        &self,
        back: bool,
        block_rows: usize,
        x: &Array<D, Bf16>,
        w: Part<'_, D, Bf16>,
        sources: &Array<D, u16>,
        shape: Shape,
        (k, n): (usize, usize),
        after: &After<'_, D>,
    ) -> Result<(), DeviceError> {
        let names = if back {
            ["conv_back_32", "conv_back_64", "conv_back_96", "conv_back_128"]
        } else {
            ["conv_32", "conv_64", "conv_96", "conv_128"]
        };
        let (kernel, shared) = (of_width(names, n), conv_shared_bytes(back, block_rows, shape, (k, n)));
        assert!(k.is_multiple_of(16) && w.1.is_multiple_of(8), "{kernel}: {k} inputs, weights at {}", w.1);
        assert!(shared <= SHARED_BYTES_MAX, "{kernel}: {k} inputs, {shape:?}");
        let (rows, boards) = (shape.rows(), shape.boards);
        let call = Call::new(kernel)
            .array(x, rows * k)
            .part(w, shape.taps * k * n)
            .array(sources, shape.cells * shape.taps)
            .optional(after.y, rows * n)
            .optional(after.y32, rows * n);
        let call = match after.bias {
            Some(bias) => call.part(bias, n),
            None => call.optional::<D, f32>(None, 0),
        };
        call.optional(after.by_board, boards * n)
            .optional(after.residual, rows * n)
            .optional(after.mask, rows * n)
            .optional(after.most.map(|(most, _)| most), boards * n)
            .optional(after.most.map(|(_, at_most)| at_most), boards * n)
            .int(rows)
            .int(shape.cells)
            .int(shape.taps)
            .int(k)
            .int(shape.reach)
            .int(usize::from(after.relu))
            .launch(self.0, (rows.div_ceil(block_rows), 1), block_rows as u32, shared)
    }

    /// `weights_back_*` and `sum_partials`: the derivative by the weights, of whose `n` columns `columns` are kept.
    #[allow(clippy::too_many_arguments, reason = "as many as the kernels have")]
    pub(crate) fn weights_back(
        &self,
        x: &Array<D, Bf16>,
        dy: &Array<D, Bf16>,
        sources: &Array<D, u16>,
        partial: &Array<D, f32>,
        dw: Part<'_, D, f32>,
        shape: Shape,
        (k, n, columns): (usize, usize, usize),
    ) -> Result<(), DeviceError> {
        let names = ["weights_back_32", "weights_back_64", "weights_back_96", "weights_back_128"];
        let kernel = of_width(names, n);
        assert!(k.is_multiple_of(16) && k <= 128, "{kernel}: {k} inputs");
        let (rows, count, grid) = (shape.rows(), shape.taps * k * n, WeightsGrid::new(shape, (k, n)));
        let threads = grid.threads;
        assert!(threads <= WEIGHTS_THREADS_MAX, "{kernel}: {shape:?}");
        assert!(grid.shared_bytes <= SHARED_BYTES_MAX, "{kernel}: {k} inputs, {shape:?}");
        Call::new(kernel)
            .array(x, rows * k)
            .array(dy, rows * n)
            .array(sources, shape.cells * shape.taps)
            .array(partial, grid.splits * count)
            .int(rows)
            .int(shape.cells)
            .int(shape.taps)
            .int(k)
            .int(grid.rows_of_split)
            .int(shape.reach)
            .int(grid.ring)
            .launch(self.0, (grid.blocks, grid.splits), threads as u32, grid.shared_bytes)?;
        self.sum_partials(partial, dw, grid.splits, (count, n, columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::ops::WIDTHS;
    use crate::encoding::planes::CHANNELS;
    use crate::encoding::taps::Taps;
    use rules::Board;

    #[test]
    fn splits_cover_the_rows_and_have_room() {
        let of = |boards: usize, k: usize| {
            WeightsGrid::new(Shape { boards, cells: 1, taps: 7, reach: 9 }, (k, 32))
        };
        for k in [16, 48, 96, 128] {
            let mut room = 0;
            for rows in (1..200_000).step_by(97).chain([16_384 * 361, 16_384 * 469]) {
                let grid = of(rows, k);
                let WeightsGrid { rows_of_split, splits, splits_max, .. } = grid;
                assert!(rows_of_split * splits >= rows && rows_of_split * (splits - 1) < rows, "{grid:?}");
                assert!(splits <= splits_max && room <= splits_max, "{grid:?}");
                room = splits_max;
            }
        }
    }

    #[test]
    fn what_a_block_holds_fits_on_every_card() {
        for board in Board::ALL {
            for boards in [1, 4096] {
                let shape = Shape::new(Taps::of(board), boards);
                for (k, n) in WIDTHS.into_iter().flat_map(|n| [(CHANNELS, n), (n, n)]) {
                    for back in [false, true] {
                        let rows = rows_of_block(shape.rows(), n);
                        let bytes = conv_shared_bytes(back, rows, shape, (k, n));
                        assert!(bytes <= SHARED_BYTES_MAX && rows <= 256, "{board}, {k} by {n}: {bytes}");
                    }
                    let grid = WeightsGrid::new(shape, (k, n));
                    assert!(grid.shared_bytes <= SHARED_BYTES_MAX, "{board}, {k} by {n}: {grid:?}");
                    assert!(
                        grid.threads <= WEIGHTS_THREADS_MAX
                            && grid.blocks * grid.splits_max <= WEIGHTS_BLOCKS
                    );
                    // What is read in a step, and what is copied two steps ahead.
                    assert!(grid.ring.is_power_of_two() && grid.ring >= STAGES * DEPTH + 2 * shape.reach);
                }
            }
        }
    }
}
