//! Convolutions and their derivatives by the input; see `cuda/conv.cu`.
//!
//! How rows are divided into blocks does not change a result.

use super::call::{ArrayPart, Call};
use super::{ConvShape, Ops, SHARED_BYTES_MAX};
use crate::device::Device;
use crate::device::array::{Array, Bf16};
use crate::device::cost::{AHEAD, CACHE, MEMORY, Workload, present, tile_bytes};
use crate::device::kernel::LaunchGrid;
use crate::device::kernel::{Widths, kernels};
use crate::error::DeviceError;

kernels! {
    CONV = Widths("conv");
    CONV_BACK = Widths("conv_back");
}

/// Stages that kernels copy in, and how much of the inner dimension each has.
pub(super) const STAGES: usize = 3;
pub(super) const DEPTH: usize = 32;
/// From so many rows on, blocks are large: one for every multiprocessor of the largest cards.
const LARGE_BLOCKS_ROWS: usize = 48 * 1024;

/// Which of the two kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConvWay {
    /// From `k` inputs to `n` outputs.
    Forward,
    /// The derivative by the input: `k` are the outputs of the convolution, and `n` its inputs.
    Back,
}

impl ConvWay {
    fn kernels(self) -> Widths {
        match self {
            Self::Forward => CONV,
            Self::Back => CONV_BACK,
        }
    }
}

/// Cells of boards, and what is added there.
pub(crate) type AtMost<'a, D> = (&'a Array<D, u16>, &'a Array<D, f32>);

/// What comes after a convolution, each part of it absent by default; see `cuda/conv.cu`.
pub(crate) struct Epilogue<'a, D: Device> {
    pub(crate) y: Option<&'a Array<D, Bf16>>,
    pub(crate) y32: Option<&'a Array<D, f32>>,
    pub(crate) bias: Option<ArrayPart<'a, D, f32>>,
    pub(crate) by_board: Option<&'a Array<D, f32>>,
    pub(crate) residual: Option<&'a Array<D, Bf16>>,
    pub(crate) mask: Option<&'a Array<D, Bf16>>,
    pub(crate) most: Option<AtMost<'a, D>>,
    pub(crate) relu: bool,
}

impl<D: Device> Default for Epilogue<'_, D> {
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

impl<D: Device> Epilogue<'_, D> {
    /// Bytes that one number of the result takes to and from memory.
    fn bytes(&self) -> f64 {
        2.0 * present(self.y)
            + 4.0 * present(self.y32)
            + 2.0 * present(self.residual)
            + 2.0 * present(self.mask)
    }
}

/// Rows of a block, each with a thread. Every block reads all weights, so large ones read less, where there
/// are rows enough to keep a card busy with them: so large that registers still leave room for as many warps.
fn rows_of_block(rows: usize, n: usize) -> usize {
    match n {
        ..=64 if rows >= LARGE_BLOCKS_ROWS => 256,
        65..=96 if rows >= LARGE_BLOCKS_ROWS => 192,
        _ => 128,
    }
}

/// Shared memory of such a block: its rows with those around them and one of zeros, weights, the places of
/// rows; results of half a warp's rows at a time.
fn shared_bytes(way: ConvWay, block_rows: usize, shape: ConvShape, (k, n): (usize, usize)) -> usize {
    let slab = (block_rows + 2 * shape.reach + 1) * (k + 8);
    let weights = STAGES
        * match way {
            ConvWay::Forward => DEPTH * (n + 8),
            ConvWay::Back => n * (DEPTH + 8),
        };
    (2 * (slab + weights + shape.taps * block_rows)).max(4 * (block_rows / 2) * (n + 4))
}

impl<D: Device> Ops<'_, D> {
    /// From `k` to `n` channels; one tap is a plain product.
    pub(crate) fn conv(
        &self,
        x: &Array<D, Bf16>,
        w: ArrayPart<'_, D, Bf16>,
        sources: &Array<D, u16>,
        shape: ConvShape,
        (k, n): (usize, usize),
        after: &Epilogue<'_, D>,
    ) -> Result<(), DeviceError> {
        let block_rows = rows_of_block(shape.rows(), n);
        self.conv_in_blocks((ConvWay::Forward, block_rows), x, w, sources, shape, (k, n), after)
    }

    /// The derivative of [`Self::conv`] by its input; `k` are its outputs and `n` its inputs.
    pub(crate) fn conv_back(
        &self,
        x: &Array<D, Bf16>,
        w: ArrayPart<'_, D, Bf16>,
        sources: &Array<D, u16>,
        shape: ConvShape,
        (k, n): (usize, usize),
        after: &Epilogue<'_, D>,
    ) -> Result<(), DeviceError> {
        let block_rows = rows_of_block(shape.rows(), n);
        self.conv_in_blocks((ConvWay::Back, block_rows), x, w, sources, shape, (k, n), after)
    }

    /// Either of the two in blocks of so many rows: a multiple of 32, at most 256.
    #[allow(clippy::too_many_arguments, reason = "as many as the kernel has")]
    pub(crate) fn conv_in_blocks(
        &self,
        (way, block_rows): (ConvWay, usize),
        x: &Array<D, Bf16>,
        w: ArrayPart<'_, D, Bf16>,
        sources: &Array<D, u16>,
        shape: ConvShape,
        (k, n): (usize, usize),
        after: &Epilogue<'_, D>,
    ) -> Result<(), DeviceError> {
        let (kernel, shared) = (way.kernels().of(n), shared_bytes(way, block_rows, shape, (k, n)));
        assert!(k.is_multiple_of(16) && w.1.is_multiple_of(8), "{kernel}: {k} inputs, weights at {}", w.1);
        assert!(shared <= SHARED_BYTES_MAX, "{kernel}: {k} inputs, {shape:?}");
        let (rows, boards) = (shape.rows(), shape.boards);
        Call::new(kernel)
            .array(x, rows * k)
            .part(w, shape.taps * k * n)
            .array(sources, shape.cells * shape.taps)
            .optional(after.y, rows * n)
            .optional(after.y32, rows * n)
            .optional_part(after.bias, n)
            .optional(after.by_board, boards * n)
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
            .costs(|grid| work(grid, shape, (k, n), after.bytes()))
            .launch(self.0, (rows.div_ceil(block_rows), 1), block_rows as u32, shared)
    }
}

fn work(grid: LaunchGrid, shape: ConvShape, (k, n): (usize, usize), after_bytes: f64) -> Workload {
    let (blocks, threads) = (grid.block_count(), grid.block_threads());
    let (rows, taps, reach) = (shape.rows() as f64, shape.taps as f64, shape.reach as f64);
    let (k, n) = (k as f64, n as f64);
    // Rows of a block with those around them, once; all weights.
    let copied = blocks * 2.0 * k * (threads + 2.0 * reach + taps * n);
    let sources = blocks * threads * taps * 2.0;
    let after = rows * n * after_bytes;
    Workload {
        useful_flops: 2.0 * rows * taps * k * n,
        tensor_flops: 2.0 * blocks * threads * taps * k * n,
        shared_bytes: copied
            + 2.0 * sources
            + tile_bytes(blocks * threads / 32.0 * taps * k / 16.0, n)
            + blocks * threads * n * 8.0,
        cache_bytes: copied + sources + after,
        memory_bytes: rows * k * 2.0 + after + 2.0 * taps * k * n,
        chain: 2.0 * MEMORY + taps / AHEAD * CACHE,
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
    fn what_a_block_of_a_convolution_holds_fits_on_every_card() {
        for board in Board::ALL {
            for boards in [1, 4096] {
                let shape = ConvShape::new(Taps::of(board), boards);
                for (k, n) in WIDTHS.into_iter().flat_map(|n| [(CHANNELS, n), (n, n)]) {
                    for way in [ConvWay::Forward, ConvWay::Back] {
                        let rows = rows_of_block(shape.rows(), n);
                        let bytes = shared_bytes(way, rows, shape, (k, n));
                        assert!(bytes <= SHARED_BYTES_MAX && rows <= 256, "{board}, {k} by {n}: {bytes}");
                    }
                }
            }
        }
    }
}
