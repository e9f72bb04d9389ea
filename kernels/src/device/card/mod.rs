//! A CUDA card, through the driver alone: no toolkit to build, and no panic where
//! there is no driver or only a part of it.

pub(crate) mod compile;
pub(crate) mod image;
pub(crate) mod loaded;
pub(crate) mod properties;

use crate::device::card::loaded::{Loaded, failure};
use crate::device::card::properties::CardProperties;
use crate::device::{Argument, Device, Launch, ReplayDevice};
use crate::error::DeviceError;
use cudarc::driver::{CudaGraph, CudaStream, DriverError, result, sys};
use std::sync::Arc;

/// A card with a stream of its own, in which everything that is asked is done in order. It belongs to one
/// thread at a time; other threads have streams of their own, which run beside this one.
pub(crate) struct Cuda {
    loaded: Arc<Loaded>,
    stream: Arc<CudaStream>,
}

/// Memory of a card.
pub(crate) struct CardMemory {
    address: sys::CUdeviceptr,
    stream: Arc<CudaStream>,
}

// SAFETY: as for `Loaded`.
#[allow(unsafe_code, reason = "see Loaded")]
unsafe impl Send for CardMemory {}

impl Drop for CardMemory {
    fn drop(&mut self) {
        // Kernels may still work with it. A context that is gone has taken its memory with it.
        if self.stream.synchronize().is_ok() {
            // SAFETY: allocated once, freed once, and the context was bound to wait for the stream.
            #[allow(unsafe_code, reason = "the interface of the driver")]
            let freed = unsafe { result::free_sync(self.address) };
            if let Err(error) = freed {
                tracing::warn!(%error, "device memory was not freed");
            }
        }
    }
}

impl Cuda {
    /// A new stream on a card of its own.
    ///
    /// # Errors
    /// As [`Loaded::open`].
    pub(crate) fn open(ordinal: usize) -> Result<Self, DeviceError> {
        Self::new(&Arc::new(Loaded::open(ordinal)?))
    }

    /// A new stream on a card that may have others.
    ///
    /// # Errors
    /// [`DeviceError`] if the driver has none.
    pub(crate) fn new(loaded: &Arc<Loaded>) -> Result<Self, DeviceError> {
        let stream = loaded.context.new_stream().map_err(failure("cuStreamCreate"))?;
        Ok(Self { loaded: Arc::clone(loaded), stream })
    }

    /// The card as the driver describes it.
    ///
    /// # Errors
    /// [`DeviceError`] if it does not answer.
    pub(crate) fn properties(&self) -> Result<CardProperties, DeviceError> {
        self.loaded.properties()
    }

    /// Bytes of the card's memory that are free.
    ///
    /// # Errors
    /// [`DeviceError`] if the driver does not answer.
    pub(crate) fn free_bytes(&self) -> Result<usize, DeviceError> {
        self.bind()?;
        result::mem_get_info().map(|(free, _)| free).map_err(failure("cuMemGetInfo"))
    }

    fn bind(&self) -> Result<(), DeviceError> {
        self.loaded.context.bind_to_thread().map_err(failure("cuCtxSetCurrent"))
    }

    fn wait(&self) -> Result<(), DeviceError> {
        self.stream.synchronize().map_err(failure("cuStreamSynchronize"))
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // The kernels are unloaded when nobody has them any more, and never if one of them may still run.
        if let Err(error) = self.wait() {
            tracing::warn!(%error, "a stream did not come to its end");
            std::mem::forget(Arc::clone(&self.loaded));
        }
    }
}

/// Whether nothing but memory is missing; after a kernel has failed, every later call fails with the error of
/// that kernel.
fn is_full(error: DriverError) -> bool {
    error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY
}

impl Device for Cuda {
    type Memory = CardMemory;

    fn allocate(&self, bytes: usize) -> Result<CardMemory, DeviceError> {
        self.bind()?;
        // SAFETY: the context is bound.
        #[allow(unsafe_code, reason = "the interface of the driver")]
        let allocated = unsafe { result::malloc_sync(bytes) };
        let address = allocated.map_err(|error| match is_full(error) {
            true => DeviceError::Memory { bytes },
            false => failure("cuMemAlloc")(error),
        })?;
        Ok(CardMemory { address, stream: Arc::clone(&self.stream) })
    }

    fn address(&self, memory: &CardMemory) -> u64 {
        memory.address
    }

    fn upload(&self, memory: &CardMemory, bytes: &[u8]) -> Result<(), DeviceError> {
        self.bind()?;
        // SAFETY: the memory is live and no shorter than `bytes`. They are pageable, and such
        // the driver has copied elsewhere when the call returns; where it need not do that, the
        // copy is waited for before the borrow ends.
        #[allow(unsafe_code, reason = "the interface of the driver")]
        let copied = unsafe { result::memcpy_htod_async(memory.address, bytes, self.stream.cu_stream()) };
        let waited = if self.loaded.reaches_host { self.wait() } else { Ok(()) };
        copied.map_err(failure("cuMemcpyHtoDAsync")).and(waited)
    }

    fn download(&self, memory: &CardMemory, bytes: &mut [u8]) -> Result<(), DeviceError> {
        // Binds the context, too.
        self.wait()?;
        // SAFETY: as above; the copy is done when the stream has come to its end, and before the borrow ends.
        #[allow(unsafe_code, reason = "the interface of the driver")]
        let copied = unsafe { result::memcpy_dtoh_async(bytes, memory.address, self.stream.cu_stream()) };
        copied.map_err(failure("cuMemcpyDtoHAsync")).and(self.wait())
    }

    #[allow(unsafe_code, reason = "kernels trust their arguments")]
    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        let Launch { kernel, grid, arguments, cost: _ } = *launch;
        let failed = |reason: String| DeviceError::Kernel { kernel, reason };
        self.bind()?;
        let function =
            *self.loaded.functions.get(kernel).ok_or_else(|| failed("there is no such kernel".into()))?;
        if grid.shared_bytes as usize > self.loaded.shared_bytes_max {
            return Err(failed(format!("{} bytes of shared memory", grid.shared_bytes)));
        }
        let mut values: Vec<u64> = arguments
            .iter()
            .map(|argument| match *argument {
                Argument::Address(address) => address,
                Argument::Int(value) => u64::from(value as u32),
                Argument::Float(value) => u64::from(value.to_bits()),
            })
            .collect();
        let mut pointers: Vec<_> = values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
        // SAFETY: values of four bytes lie in the low half of a little-endian u64; the driver copies them
        // before it returns; the caller vouches for the rest.
        let launched = unsafe {
            result::launch_kernel(
                function,
                (grid.blocks.0, grid.blocks.1, 1),
                (grid.threads, 1, 1),
                grid.shared_bytes,
                self.stream.cu_stream(),
                &mut pointers,
            )
        };
        launched.map_err(|error| failed(error.to_string()))
    }
}

/// A CUDA graph.
pub(crate) struct Recording(CudaGraph);

// SAFETY: as for `Loaded`; a graph is used by one thread at a time, the one that has the card.
#[allow(unsafe_code, reason = "see Loaded")]
unsafe impl Send for Recording {}

impl ReplayDevice for Cuda {
    type Recording = Recording;

    fn record(&self, launches: impl FnOnce() -> Result<(), DeviceError>) -> Result<Recording, DeviceError> {
        let begun = self.stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
        begun.map_err(failure("cuStreamBeginCapture"))?;
        let launched = launches();
        // In any case, lest the stream goes on noting.
        let graph =
            self.stream.end_capture(sys::CUgraphInstantiate_flags(0)).map_err(failure("cuStreamEndCapture"));
        launched?;
        let none = || DeviceError::Driver { call: "cuStreamEndCapture", reason: "no graph".into() };
        graph?.map(Recording).ok_or_else(none)
    }

    #[allow(unsafe_code, reason = "addresses were noted")]
    unsafe fn replay(&self, recording: &Recording) -> Result<(), DeviceError> {
        recording.0.launch().map_err(failure("cuGraphLaunch"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_full_only_if_the_driver_says_so() {
        use sys::CUresult as Code;
        for (code, full) in [
            (Code::CUDA_ERROR_OUT_OF_MEMORY, true),
            (Code::CUDA_ERROR_ILLEGAL_ADDRESS, false),
            (Code::CUDA_ERROR_LAUNCH_FAILED, false),
            (Code::CUDA_ERROR_INVALID_VALUE, false),
            (Code::CUDA_ERROR_ECC_UNCORRECTABLE, false),
        ] {
            // The driver, which is not there, has the names of errors.
            assert_eq!(is_full(DriverError(code)), full, "{}", code as u32);
        }
    }

    #[test]
    fn a_host_without_a_card_is_told_so() {
        match Cuda::open(0) {
            Ok(card) => println!("found {}", card.loaded.describe()),
            Err(error) => {
                println!("skipped: {error}");
                assert!(matches!(
                    error,
                    DeviceError::Absent(_) | DeviceError::Unsupported(_) | DeviceError::Driver { .. }
                ));
            }
        }
        assert!(Cuda::open(usize::MAX).is_err());
    }
}
