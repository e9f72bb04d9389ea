//! What a node learns with: self-play, the replay window, training runs, matches and their statistics.

pub mod train;
pub mod window;

pub use window::{ReplayWindow, WindowError};
