//! The step of the optimiser; see `cuda/train.cu`.

use super::call::{ArrayPart, Call};
use super::{HEAD_COLUMNS, Ops};
use crate::device::Device;
use crate::device::array::{Array, Bf16};
use crate::device::cost::{AHEAD, CACHE, MEMORY, SHUFFLE, Workload};
use crate::device::kernel::kernels;
use crate::error::DeviceError;
use crate::network::architecture::HEAD;

kernels! {
    GRADIENT_NORM = One("gradient_norm");
    GRADIENT_SCALE = One("gradient_scale");
    ADAMW = One("adamw");
    PACK_HEAD = One("pack_head");
}

/// Numbers that a block of `gradient_norm` takes.
const NORM_PIECE: usize = 8192;
const THREADS: u32 = 128;
/// Shared memory of a block that adds up: a f64 for each warp.
const SUMS_BYTES: usize = 32;

/// Squares that `gradient_norm` leaves.
pub(crate) fn norm_blocks(count: usize) -> usize {
    count.div_ceil(NORM_PIECE)
}

/// What the optimiser changes: as many numbers in each as there are weights.
pub(crate) struct AdamState<'a, D: Device> {
    pub(crate) weights: &'a Array<D, f32>,
    /// The same weights, rounded.
    pub(crate) weights16: &'a Array<D, Bf16>,
    pub(crate) average: &'a Array<D, f32>,
    pub(crate) first: &'a Array<D, f32>,
    pub(crate) second: &'a Array<D, f32>,
}

/// The numbers of a step; see [`crate::training::optimizer`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamRates {
    pub(crate) rate: f32,
    pub(crate) weight_decay: f32,
    pub(crate) first_correction: f32,
    pub(crate) second_correction: f32,
    /// What the average keeps of itself.
    pub(crate) keep: f32,
}

impl<D: Device> Ops<'_, D> {
    /// What the gradient has to be multiplied by, so that it is no longer than
    /// `clip`, and whether it is finite: 1 or 0.
    pub(crate) fn scale(
        &self,
        gradient: &Array<D, f32>,
        squares: &Array<D, f64>,
        scale: &Array<D, f32>,
        clip: f32,
    ) -> Result<(), DeviceError> {
        let (count, blocks) = (gradient.len(), norm_blocks(gradient.len()));
        assert!(count > 0, "no gradient");
        Call::new(GRADIENT_NORM.name())
            .array(gradient, count)
            .array(squares, blocks)
            .int(count)
            .costs(|_| {
                let (bytes, chain) = (count as f64 * 4.0, 64.0 / AHEAD * MEMORY);
                Workload { memory_bytes: bytes, cache_bytes: bytes, chain, ..Workload::default() }
            })
            .launch(self.0, (blocks, 1), THREADS, SUMS_BYTES)?;
        Call::new(GRADIENT_SCALE.name())
            .array(squares, blocks)
            .array(scale, 2)
            .int(blocks)
            .float(clip)
            .costs(|_| Workload { chain: 4.0 * CACHE + 10.0 * SHUFFLE, ..Workload::default() })
            .launch(self.0, (1, 1), THREADS, SUMS_BYTES)
    }

    /// A step of AdamW, unless [`Self::scale`] has found a gradient that is not finite.
    pub(crate) fn adamw(
        &self,
        state: &AdamState<'_, D>,
        gradient: &Array<D, f32>,
        decays: &Array<D, u8>,
        scale: &Array<D, f32>,
        rates: AdamRates,
    ) -> Result<(), DeviceError> {
        let count = gradient.len();
        Call::new(ADAMW.name())
            .array(state.weights, count)
            .array(state.average, count)
            .array(state.first, count)
            .array(state.second, count)
            .array(gradient, count)
            .array(decays, count)
            .array(scale, 2)
            .array(state.weights16, count)
            .int(count)
            .float(rates.rate)
            .float(rates.weight_decay)
            .float(rates.first_correction)
            .float(rates.second_correction)
            .float(rates.keep)
            .costs(|_| {
                let (bytes, chain) = (count as f64 * (4.0 * 9.0 + 1.0 + 2.0), 2.0 * MEMORY);
                Workload { memory_bytes: bytes, cache_bytes: bytes, chain, ..Workload::default() }
            })
            .each(self.0, count)
    }

    /// The policy head's weights for cells in bf16, in as many columns as the product wants.
    pub(crate) fn pack_head(
        &self,
        w: ArrayPart<'_, D, f32>,
        bias: ArrayPart<'_, D, f32>,
        head16: &Array<D, Bf16>,
        head_bias: &Array<D, f32>,
        width: usize,
    ) -> Result<(), DeviceError> {
        let count = width * HEAD_COLUMNS;
        Call::new(PACK_HEAD.name())
            .part(w, width * HEAD)
            .part(bias, HEAD)
            .array(head16, count)
            .array(head_bias, HEAD_COLUMNS)
            .int(width)
            .int(HEAD)
            .costs(|_| Workload { chain: 2.0 * CACHE, ..Workload::default() })
            .each(self.0, count)
    }
}
