//! What proves a card: comparisons with the CPU and with golden vectors, and measurements.
//!
//! Invariant: everything but [`Card`] is generic over the device, so that tests prove in emulation what then proves a card;
//! and nothing goes on on the CPU when a device fails.

mod card;
pub(crate) mod check;
pub(crate) mod comparison;
pub(crate) mod golden;
mod inputs;
pub(crate) mod samples;
pub(crate) mod timing;
pub(crate) mod waves;

pub use card::{Card, CardEvaluator, Evaluated};
pub use comparison::{Comparison, Tolerance};
pub use golden::Vector;
pub use samples::mean_moves;
pub use timing::{Effort, Speed};
pub use waves::Waves;
