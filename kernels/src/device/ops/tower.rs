//! The trunk of a network for small boards in one kernel; see `cuda/tower.cu`.

use super::call::Call;
use super::{ConvShape, Ops};
use crate::device::Device;
use crate::device::array::{Array, Bf16};
use crate::device::cost::{AHEAD, CACHE, MEMORY, NEAR, Workload, tile_bytes};
use crate::device::kernel::LaunchGrid;
use crate::device::kernel::kernels;
use crate::encoding::planes::{CHANNELS, GLOBALS};
use crate::error::DeviceError;

kernels! {
    TOWER = Widths("tower");
}

/// In the list of layers, the place of a third tensor that a layer does not have.
pub(crate) const NO_TENSOR: u32 = u32::MAX;
/// The most cells of a board.
const CELLS_MAX: usize = 64;

/// Whether a board is small enough for the fused tower.
pub(crate) fn tower_fits(shape: ConvShape) -> bool {
    (1..=CELLS_MAX).contains(&shape.cells) && shape.taps <= 9
}

/// Boards of a block.
fn boards_of_block(width: usize) -> usize {
    if width <= 64 { 4 } else { 2 }
}

/// Shared memory of a block.
pub(crate) fn tower_shared_bytes(width: usize) -> usize {
    let boards = boards_of_block(width);
    let trunk = (boards * CELLS_MAX + 1) * (width.max(CHANNELS) + 8);
    2 * (2 * trunk + 3 * 32 * (width + 8)) + 4 * boards * 3 * width + 9 * CELLS_MAX
}

impl<D: Device> Ops<'_, D> {
    /// `layers`: as many triples as there are layers, whose tensors lie within the weights.
    #[allow(clippy::too_many_arguments, reason = "as many as the kernel has")]
    pub(crate) fn tower(
        &self,
        planes: &Array<D, Bf16>,
        globals: &Array<D, f32>,
        weights: (&Array<D, Bf16>, &Array<D, f32>),
        layers: &Array<D, u32>,
        sources: &Array<D, u16>,
        (x, pooled): (&Array<D, Bf16>, &Array<D, f32>),
        shape: ConvShape,
        width: usize,
    ) -> Result<(), DeviceError> {
        let kernel = TOWER.of(width);
        assert!(tower_fits(shape), "{kernel}: {shape:?}");
        let boards = boards_of_block(width);
        let layer_count = layers.len() / 3;
        assert!(layer_count % 2 == 1, "{kernel}: {layer_count} layers are no stem and blocks");
        Call::new(kernel)
            .array(planes, shape.rows() * CHANNELS)
            .array(globals, shape.boards * GLOBALS)
            .array(weights.0, weights.0.len())
            .array(weights.1, weights.0.len())
            .array(layers, layer_count * 3)
            .array(sources, shape.cells * shape.taps)
            .array(x, shape.rows() * width)
            .array(pooled, shape.boards * 2 * width)
            .int(shape.boards)
            .int(shape.cells)
            .int(shape.taps)
            .int(layer_count)
            .costs(|grid| work(grid, shape, layer_count, width))
            .launch(
                self.0,
                (shape.boards.div_ceil(boards), 1),
                (boards * CELLS_MAX) as u32,
                tower_shared_bytes(width),
            )
    }
}

fn work(grid: LaunchGrid, shape: ConvShape, layers: usize, width: usize) -> Workload {
    let (blocks, threads) = (grid.block_count(), grid.block_threads());
    let (boards, cells, taps) = (shape.boards as f64, shape.cells as f64, shape.taps as f64);
    let (layers, c, of_block) = (layers as f64, width as f64, threads / 64.0);
    let inner = taps * (48.0 + (layers - 1.0) * c);
    let weights = inner * c * 2.0;
    // Every third block and the end pool: each thread walks down columns, then along a vector times weights.
    let pools = ((layers - 1.0) / 2.0 / 3.0).floor();
    let columns = (of_block * c / threads).ceil();
    let walk = columns * cells * NEAR / AHEAD;
    let vector = |inputs: f64| columns * inputs * CACHE / AHEAD;
    Workload {
        useful_flops: 2.0 * boards * cells * inner * c,
        tensor_flops: 2.0 * blocks * of_block * 64.0 * inner * c,
        shared_bytes: blocks * weights
            + tile_bytes(blocks * of_block * 2.0 * inner / 16.0, c)
            + blocks * of_block * 64.0 * c * 4.0 * layers,
        cache_bytes: blocks * (weights + pools * 2.0 * c * c * 4.0) + boards * cells * (96.0 + 2.0 * c),
        memory_bytes: boards * (cells * (96.0 + 2.0 * c) + 128.0 + 8.0 * c) + weights,
        chain: vector(32.0) + (pools + 1.0) * walk + pools * vector(2.0 * c) + 4.0 * MEMORY,
        ..Workload::default()
    }
}
