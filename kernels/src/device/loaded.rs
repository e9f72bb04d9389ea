//! A card with the kernels loaded, once for all its streams.
//!
//! Invariant: whatever is wrong with the driver or its library, asking for a card is an error and no panic.

use super::image::{candidates, image, manifest, source, source_hash};
use super::ops::{SHARED_BYTES_MAX, WIDTHS, tower_shared_bytes};
use super::{DeviceError, KERNELS, KernelName, compile};
use crate::roofline::Properties;
use cudarc::driver::{CudaContext, DriverError, result, sys};
use std::collections::HashMap;
use std::ffi::CString;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

/// The oldest driver that takes our cubins: CUDA 13.0.
const DRIVER_VERSION_MIN: i32 = 13_000;

/// A card with the kernels loaded, for all who use it.
pub(crate) struct Loaded {
    pub(super) context: Arc<CudaContext>,
    module: sys::CUmodule,
    pub(super) functions: HashMap<KernelName, sys::CUfunction>,
    name: String,
    /// Which image was loaded.
    image: String,
    pub(super) shared_bytes_max: usize,
    /// Whether the card reaches the host's pageable memory by itself, so that the driver need not copy it elsewhere first.
    pub(super) reaches_host: bool,
}

// SAFETY: handles of the driver may be used from any thread that the context is bound to, which every method does first,
// and from several at once; nothing is changed once everything is loaded.
#[allow(unsafe_code, reason = "handles are pointers")]
unsafe impl Send for Loaded {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "handles are pointers")]
unsafe impl Sync for Loaded {}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("name", &self.name).field("image", &self.image).finish_non_exhaustive()
    }
}

/// What a failed call to the driver is.
pub(super) fn failure(call: &'static str) -> impl Fn(DriverError) -> DeviceError {
    move |error| DeviceError::Driver { call, reason: error.to_string() }
}

/// Asks something of the driver. A library of the driver that lacks what it should have is a panic of what loads it; here
/// that is an error like every other reason why a card cannot be used.
pub(super) fn guarded<R>(ask: impl FnOnce() -> Result<R, DeviceError>) -> Result<R, DeviceError> {
    panic::catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(DeviceError::Unsupported(format!("the library of the driver cannot be used: {text}")))
    })
}

/// How many cards there are.
///
/// # Errors
/// [`DeviceError::Absent`] or [`DeviceError::Unsupported`] if there is no driver that our kernels can be loaded with.
pub(super) fn count() -> Result<usize, DeviceError> {
    guarded(|| {
        driver()?;
        let count = result::device::get_count().map_err(failure("cuDeviceGetCount"))?;
        usize::try_from(count).map_err(|error| DeviceError::Absent(error.to_string()))
    })
}

/// Which CUDA the driver is for, as in `CUDA 13.0`, once it is initialised.
///
/// # Errors
/// As [`count`].
pub(super) fn driver() -> Result<String, DeviceError> {
    // SAFETY: opens a library of the system; the calls below need it and an initialised driver, in this order.
    #[allow(unsafe_code, reason = "loads a library, and asks it for its version")]
    let version = unsafe {
        if !sys::is_culib_present() {
            return Err(DeviceError::Absent("no driver".into()));
        }
        result::init().map_err(|error| DeviceError::Absent(error.to_string()))?;
        let mut version = 0;
        sys::cuDriverGetVersion(&raw mut version).result().map_err(failure("cuDriverGetVersion"))?;
        version
    };
    let driver = format!("CUDA {}.{}", version / 1000, version % 1000 / 10);
    if version < DRIVER_VERSION_MIN {
        return Err(DeviceError::Unsupported(format!("a driver for {driver}, 13.0 is needed")));
    }
    Ok(driver)
}

impl Loaded {
    /// Opens a card and loads the kernels: its own cubin, an older one of its major version, the PTX; compiled afresh
    /// where the sources differ from what was compiled.
    ///
    /// # Errors
    /// [`DeviceError`] says why it cannot be used.
    pub(crate) fn open(ordinal: usize) -> Result<Self, DeviceError> {
        guarded(|| Self::open_trusting(ordinal))
    }

    /// [`Self::open`] for a library of the driver that has everything.
    fn open_trusting(ordinal: usize) -> Result<Self, DeviceError> {
        let cards = count()?;
        if ordinal >= cards {
            return Err(DeviceError::Absent(format!("number {ordinal} of {cards}")));
        }
        let context = CudaContext::new(ordinal).map_err(failure("cuDevicePrimaryCtxRetain"))?;
        let capability = context.compute_capability().map_err(failure("cuDeviceGetAttribute"))?;
        let capability = (capability.0.unsigned_abs(), capability.1.unsigned_abs());
        let name = context.name().map_err(failure("cuDeviceGetName"))?;
        let attribute = |of| context.attribute(of).map_err(failure("cuDeviceGetAttribute"));
        let shared =
            attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let reaches_host =
            attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS)? != 0;
        // Threads that wait for the card shall leave their core to others, for there are more of them than cores. Those that
        // do not are right all the same.
        if let Err(error) = context.set_blocking_synchronize() {
            tracing::warn!(%error, "threads that wait for the card keep their cores busy");
        }
        context.bind_to_thread().map_err(failure("cuCtxSetCurrent"))?;
        let (image, module) = load(capability, &name)?;
        let mut loaded = Self {
            context,
            module,
            functions: HashMap::new(),
            name,
            image,
            shared_bytes_max: usize::try_from(shared).unwrap_or(0),
            reaches_host,
        };
        loaded.find_functions()?;
        Ok(loaded)
    }

    /// The card and which of our images it runs.
    pub(crate) fn describe(&self) -> String {
        format!("{} ({})", self.name, self.image)
    }

    /// The card as the driver describes it.
    ///
    /// # Errors
    /// [`DeviceError`] if it does not answer.
    pub(super) fn properties(&self) -> Result<Properties, DeviceError> {
        use sys::CUdevice_attribute as Attribute;
        let attribute = |of: Attribute| self.context.attribute(of).map_err(failure("cuDeviceGetAttribute"));
        let kilohertz = |of: Attribute| attribute(of).map(|value| f64::from(value) * 1e3);
        let capability = self.context.compute_capability().map_err(failure("cuDeviceGetAttribute"))?;
        let memory = self.context.total_mem().map_err(failure("cuDeviceTotalMem"))?;
        Ok(Properties {
            name: self.name.clone(),
            capability: (capability.0.unsigned_abs(), capability.1.unsigned_abs()),
            multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?.unsigned_abs(),
            clock_hz: kilohertz(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?,
            memory_clock_hz: kilohertz(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?,
            memory_bus_bits: attribute(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?
                .unsigned_abs(),
            memory_bytes: memory as u64,
            driver: driver()?,
            image: self.image.clone(),
        })
    }

    fn find_functions(&mut self) -> Result<(), DeviceError> {
        let shared = WIDTHS.map(tower_shared_bytes).into_iter().max().unwrap_or(0).max(SHARED_BYTES_MAX);
        let shared = shared.min(self.shared_bytes_max);
        for kernel in KERNELS {
            let name = CString::new(kernel).expect("names of kernels have no zero");
            // SAFETY: the module is loaded until `self` is dropped.
            #[allow(unsafe_code, reason = "the interface of the driver")]
            let function = unsafe {
                let function = result::module::get_function(self.module, name);
                let function = function.map_err(failure("cuModuleGetFunction"))?;
                let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                let set = result::function::set_function_attribute(function, attribute, shared as i32);
                set.map_err(failure("cuFuncSetAttribute"))?;
                function
            };
            self.functions.insert(kernel, function);
        }
        Ok(())
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: loaded once, unloaded once, and none of its kernels runs any more: whoever launched them held on to
            // this until they were done.
            #[allow(unsafe_code, reason = "the interface of the driver")]
            let unloaded = unsafe { result::module::unload(self.module) };
            if let Err(error) = unloaded {
                tracing::warn!(%error, "a module was not unloaded");
            }
        }
    }
}

/// Loads the best image that the driver takes.
fn load(capability: (u32, u32), name: &str) -> Result<(String, sys::CUmodule), DeviceError> {
    let targets = candidates(capability);
    let (major, minor) = capability;
    if targets.is_empty() {
        return Err(DeviceError::Unsupported(format!(
            "{name}: compute capability {major}.{minor}, 8.0 is needed"
        )));
    }
    if manifest()?.source != source_hash() {
        let target = targets[0];
        let compiled = compile::compile(&source(), target).map_err(|error| {
            DeviceError::Unsupported(format!(
                "the kernels' sources were changed, scripts/build-kernels was not run: {error}"
            ))
        })?;
        let module = load_image(&compiled.image)?;
        return Ok((format!("{target}, compiled now"), module));
    }
    let mut reason = DeviceError::Unsupported(name.to_owned());
    for target in targets {
        match image(target).and_then(|image| load_image(&image)) {
            Ok(module) => return Ok((target.to_owned(), module)),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

fn load_image(image: &[u8]) -> Result<sys::CUmodule, DeviceError> {
    // SAFETY: a cubin says how long it is, and PTX ends in a zero; both were made by the compiler.
    #[allow(unsafe_code, reason = "the interface of the driver")]
    unsafe { result::module::load_data(image.as_ptr().cast()) }.map_err(failure("cuModuleLoadData"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_library_lacks_is_an_error() {
        let symbol = "cuNothing";
        let lacking = || panic!("Missing symbol {symbol}");
        let found: Result<(), DeviceError> = guarded(lacking);
        let expected = "the library of the driver cannot be used: Missing symbol cuNothing".to_owned();
        assert_eq!(found, Err(DeviceError::Unsupported(expected)));
        assert_eq!(guarded(|| Ok(1)), Ok(1));
        let error = DeviceError::Memory { bytes: 1 };
        assert_eq!(guarded(|| Err::<(), _>(error.clone())), Err(error));
    }
}
