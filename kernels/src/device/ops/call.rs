//! The one place where kernels are called: arguments are collected
//! with a check of every array, then launched.
//!
//! Invariant: a launch says what it costs, because only [`Costed`] can be launched.

use crate::device::array::{Array, Plain};
use crate::device::cost::{Cost, Workload};
use crate::device::kernel::KernelName;
use crate::device::kernel::LaunchGrid;
use crate::device::{Argument, Device, Launch};
use crate::error::DeviceError;

/// An array from an element on.
pub(crate) type ArrayPart<'a, D, T> = (&'a Array<D, T>, usize);

/// The most elements, threads and moves of a launch: a kernel may add the threads of a
/// block to such a number without overflow.
pub(crate) const COUNT_MAX: usize = 1 << 30;
/// The most blocks of a grid in its second dimension.
const BLOCKS_Y_MAX: usize = 0xffff;
/// Threads of a block where every element has a thread of its own.
const EACH_THREADS: usize = 128;

/// The arguments of a launch, in the order of the kernel's own.
pub(super) struct Call {
    kernel: KernelName,
    arguments: Vec<Argument>,
}

impl Call {
    pub(super) fn new(kernel: KernelName) -> Self {
        Self { kernel, arguments: Vec::with_capacity(16) }
    }

    /// An array from element `start` on, of which the kernel uses `len`.
    ///
    /// # Panics
    /// If the array is shorter.
    pub(super) fn part<D: Device, T: Plain>(
        mut self,
        (array, start): ArrayPart<'_, D, T>,
        len: usize,
    ) -> Self {
        let fits = start.checked_add(len).is_some_and(|end| end <= array.len());
        assert!(fits, "{}: {start} + {len} of {}", self.kernel, array.len());
        self.arguments.push(Argument::Address(array.address() + (start * size_of::<T>()) as u64));
        self
    }

    pub(super) fn array<D: Device, T: Plain>(self, array: &Array<D, T>, len: usize) -> Self {
        self.part((array, 0), len)
    }

    pub(super) fn optional<D: Device, T: Plain>(mut self, array: Option<&Array<D, T>>, len: usize) -> Self {
        match array {
            Some(array) => self.array(array, len),
            None => {
                self.arguments.push(Argument::Address(0));
                self
            }
        }
    }

    pub(super) fn optional_part<D: Device, T: Plain>(
        self,
        part: Option<ArrayPart<'_, D, T>>,
        len: usize,
    ) -> Self {
        match part {
            Some(part) => self.part(part, len),
            None => self.optional::<D, T>(None, 0),
        }
    }

    /// # Panics
    /// If the value is larger than kernels count.
    pub(super) fn int(mut self, value: usize) -> Self {
        assert!(value <= COUNT_MAX, "{}: {value} is more than kernels count", self.kernel);
        self.arguments.push(Argument::Int(value as i32));
        self
    }

    pub(super) fn word(mut self, value: u32) -> Self {
        self.arguments.push(Argument::Int(value as i32));
        self
    }

    pub(super) fn float(mut self, value: f32) -> Self {
        self.arguments.push(Argument::Float(value));
        self
    }

    /// What the launch has to do. The closure is called only by a device that predicts.
    pub(super) fn costs<W: Fn(LaunchGrid) -> Workload>(self, work: W) -> Costed<impl Fn(LaunchGrid) -> Cost> {
        Costed { call: self, cost: move |grid| Cost::Counted(work(grid)) }
    }

    /// Says why the launch is not predicted by itself.
    pub(super) fn uncounted(self, why: &'static str) -> Costed<impl Fn(LaunchGrid) -> Cost> {
        Costed { call: self, cost: move |_| Cost::Uncounted(why) }
    }
}

/// A call whose cost is known.
pub(super) struct Costed<C> {
    call: Call,
    cost: C,
}

impl<C: Fn(LaunchGrid) -> Cost> Costed<C> {
    /// Launches a thread for each of `count` elements.
    pub(super) fn each<D: Device>(self, device: &D, count: usize) -> Result<(), DeviceError> {
        assert!(count <= COUNT_MAX, "{}: {count} elements are more than kernels count", self.call.kernel);
        self.launch(device, (count.div_ceil(EACH_THREADS), 1), EACH_THREADS as u32, 0)
    }

    /// Launches so many blocks of so many threads, each block with `shared` bytes of dynamic shared memory.
    pub(super) fn launch<D: Device>(
        self,
        device: &D,
        blocks: (usize, usize),
        threads: u32,
        shared: usize,
    ) -> Result<(), DeviceError> {
        if blocks.0 * blocks.1 == 0 {
            return Ok(());
        }
        let kernel = self.call.kernel;
        assert!(blocks.0 <= COUNT_MAX && blocks.1 <= BLOCKS_Y_MAX, "{kernel}: a grid of {blocks:?}");
        let blocks = (blocks.0 as u32, blocks.1 as u32);
        let grid = LaunchGrid { blocks, threads, shared_bytes: shared as u32 };
        let cost = || (self.cost)(grid);
        let launch = Launch { kernel, grid, arguments: &self.call.arguments, cost: &cost };
        // SAFETY: each caller lists the arguments of its kernel in order, with arrays that it made on this
        // device; every array was found to be as long as the kernel's description says, and is borrowed until
        // the launch is queued, behind which the device frees nothing before it is done; what indices are in
        // arrays point into those (see the top of `ops`).
        #[allow(unsafe_code, reason = "the one place where kernels are called")]
        unsafe {
            device.launch(&launch)
        }
    }
}
