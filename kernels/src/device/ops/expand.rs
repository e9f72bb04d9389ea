//! Packed positions become planes of cells and numbers of boards; see `cuda/expand.cu`.

use super::call::Call;
use super::{ConvShape, Ops};
use crate::device::Device;
use crate::device::array::{Array, Bf16};
use crate::device::cost::Workload;
use crate::device::kernel::kernels;
use crate::encoding::packed::HEADER;
use crate::encoding::planes::{CHANNELS, GLOBALS};
use crate::error::DeviceError;

kernels! {
    EXPAND = One("expand_positions");
}

impl<D: Device> Ops<'_, D> {
    pub(crate) fn expand(
        &self,
        stacks: &Array<D, u64>,
        ground: &Array<D, u8>,
        headers: &Array<D, u16>,
        planes: &Array<D, Bf16>,
        globals: &Array<D, f32>,
        shape: ConvShape,
    ) -> Result<(), DeviceError> {
        let rows = shape.rows();
        Call::new(EXPAND.name())
            .array(stacks, rows)
            .array(ground, rows)
            .array(headers, shape.boards * HEADER)
            .array(planes, rows * CHANNELS)
            .array(globals, shape.boards * GLOBALS)
            .int(shape.cells)
            .costs(|grid| {
                let (blocks, cells) = (grid.block_count(), shape.cells as f64);
                let rows = blocks * cells;
                Workload {
                    memory_bytes: rows * (8.0 + 1.0 + 96.0) + blocks * (64.0 + 128.0),
                    cache_bytes: rows * 105.0,
                    // About sixty instructions for a pair of channels;
                    // a multiprocessor issues four in a cycle.
                    lines: rows * 24.0 / 32.0 * 60.0 / 4.0,
                    chain: cells * 24.0 / grid.block_threads() * 120.0,
                    ..Workload::default()
                }
            })
            .launch(self.0, (shape.boards, 1), 128, 0)
    }
}
