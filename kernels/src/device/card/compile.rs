//! The run-time compiler NVRTC, where it is installed: for `scripts/build-kernels`, and for a
//! card when the kernels' sources were changed.

use crate::device::card::image::OPTIONS;
use cudarc::nvrtc::{result, sys};
use std::ffi::{CStr, CString};

/// What the compiler made of a source.
#[derive(Debug)]
pub struct Compiled {
    /// A cubin, or PTX for a virtual architecture.
    pub image: Vec<u8>,
    /// What compiler and assembler say.
    pub log: String,
}

/// Why nothing was compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The library of the compiler is not installed.
    #[error("libnvrtc is not installed")]
    Absent,
    /// The compiler refused.
    #[error("the compiler failed for {target}: {log}")]
    Failed {
        /// The architecture that was asked for.
        target: String,
        /// What the compiler says.
        log: String,
    },
}

/// Whether NVRTC can be loaded.
#[must_use]
pub fn is_compiler_present() -> bool {
    // SAFETY: opens and closes a library of the system.
    #[allow(unsafe_code, reason = "loads a library")]
    unsafe {
        sys::is_culib_present()
    }
}

/// Compiles a source for one of [`crate::device::card::image::TARGETS`].
///
/// # Errors
/// [`CompileError`] if there is no compiler or it fails.
pub fn compile(source: &str, target: &str) -> Result<Compiled, CompileError> {
    if !is_compiler_present() {
        return Err(CompileError::Absent);
    }
    let failed = |log: String| CompileError::Failed { target: target.to_owned(), log };
    let text = CString::new(source).map_err(|error| failed(error.to_string()))?;
    let program = result::create_program(&text, Some(c"kernels.cu")).map_err(|e| failed(e.to_string()))?;
    let mut options = vec![format!("--gpu-architecture={target}")];
    options.extend(OPTIONS.map(String::from));
    // SAFETY: the program is live until it is destroyed at the end, buffers have the sizes that the
    // library asks for, and the log ends in a zero.
    #[allow(unsafe_code, reason = "the interface of NVRTC")]
    unsafe {
        let compiled = result::compile_program(program, &options);
        let log = result::get_program_log(program).unwrap_or_default();
        let log = if log.is_empty() {
            String::new()
        } else {
            CStr::from_ptr(log.as_ptr()).to_string_lossy().into_owned()
        };
        let image = compiled.and_then(|()| {
            if target.starts_with("sm_") {
                let mut bytes = 0;
                sys::nvrtcGetCUBINSize(program, &raw mut bytes).result()?;
                let mut image = vec![0u8; bytes];
                sys::nvrtcGetCUBIN(program, image.as_mut_ptr().cast()).result()?;
                Ok(image)
            } else {
                // With the zero at its end, which the driver wants.
                Ok(result::get_ptx(program)?.into_iter().map(|c| c as u8).collect())
            }
        });
        let destroyed = result::destroy_program(program);
        match image.and_then(|image| destroyed.map(|()| image)) {
            Ok(image) => Ok(Compiled { image, log }),
            Err(error) => Err(failed(format!("{error}\n{log}"))),
        }
    }
}
