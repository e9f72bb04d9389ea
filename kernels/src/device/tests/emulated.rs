//! Emulation as a device: memory with red zones, launches under a seeded schedule.

use crate::device::cost::Cost;
use crate::device::kernel::KernelName;
use crate::device::kernel::LaunchGrid;
use crate::device::{Argument, Device, Launch, ReplayDevice};
use crate::error::DeviceError;
use parking_lot::Mutex;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::sync::Arc;

/// Bytes before and behind an allocation that nobody may write.
const RED_ZONE: usize = 256;
const RED: u8 = 0xa5;
/// Of addresses.
const ALIGNMENT: usize = 256;
/// What memory holds before it is written: as a number of any kind, not one.
const UNWRITTEN: u8 = 0xff;

/// The cost of a launch that nobody predicts.
pub(crate) const UNASKED: Cost = Cost::Uncounted("emulation does not predict");

/// A device that runs kernels on the CPU.
pub(crate) struct Emulated {
    seed: u64,
    /// Only so many blocks of a launch are run, the last ones, and memory is zeros that take no room until
    /// they are touched: for arrays of gigabytes.
    last_blocks: Option<u32>,
    /// A copy with a planted mistake, launched in place of a kernel.
    mutant: Option<(KernelName, KernelName)>,
    live: Arc<Mutex<Vec<Allocation>>>,
    /// Launches that are noted instead of being done.
    noted: Mutex<Option<Vec<NotedLaunch>>>,
}

type NotedLaunch = (KernelName, LaunchGrid, Vec<Argument>);

#[derive(Clone, Copy, PartialEq)]
struct Allocation {
    /// Where the allocation begins, before the red zone.
    base: usize,
    /// Its address.
    start: usize,
    bytes: usize,
}

impl Allocation {
    fn at(self) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.start)
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes + 2 * RED_ZONE + ALIGNMENT, 16).unwrap()
    }

    fn intact(self) -> bool {
        // SAFETY: the red zones of a live allocation.
        #[allow(unsafe_code, reason = "memory that kernels write is raw")]
        let zones = unsafe {
            [
                std::slice::from_raw_parts(self.at().sub(RED_ZONE), RED_ZONE),
                std::slice::from_raw_parts(self.at().add(self.bytes), RED_ZONE),
            ]
        };
        zones.into_iter().flatten().all(|&byte| byte == RED)
    }
}

/// Memory of the emulated device.
pub(crate) struct EmulatedMemory {
    block: Allocation,
    live: Arc<Mutex<Vec<Allocation>>>,
}

impl Drop for EmulatedMemory {
    fn drop(&mut self) {
        self.live.lock().retain(|block| *block != self.block);
        // SAFETY: allocated in `allocate` with this layout.
        #[allow(unsafe_code, reason = "memory that kernels write is raw")]
        unsafe {
            dealloc(
                std::ptr::with_exposed_provenance_mut(self.block.base),
                Allocation::layout(self.block.bytes),
            );
        }
    }
}

impl Emulated {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, last_blocks: None, mutant: None, live: Arc::default(), noted: Mutex::default() }
    }

    /// Runs only the last so many blocks of every launch, on memory that may be larger than what there is.
    pub(crate) fn vast(seed: u64, last_blocks: u32) -> Self {
        Self { last_blocks: Some(last_blocks), ..Self::new(seed) }
    }

    /// Launches a copy with a planted mistake in place of a kernel.
    pub(crate) fn with_mutant(seed: u64, kernel: KernelName, mutant: KernelName) -> Self {
        Self { mutant: Some((kernel, mutant)), ..Self::new(seed) }
    }

    /// Another of the same, with memory of its own.
    pub(crate) fn again(&self) -> Self {
        Self { last_blocks: self.last_blocks, mutant: self.mutant, ..Self::new(self.seed) }
    }

    /// Writes bytes from an address on.
    pub(crate) fn poke(&self, address: u64, bytes: &[u8]) {
        let at = self.within(address as usize, bytes.len());
        // SAFETY: within a live allocation, which no borrowed slice overlaps.
        #[allow(unsafe_code, reason = "memory that kernels write is raw")]
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
        }
    }

    /// Reads bytes from an address on.
    pub(crate) fn peek(&self, address: u64, bytes: &mut [u8]) {
        let at = self.within(address as usize, bytes.len());
        // SAFETY: as in `poke`.
        #[allow(unsafe_code, reason = "memory that kernels write is raw")]
        unsafe {
            std::ptr::copy_nonoverlapping(at, bytes.as_mut_ptr(), bytes.len());
        }
    }

    fn within(&self, at: usize, len: usize) -> *mut u8 {
        let holds = |block: &Allocation| at >= block.start && at + len <= block.start + block.bytes;
        assert!(self.live.lock().iter().any(holds), "no memory at {at:x}");
        std::ptr::with_exposed_provenance_mut(at)
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }
}

impl Device for Emulated {
    type Memory = EmulatedMemory;

    fn allocate(&self, bytes: usize) -> Result<EmulatedMemory, DeviceError> {
        // SAFETY: the layout is not empty, and the pointers stay within it.
        #[allow(unsafe_code, reason = "memory that kernels write is raw")]
        let block = unsafe {
            let layout = Allocation::layout(bytes);
            let base = if self.last_blocks.is_some() { alloc_zeroed(layout) } else { alloc(layout) };
            assert!(!base.is_null(), "out of memory");
            let before = base.add(base.addr().wrapping_neg() % ALIGNMENT);
            let start = before.add(RED_ZONE);
            before.write_bytes(RED, RED_ZONE);
            start.add(bytes).write_bytes(RED, RED_ZONE);
            if self.last_blocks.is_none() {
                start.write_bytes(UNWRITTEN, bytes);
            }
            Allocation { base: base.expose_provenance(), start: start.expose_provenance(), bytes }
        };
        self.live.lock().push(block);
        Ok(EmulatedMemory { block, live: Arc::clone(&self.live) })
    }

    fn address(&self, memory: &EmulatedMemory) -> u64 {
        memory.block.start as u64
    }

    fn upload(&self, memory: &EmulatedMemory, bytes: &[u8]) -> Result<(), DeviceError> {
        assert!(bytes.len() <= memory.block.bytes);
        // SAFETY: both ranges are live, and a borrowed slice does not overlap device memory.
        #[allow(unsafe_code, reason = "memory that kernels write is raw")]
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.block.at(), bytes.len());
        }
        Ok(())
    }

    fn download(&self, memory: &EmulatedMemory, bytes: &mut [u8]) -> Result<(), DeviceError> {
        assert!(bytes.len() <= memory.block.bytes);
        // SAFETY: as in `upload`.
        #[allow(unsafe_code, reason = "memory that kernels write is raw")]
        unsafe {
            std::ptr::copy_nonoverlapping(memory.block.at(), bytes.as_mut_ptr(), bytes.len());
        }
        Ok(())
    }

    #[allow(unsafe_code, reason = "kernels trust their arguments")]
    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), DeviceError> {
        let Launch { kernel, grid, arguments, cost: _ } = *launch;
        if let Some(noted) = self.noted.lock().as_mut() {
            noted.push((kernel, grid, arguments.to_vec()));
            return Ok(());
        }
        let arguments: Vec<emu::Argument> = arguments
            .iter()
            .map(|argument| match *argument {
                Argument::Address(address) => (address, 8),
                Argument::Int(value) => (u64::from(value as u32), 4),
                Argument::Float(value) => (u64::from(value.to_bits()), 4),
            })
            .collect();
        let LaunchGrid { blocks, threads, shared_bytes } = grid;
        let first_block = self.last_blocks.map_or(0, |last| (blocks.0 * blocks.1).saturating_sub(last));
        let grid = emu::EmulatedGrid { blocks, first_block, threads, shared_bytes };
        let kernel = match self.mutant {
            Some((of, mutant)) if of == kernel => mutant,
            Some(_) | None => kernel,
        };
        let failed = |reason: String| DeviceError::Kernel { kernel, reason };
        // SAFETY: the caller's promise is what emulation asks for.
        let done = unsafe { emu::launch(kernel, grid, &arguments, self.seed) };
        done.map_err(failed)?;
        if self.live.lock().iter().all(|block| block.intact()) {
            Ok(())
        } else {
            Err(failed("wrote outside of its arrays".into()))
        }
    }
}

impl ReplayDevice for Emulated {
    type Recording = Vec<NotedLaunch>;

    fn record(
        &self,
        launches: impl FnOnce() -> Result<(), DeviceError>,
    ) -> Result<Vec<NotedLaunch>, DeviceError> {
        *self.noted.lock() = Some(Vec::new());
        let launched = launches();
        let noted = self.noted.lock().take();
        launched?;
        Ok(noted.unwrap())
    }

    #[allow(unsafe_code, reason = "addresses were noted")]
    unsafe fn replay(&self, recording: &Vec<NotedLaunch>) -> Result<(), DeviceError> {
        for (kernel, grid, arguments) in recording {
            // SAFETY: they were launched like this when they were noted, and the memory is still there.
            unsafe { self.launch(&Launch { kernel, grid: *grid, arguments, cost: &|| UNASKED })? };
        }
        Ok(())
    }
}
