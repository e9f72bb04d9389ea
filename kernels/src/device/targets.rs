//! What positions have to teach, on a device. Reused from step to step, because memory that is freed while
//! kernels may still read it would hold them up.

use crate::device::Device;
use crate::device::array::{Array, grow};
use crate::encoding::packed::Positions;
use crate::error::DeviceError;

/// The targets of the positions that were written last.
pub(crate) struct Targets<D: Device> {
    pub(crate) index: Array<D, u32>,
    pub(crate) weight: Array<D, f32>,
    pub(crate) ends: Array<D, u32>,
    pub(crate) seats: Array<D, u8>,
    pub(crate) winners: Array<D, u8>,
}

impl<D: Device> Targets<D> {
    /// Room for the targets of up to so many positions.
    pub(crate) fn new(device: &D, positions_max: usize) -> Result<Self, DeviceError> {
        Ok(Self {
            index: Array::new(device, 0)?,
            weight: Array::new(device, 0)?,
            ends: Array::new(device, positions_max)?,
            seats: Array::new(device, positions_max)?,
            winners: Array::new(device, positions_max)?,
        })
    }

    /// Copies the targets of samples to the device.
    ///
    /// # Panics
    /// If there are more samples than there is room for, or some without targets.
    pub(crate) fn write(&mut self, device: &D, samples: &Positions) -> Result<(), DeviceError> {
        assert_eq!(samples.winners.len(), samples.len(), "samples have targets");
        grow(device, &mut self.index, samples.target_index.len())?;
        grow(device, &mut self.weight, samples.target_weight.len())?;
        self.index.write(device, &samples.target_index)?;
        self.weight.write(device, &samples.target_weight)?;
        self.ends.write(device, &samples.target_ends)?;
        self.seats.write(device, &samples.seats)?;
        self.winners.write(device, &samples.winners)
    }
}
