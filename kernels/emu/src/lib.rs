//! Runs the CUDA kernels of the crate `kernels` on a CPU, as host C++
//! under a seeded schedule. For tests only.
//!
//! Invariant: a launch changes nothing but the memory its arguments point to, and the same seed
//! is the same schedule within every block.

use std::ffi::{CStr, CString, c_char, c_uint, c_ulonglong, c_void};

#[allow(unsafe_code, reason = "the interface to the C++ side")]
unsafe extern "C" {
    fn emu_launch(
        name: *const c_char,
        grid_x: c_uint,
        grid_y: c_uint,
        first_block: c_uint,
        threads: c_uint,
        shared_bytes: c_uint,
        arguments: *const *mut c_void,
        sizes: *const c_uint,
        count: c_uint,
        seed: c_ulonglong,
        error: *mut c_char,
        error_bytes: usize,
    );

    fn emu_kernel(i: c_uint) -> *const c_char;
}

/// The names of all kernels here: those of `cuda/`, then those with planted mistakes,
/// which begin with `planted_` or `mutant_`.
#[must_use]
pub fn kernels() -> Vec<String> {
    let name = |i: c_uint| {
        // SAFETY: the C++ side answers any number with a name that
        // lives as long as the program, or with null.
        #[allow(unsafe_code, reason = "the interface to the C++ side")]
        let name = unsafe {
            let name = emu_kernel(i);
            (!name.is_null()).then(|| CStr::from_ptr(name))
        };
        name.map(|name| name.to_string_lossy().into_owned())
    };
    (0..).map_while(name).collect()
}

/// The size of a launch, and which of its blocks are run.
#[derive(Clone, Copy, Debug)]
pub struct EmulatedGrid {
    /// Blocks, in two dimensions.
    pub blocks: (u32, u32),
    /// How many of the first blocks are left out, row by row; more than 0 only to see what the last blocks of
    /// a vast launch do.
    pub first_block: u32,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub shared_bytes: u32,
}

/// An argument: its bits, and how many bytes it has.
pub type Argument = (u64, u32);

/// Runs a kernel to its end. Seed 0 runs threads in order; any other seed is a schedule drawn at random.
///
/// # Errors
/// What went wrong: a deadlock, divergence, an access outside of shared memory, an
/// unknown kernel, arguments that do not fit it.
///
/// # Safety
/// Arguments of 8 bytes are addresses of memory as large as the kernel
/// needs, which nobody else uses meanwhile.
#[allow(unsafe_code, reason = "kernels work on addresses")]
pub unsafe fn launch(
    name: &str,
    grid: EmulatedGrid,
    arguments: &[Argument],
    seed: u64,
) -> Result<(), String> {
    let name = CString::new(name).map_err(|error| error.to_string())?;
    let mut values: Vec<u64> = arguments.iter().map(|&(value, _)| value).collect();
    let sizes: Vec<c_uint> = arguments.iter().map(|&(_, size)| size).collect();
    let pointers: Vec<*mut c_void> =
        values.iter_mut().map(|value| std::ptr::from_mut(value).cast()).collect();
    let mut error = [0 as c_char; 512];
    // SAFETY: every pointer is to a live local; the C++ side compares sizes with the kernel's own, ends what
    // it writes to `error` with a zero within its length, and the caller vouches for the addresses.
    let message = unsafe {
        emu_launch(
            name.as_ptr(),
            grid.blocks.0,
            grid.blocks.1,
            grid.first_block,
            grid.threads,
            grid.shared_bytes,
            pointers.as_ptr(),
            sizes.as_ptr(),
            sizes.len() as c_uint,
            seed,
            error.as_mut_ptr(),
            error.len(),
        );
        CStr::from_ptr(error.as_ptr())
    };
    if message.is_empty() { Ok(()) } else { Err(message.to_string_lossy().into_owned()) }
}
