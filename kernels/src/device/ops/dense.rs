//! The small layers, over one vector a board, and their derivatives; see `cuda/dense.cu`.

use super::Ops;
use super::call::{ArrayPart, Call};
use crate::device::Device;
use crate::device::array::Array;
use crate::device::cost::{AHEAD, CACHE, NEAR, Workload, present};
use crate::device::kernel::kernels;
use crate::error::DeviceError;

kernels! {
    DENSE = One("dense");
    DENSE_BACK = One("dense_back");
    DENSE_WEIGHTS = One("dense_weights");
}

/// Rows and columns of a block.
const SIDE: usize = 32;
const THREADS: u32 = 128;
const SHARED_BYTES: usize = 2 * 4 * SIDE * (SIDE + 1);
/// Rows that a block of `dense_weights` takes.
const SPLIT_ROWS: usize = 256;

/// Numbers of partial sums that [`Ops::dense_weights`] leaves.
pub(crate) fn dense_partial_len((rows, inputs, outputs): (usize, usize, usize)) -> usize {
    rows.div_ceil(SPLIT_ROWS) * inputs * outputs
}

/// The sizes of a layer as a cost counts with them: vectors, and numbers that go in and come out.
#[derive(Clone, Copy)]
struct Layer {
    rows: f64,
    inputs: f64,
    outputs: f64,
}

impl Layer {
    fn new((rows, inputs, outputs): (usize, usize, usize)) -> Self {
        Self { rows: rows as f64, inputs: inputs as f64, outputs: outputs as f64 }
    }

    /// Bytes of all vectors and of the weights, each once.
    fn bytes(self) -> f64 {
        (self.rows * (self.inputs + self.outputs) + self.inputs * self.outputs) * 4.0
    }
}

impl<D: Device> Ops<'_, D> {
    /// `rows` vectors of `inputs` numbers become as many of `outputs`.
    pub(crate) fn dense(
        &self,
        x: &Array<D, f32>,
        w: ArrayPart<'_, D, f32>,
        bias: Option<ArrayPart<'_, D, f32>>,
        y: &Array<D, f32>,
        (rows, inputs, outputs): (usize, usize, usize),
        relu: bool,
    ) -> Result<(), DeviceError> {
        let layer = Layer::new((rows, inputs, outputs));
        Call::new(DENSE.name())
            .array(x, rows * inputs)
            .part(w, inputs * outputs)
            .optional_part(bias, outputs)
            .array(y, rows * outputs)
            .int(rows)
            .int(inputs)
            .int(outputs)
            .int(usize::from(relu))
            .costs(|grid| {
                let memory_bytes = layer.bytes();
                Workload { memory_bytes, ..products(grid.block_count(), layer.inputs) }
            })
            .launch(self.0, (rows.div_ceil(SIDE), outputs.div_ceil(SIDE)), THREADS, SHARED_BYTES)
    }

    /// The derivative of [`Self::dense`] by its input, added to what is there if `add`.
    pub(crate) fn dense_back(
        &self,
        dy: &Array<D, f32>,
        w: ArrayPart<'_, D, f32>,
        mask: Option<&Array<D, f32>>,
        dx: &Array<D, f32>,
        (rows, inputs, outputs): (usize, usize, usize),
        add: bool,
    ) -> Result<(), DeviceError> {
        let layer = Layer::new((rows, inputs, outputs));
        Call::new(DENSE_BACK.name())
            .array(dy, rows * outputs)
            .part(w, inputs * outputs)
            .optional(mask, rows * inputs)
            .array(dx, rows * inputs)
            .int(rows)
            .int(inputs)
            .int(outputs)
            .int(usize::from(add))
            .costs(|grid| {
                // What is added to, and the mask.
                let more = layer.rows * layer.inputs * (f64::from(u8::from(add)) + present(mask)) * 4.0;
                let memory_bytes = layer.bytes() + more;
                Workload { memory_bytes, ..products(grid.block_count(), layer.outputs) }
            })
            .launch(self.0, (rows.div_ceil(SIDE), inputs.div_ceil(SIDE)), THREADS, SHARED_BYTES)
    }

    /// The derivative of [`Self::dense`] by its weights; without `x`, that of a bias, and `inputs` is 1.
    /// `partial` has room for [`dense_partial_len`].
    pub(crate) fn dense_weights(
        &self,
        x: Option<&Array<D, f32>>,
        dy: &Array<D, f32>,
        partial: &Array<D, f32>,
        dw: ArrayPart<'_, D, f32>,
        (rows, inputs, outputs): (usize, usize, usize),
    ) -> Result<(), DeviceError> {
        assert!(x.is_some() || inputs == 1, "{inputs} inputs of a bias");
        let (count, splits) = (inputs * outputs, rows.div_ceil(SPLIT_ROWS));
        let pieces = inputs.div_ceil(SIDE) * outputs.div_ceil(SIDE);
        let layer = Layer::new((rows, inputs, outputs));
        Call::new(DENSE_WEIGHTS.name())
            .optional(x, rows * inputs)
            .array(dy, rows * outputs)
            .array(partial, splits * count)
            .int(rows)
            .int(inputs)
            .int(outputs)
            .int(SPLIT_ROWS)
            .costs(|grid| {
                let (splits, Layer { rows, inputs, outputs }) = (f64::from(grid.blocks.1), layer);
                let memory_bytes = (rows * (inputs + outputs) + splits * inputs * outputs) * 4.0;
                Workload { memory_bytes, ..products(grid.block_count(), (SPLIT_ROWS as f64).min(rows)) }
            })
            .launch(self.0, (pieces, splits), THREADS, SHARED_BYTES)?;
        self.sum_partials(partial, dw, splits, (count, outputs, outputs))
    }
}

/// Blocks of 32 by 32 sums over so much of an inner dimension, 32 at a time: both factors are copied to
/// shared memory, where a warp reads nine words for eight sums of each lane.
fn products(blocks: f64, inner: f64) -> Workload {
    let steps = (inner / 32.0).ceil();
    let copied = 2.0 * 32.0 * 32.0 * 4.0;
    Workload {
        shared_bytes: blocks * (steps * copied + inner * 4.0 * 9.0 * 128.0),
        cache_bytes: blocks * (steps * copied + 32.0 * 32.0 * 4.0),
        // Seventeen instructions of four warps, of which a multiprocessor issues
        // four in a cycle; a line for each copied.
        lines: blocks * (steps * 64.0 + inner * 17.0),
        chain: steps * 2.0 * CACHE + inner * (NEAR / AHEAD + 17.0),
        ..Workload::default()
    }
}
