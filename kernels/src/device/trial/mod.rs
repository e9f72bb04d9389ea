//! Whether a device evaluates as the CPU does, before it is trusted with anything.

pub(crate) mod comparison;
pub(crate) mod evaluations;
pub(crate) mod samples;

use crate::device::Device;
use crate::error::DeviceError;
use rules::{Board, Config};

/// Has a device evaluate positions of random games, in one batch, and compares the answers with the CPU's as
/// `ringrift gpu-check` does.
///
/// # Errors
/// [`DeviceError::Unsupported`] if they differ, or what the device says.
pub(crate) fn trial<D: Device>(device: D) -> Result<(), DeviceError> {
    let config = Config { board: Board::Hex8, seats: 2 };
    let found = evaluations::evaluations(|| Ok(device), config, (4, 32), &[32])?;
    let wrong = found.into_iter().find_map(|one| Some(format!("{}: {}", one.what, one.wrong?)));
    wrong.map_or(Ok(()), |wrong| Err(DeviceError::Unsupported(wrong)))
}
