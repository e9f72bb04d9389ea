//! What proves a card: comparisons with the CPU and with golden vectors, and measurements.
//!
//! Invariant: everything here is generic over the device, so that tests prove in emulation what then proves a card; and
//! nothing goes on on the CPU when a device fails.

mod comparison;
mod golden;
mod inputs;
pub(crate) mod samples;

pub use comparison::{Comparison, Tolerance};
pub(crate) use golden::PROBES;
pub use golden::Vector;
