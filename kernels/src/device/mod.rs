//! The network on a processor with its own memory: a CUDA card, or its emulation in tests.
//!
//! Invariant: a kernel is launched only by the functions of [`ops`], which check that every array is as long
//! as the kernel needs; the kernels themselves trust their arguments. Everything above [`Device`] is the same
//! code for a card and for emulation, so what tests prove without a card is what a card runs.

pub(crate) mod any;
pub(crate) mod array;
pub(crate) mod backend;
pub(crate) mod card;
pub(crate) mod cost;
pub(crate) mod evaluator;
pub(crate) mod failures;
pub(crate) mod forward;
pub(crate) mod games;
pub(crate) mod kernel;
pub(crate) mod ops;
pub(crate) mod targets;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod train;
pub(crate) mod trial;

use crate::error::DeviceError;
use cost::Cost;
use kernel::{KernelName, LaunchGrid};

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Argument {
    /// Device memory; 0 for an array that is absent.
    Address(u64),
    Int(i32),
    Float(f32),
}

/// A kernel with everything that it is launched with.
pub(crate) struct Launch<'a> {
    pub(crate) kernel: KernelName,
    pub(crate) grid: LaunchGrid,
    pub(crate) arguments: &'a [Argument],
    /// What the launch has to do; asked by a device that predicts, and by no other.
    pub(crate) cost: &'a dyn Fn() -> Cost,
}

/// Runs kernels, one after the other in the order of the launches.
pub(crate) trait Device {
    /// Memory of the device, freed when dropped. Like a `Cell`, it is written through shared references.
    type Memory;

    /// Memory with undefined contents, at an address that is a multiple of 256.
    fn allocate(&self, bytes: usize) -> Result<Self::Memory, DeviceError>;

    /// Where memory is.
    fn address(&self, memory: &Self::Memory) -> u64;

    /// Writes the first bytes of memory. `bytes` are no more than it has.
    fn upload(&self, memory: &Self::Memory, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Reads the first bytes of memory, after everything launched so far. `bytes` are no more than it has.
    fn download(&self, memory: &Self::Memory, bytes: &mut [u8]) -> Result<(), DeviceError>;

    /// Launches a kernel.
    ///
    /// # Safety
    /// The arguments are those of the kernel in number, order and type, and addresses are of memory of this
    /// device as large as the kernel reads and writes for them.
    #[allow(unsafe_code, reason = "kernels trust their arguments")]
    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError>;
}

/// A device that repeats a sequence of launches as a whole.
pub(crate) trait ReplayDevice: Device {
    /// Launches with their arguments.
    type Recording;

    /// Notes what is launched, instead of doing it. Nothing but
    /// launches may be asked of the device meanwhile.
    fn record(
        &self,
        launches: impl FnOnce() -> Result<(), DeviceError>,
    ) -> Result<Self::Recording, DeviceError>;

    /// Launches what was noted.
    ///
    /// # Safety
    /// The memory that it was launched with is still there.
    #[allow(unsafe_code, reason = "addresses were noted")]
    unsafe fn replay(&self, recording: &Self::Recording) -> Result<(), DeviceError>;
}
