//! Instruments around the kernels: what a card can do at most, what it is predicted to do, and the check of a
//! real one.
//!
//! ```text
//!   kernels::dry_run      kernels::cuda           the driver, or its absence
//!   launches with cost    registers, memory       │
//!        │                     │                  ▼
//!        │                     ▼                peaks: FLOP/s, bytes/s
//!        │            occupancy, residency        │
//!        └──────────────► time ◄──────────────────┘
//!                          │
//!            rates, games ─┴─► prediction ─► tables
//!                                  │
//!   kernels::proof ──────────► check: one report of comparisons, measurements, shares of the peak
//! ```
//!
//! Invariant: nothing of the engine depends on this crate, so a node plays and trains without it. A kernel
//! that states no cost is never predicted as if it cost nothing: its prediction is an error.
//!
//! Where to begin: `time.rs` for how work becomes time, `rates.rs` for a whole pass, `check/mod.rs` for the
//! report.

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
