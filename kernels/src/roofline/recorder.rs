//! A device that carries nothing out and remembers every launch: what a pass would ask of a card.

use crate::device::{Argument, Device, Grid, KernelName};
use crate::error::DeviceError;
use std::sync::{Arc, Mutex, PoisonError};

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Launch {
    pub(crate) kernel: KernelName,
    pub(crate) grid: Grid,
    /// The numbers among the arguments; negative ones are larger than any other.
    pub(crate) ints: Vec<usize>,
    /// Which of the arrays among the arguments are there.
    pub(crate) arrays: Vec<bool>,
}

/// Remembers launches and how many bytes went up.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) launches: Vec<Launch>,
    pub(crate) bytes_up: usize,
    /// How many launches there were before each read.
    pub(crate) reads_after: Vec<usize>,
    /// The first address that was never given out.
    pub(crate) next: u64,
}

impl Recorder {
    fn with<R>(&self, change: impl FnOnce(&mut Recorded) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was recorded since the last call.
    pub(crate) fn take(&self) -> Recorded {
        self.with(|recorded| {
            let next = recorded.next;
            std::mem::replace(recorded, Recorded { next, ..Recorded::default() })
        })
    }
}

impl Device for Recorder {
    /// An address.
    type Memory = u64;

    fn allocate(&self, bytes: usize) -> Result<u64, DeviceError> {
        Ok(self.with(|recorded| {
            recorded.next += 256;
            let at = recorded.next;
            recorded.next = (at + bytes as u64).next_multiple_of(256);
            at
        }))
    }

    fn address(&self, memory: &u64) -> u64 {
        *memory
    }

    fn upload(&self, _memory: &u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.with(|recorded| recorded.bytes_up += bytes.len());
        Ok(())
    }

    /// Ones, as f32: every number is finite.
    fn download(&self, _memory: &u64, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.with(|recorded| recorded.reads_after.push(recorded.launches.len()));
        bytes.chunks_exact_mut(4).for_each(|word| word.copy_from_slice(&1.0f32.to_le_bytes()));
        Ok(())
    }

    #[allow(unsafe_code, reason = "part of the trait; nothing is run")]
    unsafe fn launch(
        &self,
        kernel: KernelName,
        grid: Grid,
        arguments: &[Argument],
    ) -> Result<(), DeviceError> {
        let ints = arguments.iter().filter_map(|argument| match *argument {
            Argument::Int(value) => Some(value as usize),
            Argument::Address(_) | Argument::Float(_) => None,
        });
        let arrays = arguments.iter().filter_map(|argument| match *argument {
            Argument::Address(address) => Some(address != 0),
            Argument::Int(_) | Argument::Float(_) => None,
        });
        let launch = Launch { kernel, grid, ints: ints.collect(), arrays: arrays.collect() };
        self.with(|recorded| recorded.launches.push(launch));
        Ok(())
    }
}
