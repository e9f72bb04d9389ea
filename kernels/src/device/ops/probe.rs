//! The probes of single primitives, which golden vectors are made with; see `cuda/probe.cu`.

use super::Ops;
use super::call::Call;
use crate::device::Device;
use crate::device::array::Array;
use crate::device::kernel::{One, kernels};
use crate::error::DeviceError;

kernels! {
    pub(crate) IDS = One("probe_ids");
    pub(crate) LOAD_MATRICES = One("probe_load_matrices");
    pub(crate) MULTIPLY_ADD = One("probe_multiply_add");
    pub(crate) COPY_ASYNC = One("probe_copy_async");
    pub(crate) SHUFFLES = One("probe_shuffles");
    pub(crate) BALLOT = One("probe_ballot");
    pub(crate) BITS = One("probe_bits");
    pub(crate) BF16 = One("probe_bf16");
    pub(crate) SUMS = One("probe_sums");
    pub(crate) ARITHMETIC = One("probe_arithmetic");
    pub(crate) EXP_LOG = One("probe_exp_log");
    pub(crate) POW_LOG = One("probe_pow_log");
    pub(crate) RANDOM = One("probe_random");
}

/// How a probe is launched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeGrid {
    pub(crate) blocks: (usize, usize),
    pub(crate) threads: u32,
    pub(crate) shared_bytes: usize,
}

impl<D: Device> Ops<'_, D> {
    /// Runs a probe over `count` pieces, of so many input and output words each.
    pub(crate) fn probe(
        &self,
        kernel: One,
        grid: ProbeGrid,
        (input, output): (&Array<D, u32>, &Array<D, u32>),
        (input_words, output_words): (usize, usize),
        count: usize,
    ) -> Result<(), DeviceError> {
        Call::new(kernel.name())
            .array(input, count * input_words)
            .array(output, count * output_words)
            .int(count)
            .uncounted("a probe is never part of a pass")
            .launch(self.0, grid.blocks, grid.threads, grid.shared_bytes)
    }
}
