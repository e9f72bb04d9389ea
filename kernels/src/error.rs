//! The error of every device. It stands below networks and training because a trainer on any backend may
//! return it.

use crate::network::architecture::Architecture;

/// Why a device did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// There is no driver, or no card.
    #[error("no CUDA device: {0}")]
    Absent(String),
    /// The driver or the card is too old.
    #[error("unsupported CUDA device: {0}")]
    Unsupported(String),
    /// No kernels are compiled for a network of these sizes.
    #[error("no kernels for {0}")]
    Architecture(Architecture),
    /// The device has no memory left.
    #[error("no {bytes} bytes of device memory")]
    Memory {
        /// How many bytes were asked for.
        bytes: usize,
    },
    /// A call to the driver failed.
    #[error("{call} failed: {reason}")]
    Driver {
        /// The function of the driver.
        call: &'static str,
        /// What the driver says.
        reason: String,
    },
    /// A kernel could not be launched or did not come to its end.
    #[error("kernel {kernel} failed: {reason}")]
    Kernel {
        /// The kernel's name in `cuda/`.
        kernel: &'static str,
        /// What went wrong.
        reason: String,
    },
}
