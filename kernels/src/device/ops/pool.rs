//! Means and maxima over the cells of a board, their derivatives, and sums over rows; see `cuda/pool.cu` and
//! `cuda/train.cu`.

use super::call::{ArrayPart, Call};
use super::{ConvShape, Ops};
use crate::device::Device;
use crate::device::array::{Array, Bf16};
use crate::device::cost::{AHEAD, CACHE, MEMORY, SHUFFLE, Workload};
use crate::device::kernel::LaunchGrid;
use crate::device::kernel::kernels;
use crate::error::DeviceError;

kernels! {
    POOL = One("pool");
    POOL_BACK = One("pool_back");
    BOARD_SUMS = One("board_sums");
    COLUMN_SUMS = One("column_sums");
}

/// Threads of a block, which has one for each channel.
const THREADS: usize = 128;

impl<D: Device> Ops<'_, D> {
    /// The mean and the maximum of every channel over the cells of each
    /// board; `most` takes the cells of the maxima.
    pub(crate) fn pool(
        &self,
        x: &Array<D, Bf16>,
        pooled: &Array<D, f32>,
        most: Option<&Array<D, u16>>,
        shape: ConvShape,
        width: usize,
    ) -> Result<(), DeviceError> {
        assert!(width <= THREADS, "a thread for each of {width} channels");
        Call::new(POOL.name())
            .array(x, shape.rows() * width)
            .array(pooled, shape.boards * 2 * width)
            .optional(most, shape.boards * width)
            .int(shape.cells)
            .int(width)
            .costs(|grid| over_cells(grid, shape.cells, width))
            .launch(self.0, (shape.boards, 1), THREADS as u32, 0)
    }

    /// The derivative of [`Self::pool`]: what every cell of a board gets, and
    /// what the cell of the maximum gets besides.
    pub(crate) fn pool_back(
        &self,
        dpooled: &Array<D, f32>,
        (to_all, to_most): (&Array<D, f32>, &Array<D, f32>),
        shape: ConvShape,
        width: usize,
    ) -> Result<(), DeviceError> {
        let count = shape.boards * width;
        Call::new(POOL_BACK.name())
            .array(dpooled, 2 * count)
            .array(to_all, count)
            .array(to_most, count)
            .int(shape.boards)
            .int(shape.cells)
            .int(width)
            .costs(|_| {
                let bytes = shape.boards as f64 * width as f64 * 16.0;
                let chain = 2.0 * MEMORY;
                Workload { memory_bytes: bytes, cache_bytes: bytes, chain, ..Workload::default() }
            })
            .each(self.0, count)
    }

    /// The sum of every channel over the cells of each board.
    pub(crate) fn board_sums(
        &self,
        x: &Array<D, Bf16>,
        sums: &Array<D, f32>,
        shape: ConvShape,
        width: usize,
    ) -> Result<(), DeviceError> {
        assert!(width <= THREADS, "a thread for each of {width} channels");
        Call::new(BOARD_SUMS.name())
            .array(x, shape.rows() * width)
            .array(sums, shape.boards * width)
            .int(shape.cells)
            .int(width)
            .costs(|grid| over_cells(grid, shape.cells, width))
            .launch(self.0, (shape.boards, 1), THREADS as u32, 0)
    }

    /// The sums over rows of the first `columns` of `width`.
    pub(crate) fn column_sums(
        &self,
        x: &Array<D, f32>,
        sums: ArrayPart<'_, D, f32>,
        (rows, width, columns): (usize, usize, usize),
    ) -> Result<(), DeviceError> {
        assert!(columns <= width, "{columns} of {width}");
        Call::new(COLUMN_SUMS.name())
            .array(x, rows * width)
            .part(sums, columns)
            .int(rows)
            .int(width)
            .costs(|grid| {
                let (rows, columns) = (rows as f64, grid.block_count());
                Workload {
                    memory_bytes: rows * columns * 4.0,
                    cache_bytes: rows * columns * 32.0, // a sector for every word
                    lines: rows * columns,
                    chain: rows / grid.block_threads() / AHEAD * CACHE + 10.0 * SHUFFLE,
                    ..Workload::default()
                }
            })
            .launch(self.0, (columns, 1), THREADS as u32, 16)
    }
}

/// A block for each board, whose threads walk down its cells.
fn over_cells(grid: LaunchGrid, cells: usize, width: usize) -> Workload {
    let (blocks, cells, width) = (grid.block_count(), cells as f64, width as f64);
    let bytes = blocks * cells * width * 2.0;
    Workload {
        memory_bytes: bytes + blocks * width * 8.0,
        cache_bytes: bytes,
        lines: blocks * cells * width / 32.0,
        chain: cells / AHEAD * MEMORY,
        ..Workload::default()
    }
}
