//! A card with the kernels loaded, once for all its streams.
//!
//! Invariant: whatever is wrong with the driver or its library, asking for a card is an error and no panic.

use crate::device::card::compile;
use crate::device::card::compile::CompileError;
use crate::device::card::image::{candidates, image, manifest, source, source_hash};
use crate::device::card::properties::CardProperties;
use crate::device::kernel::{KernelName, WIDTHS};
use crate::device::ops::tower::tower_shared_bytes;
use crate::device::ops::{self, SHARED_BYTES_MAX};
use crate::error::DeviceError;
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
    /// The image that was loaded, as in `sm_90a`.
    image: String,
    pub(super) shared_bytes_max: usize,
    /// Whether the card reaches the host's pageable memory by itself, so that the
    /// driver need not copy it elsewhere first.
    pub(super) reaches_host: bool,
}

// SAFETY: handles of the driver may be used from any thread that the context is bound to, which every method
// does first, and from several at once; nothing is changed once everything is loaded.
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

/// Turns the driver's error of a call into ours.
pub(crate) fn failure(call: &'static str) -> impl Fn(DriverError) -> DeviceError {
    move |error| DeviceError::Driver { call, reason: error.to_string() }
}

/// Asks something of the driver. A library of the driver that lacks what it should have is a panic of what
/// loads it; here that is an error like every other reason why a card cannot be used.
pub(crate) fn guarded<R>(ask: impl FnOnce() -> Result<R, DeviceError>) -> Result<R, DeviceError> {
    panic::catch_unwind(AssertUnwindSafe(ask)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(DeviceError::Unsupported(format!("the library of the driver cannot be used: {text}")))
    })
}

/// How many cards there are.
///
/// # Errors
/// [`DeviceError::Absent`] or [`DeviceError::Unsupported`] if there is no
/// driver that our kernels can be loaded with.
pub(crate) fn count() -> Result<usize, DeviceError> {
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
pub(crate) fn driver() -> Result<String, DeviceError> {
    // SAFETY: opens a library of the system; the calls below need it
    // and an initialised driver, in this order.
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
    /// Opens a card and loads the kernels: its own cubin, an older one of its major version, the PTX;
    /// compiled afresh where the sources differ from what was compiled.
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
        // Threads that wait for the card shall leave their core to others, because there are more of them
        // than cores. Threads that do not are right all the same.
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
    pub(super) fn properties(&self) -> Result<CardProperties, DeviceError> {
        use sys::CUdevice_attribute as Attribute;
        let attribute = |of: Attribute| self.context.attribute(of).map_err(failure("cuDeviceGetAttribute"));
        let kilohertz = |of: Attribute| attribute(of).map(|value| f64::from(value) * 1e3);
        let capability = self.context.compute_capability().map_err(failure("cuDeviceGetAttribute"))?;
        let memory = self.context.total_mem().map_err(failure("cuDeviceTotalMem"))?;
        Ok(CardProperties {
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
        for kernel in ops::all() {
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
            // SAFETY: loaded once, unloaded once, and none of its kernels runs any more: whoever launched
            // them held on to this until they were done.
            #[allow(unsafe_code, reason = "the interface of the driver")]
            let unloaded = unsafe { result::module::unload(self.module) };
            if let Err(error) = unloaded {
                tracing::warn!(%error, "a module was not unloaded");
            }
        }
    }
}

/// Where the image of a card comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The image is in the binary: it was compiled from the sources that are embedded beside it.
    Shipped,
    /// The image is compiled now, because the sources were changed since the images in the binary were.
    Compiled,
}

/// Decides where the image comes from, by the hash of what was compiled and that of the sources. Whether
/// there is a compiler is asked only where it is needed, because it is a library of a hundred megabytes.
///
/// # Errors
/// [`CompileError::Absent`] if it is needed and there is none.
fn origin(
    compiled: &str,
    sources: &str,
    is_compiler_present: impl FnOnce() -> bool,
) -> Result<Origin, CompileError> {
    if compiled == sources {
        Ok(Origin::Shipped)
    } else if is_compiler_present() {
        Ok(Origin::Compiled)
    } else {
        Err(CompileError::Absent)
    }
}

/// Offers images to the driver, the best first: what the driver makes of the first one that it takes, or what
/// it says of the last one if it takes none.
fn first_taken<M>(
    card: &str,
    targets: &[&'static str],
    mut take: impl FnMut(&'static str) -> Result<M, DeviceError>,
) -> Result<(&'static str, M), DeviceError> {
    let mut reason = DeviceError::Unsupported(card.to_owned());
    for &target in targets {
        match take(target) {
            Ok(module) => return Ok((target, module)),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

/// Loads the best image that the driver takes.
fn load(capability: (u32, u32), name: &str) -> Result<(String, sys::CUmodule), DeviceError> {
    let targets = candidates(capability);
    let (major, minor) = capability;
    let Some(&best) = targets.first() else {
        return Err(DeviceError::Unsupported(format!(
            "{name}: compute capability {major}.{minor}, 8.0 is needed"
        )));
    };
    let changed = |error: CompileError| {
        DeviceError::Unsupported(format!(
            "the kernels' sources were changed, scripts/build-kernels was not run: {error}"
        ))
    };
    let origin =
        origin(&manifest()?.source, &source_hash(), compile::is_compiler_present).map_err(changed)?;
    match origin {
        Origin::Shipped => {
            let take = |target: &'static str| load_image(&image(target)?);
            first_taken(name, &targets, take).map(|(target, module)| (target.to_owned(), module))
        }
        Origin::Compiled => {
            let compiled = compile::compile(&source(), best).map_err(changed)?;
            Ok((format!("{best}, compiled now"), load_image(&compiled.image)?))
        }
    }
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

    #[test]
    fn changed_sources_are_compiled_where_there_is_a_compiler() {
        for (compiled, sources, is_present, expected) in [
            ("a", "a", None, Ok(Origin::Shipped)),
            ("a", "b", Some(true), Ok(Origin::Compiled)),
            ("a", "b", Some(false), Err(CompileError::Absent)),
            ("", "b", Some(true), Ok(Origin::Compiled)),
        ] {
            let mut asked = false;
            let found = origin(compiled, sources, || {
                asked = true;
                is_present.expect("what is shipped needs no compiler")
            });
            assert_eq!((found, asked), (expected, is_present.is_some()), "{compiled:?}, {sources:?}");
        }
    }

    #[test]
    fn what_is_shipped_needs_no_compiler() {
        let shipped = origin(&manifest().unwrap().source, &source_hash(), || false);
        assert_eq!(shipped, Ok(Origin::Shipped), "run scripts/build-kernels");
    }

    #[test]
    fn the_best_image_that_the_driver_takes_is_loaded() {
        let refused = |target: &str| DeviceError::Unsupported(format!("no {target}"));
        let check = |targets: &[&'static str], takes: &[&str], expected: Result<&str, &str>, asked: usize| {
            let mut tried = Vec::new();
            let found = first_taken("a card", targets, |target| {
                tried.push(target);
                takes.contains(&target).then_some(target.len()).ok_or_else(|| refused(target))
            });
            let expected = expected
                .map(|target| (target, target.len()))
                .map_err(|reason| DeviceError::Unsupported(reason.to_owned()));
            assert_eq!(found, expected, "{targets:?} of which {takes:?} are taken");
            assert_eq!(tried, targets[..asked], "none behind the one that is taken");
        };
        let all = ["sm_89", "sm_86", "sm_80", "compute_80"];
        check(&all, &all, Ok("sm_89"), 1);
        check(&all, &["sm_80", "compute_80"], Ok("sm_80"), 3);
        check(&all, &["compute_80"], Ok("compute_80"), 4);
        check(&all, &[], Err("no compute_80"), 4);
        check(&[], &all, Err("a card"), 0);
    }
}
