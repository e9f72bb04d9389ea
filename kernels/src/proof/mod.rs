//! What proves a card: comparisons with the CPU, with golden vectors and with itself, and measurements.
//!
//! Invariant: everything but [`Card`] is generic over the device, so that tests prove in emulation what then
//! proves a card; and nothing goes on on the CPU when a device fails.

pub(crate) mod again;
pub(crate) mod card;
pub(crate) mod golden;
mod inputs;
pub(crate) mod passes;
pub(crate) mod recorded;
pub(crate) mod referee;
#[cfg(test)]
mod tests;
pub(crate) mod timing;
pub(crate) mod training;
pub(crate) mod waves;
pub(crate) mod waves_speed;

pub use crate::device::card::properties::CardProperties;
pub use crate::device::trial::comparison::{Comparison, Tolerance};
pub use crate::device::trial::samples::mean_moves;
pub use card::{Card, CardEvaluator, EvaluatorReport};
pub use golden::Vector;
pub use timing::{Effort, Speed};
pub use waves::Waves;
pub use waves_speed::WavesSpeed;

use crate::encoding::taps::Taps;
use rules::Board;

/// Which cells a convolution reads on a board: taps of a cell, and
/// `[cells, taps]`, [`rules::NONE_CELL`] off the board.
#[must_use]
pub fn neighbours(board: Board) -> (usize, &'static [u16]) {
    let taps = Taps::of(board);
    (taps.taps, &taps.sources)
}
