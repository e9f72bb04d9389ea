//! Instruments around the kernels.

pub mod check;
mod games;
mod images;
mod occupancy;
mod peaks;
mod prediction;
mod rates;
mod residency;
mod tables;
mod time;

pub use games::{GamesRate, games_rate};
pub use occupancy::{Limit, Occupancy};
pub use peaks::{Peaks, h200};
pub use prediction::{ASSUMPTIONS, PREDICTION_VERSION, Prediction, batches, games_at_once};
pub use rates::{KernelShare, NetworkRate, forward_rate, sizes, training_rate};
pub use residency::{KernelOccupancy, occupancies};
pub use tables::print_prediction;
pub use time::Bound;
