//! Typed arrays in a device's memory.

use crate::device::Device;
use crate::error::DeviceError;
use std::marker::PhantomData;

/// The upper half of an f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Bf16(pub(crate) u16);

impl Bf16 {
    /// Rounds to the nearest, ties to even.
    pub(crate) fn of(value: f32) -> Self {
        let bits = value.to_bits();
        if value.is_nan() {
            return Self(0x7fff);
        }
        Self((bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16)
    }

    #[cfg(test)]
    pub(crate) fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

/// Numbers that are nothing but their bytes.
///
/// # Safety
/// Every pattern of bytes is a value, and a value has no padding.
#[allow(unsafe_code, reason = "lets arrays be copied as bytes")]
pub(crate) unsafe trait Plain: Copy + Default + 'static {}

macro_rules! plain {
    ($($t:ty),*) => {
        $(
            // SAFETY: a number, or a wrapper of one that is `repr(transparent)`.
            #[allow(unsafe_code, reason = "see Plain")]
            unsafe impl Plain for $t {}
        )*
    };
}
plain!(u8, u16, u32, u64, f32, f64, Bf16);

/// An array of a device.
pub(crate) struct Array<D: Device, T> {
    memory: D::Memory,
    address: u64,
    len: usize,
    element: PhantomData<T>,
}

impl<D: Device, T: Plain> Array<D, T> {
    /// An array with undefined contents.
    pub(crate) fn new(device: &D, len: usize) -> Result<Self, DeviceError> {
        // Never empty, so that there is an address.
        let memory = device.allocate(len.max(1) * size_of::<T>())?;
        let address = device.address(&memory);
        Ok(Self { memory, address, len, element: PhantomData })
    }

    /// An array of values.
    pub(crate) fn from_slice(device: &D, values: &[T]) -> Result<Self, DeviceError> {
        let array = Self::new(device, values.len())?;
        array.write(device, values)?;
        Ok(array)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// Writes the first values.
    ///
    /// # Panics
    /// If there are more values than the array has.
    pub(crate) fn write(&self, device: &D, values: &[T]) -> Result<(), DeviceError> {
        assert!(values.len() <= self.len, "{} values for {}", values.len(), self.len);
        // SAFETY: plain values are their bytes.
        #[allow(unsafe_code, reason = "copies plain values as bytes")]
        let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) };
        device.upload(&self.memory, bytes)
    }

    /// Reads the first values.
    ///
    /// # Panics
    /// If there are more values than the array has.
    pub(crate) fn read_into(&self, device: &D, values: &mut [T]) -> Result<(), DeviceError> {
        assert!(values.len() <= self.len, "{} values of {}", values.len(), self.len);
        // SAFETY: plain values are their bytes, and any bytes are values.
        #[allow(unsafe_code, reason = "copies plain values as bytes")]
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) };
        device.download(&self.memory, bytes)
    }

    /// The first values.
    pub(crate) fn read(&self, device: &D, len: usize) -> Result<Vec<T>, DeviceError> {
        let mut values = vec![T::default(); len];
        self.read_into(device, &mut values)?;
        Ok(values)
    }
}

/// Makes room for `len` elements; what was there is lost.
pub(crate) fn grow<D: Device, T: Plain>(
    device: &D,
    array: &mut Array<D, T>,
    len: usize,
) -> Result<(), DeviceError> {
    if array.len() < len {
        *array = Array::new(device, len.next_power_of_two())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_to_nearest_even() {
        for (value, expected) in [
            (1.0, 0x3f80),
            (1.0 + 1.0 / 256.0, 0x3f80),
            (1.0 + 3.0 / 256.0, 0x3f82),
            (-2.0, 0xc000),
            (0.0, 0),
        ] {
            assert_eq!(Bf16::of(value).0, expected, "{value}");
        }
        assert_eq!(Bf16::of(f32::MAX).to_f32(), f32::INFINITY);
        assert!(Bf16::of(f32::NAN).to_f32().is_nan());
        assert_eq!(Bf16::of(f32::from_bits(0x0000_8001)).0, 1);
    }
}
