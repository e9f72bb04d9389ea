//! What proves a card: comparisons with the CPU, with golden vectors and with itself, and measurements.
//!
//! Invariant: everything but [`Card`] is generic over the device, so that tests prove in emulation what then proves a card;
//! and nothing goes on on the CPU when a device fails.

pub(crate) mod again;
mod card;
pub(crate) mod check;
pub(crate) mod comparison;
pub(crate) mod golden;
mod inputs;
pub(crate) mod recorded;
pub(crate) mod samples;
pub(crate) mod timing;
pub(crate) mod waves;
pub(crate) mod waves_speed;

pub use card::{Card, CardEvaluator, Evaluated};
pub use comparison::{Comparison, Tolerance};
pub use golden::Vector;
pub use samples::mean_moves;
pub use timing::{Effort, Speed};
pub use waves::Waves;
pub use waves_speed::WavesSpeed;
