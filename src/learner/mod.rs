//! What a node learns with: self-play, the replay window, training runs, matches and their statistics.

pub mod arena;
pub mod evaluation;
mod game;
pub mod selfplay;
pub mod sprt;
pub mod train;
pub mod window;

pub use window::{ReplayWindow, WindowError};

use kernels::{Architecture, Checkpoint};
use rules::Config;

/// Seed of the untrained networks: every node makes the same.
const SEED: u64 = 0;

/// Champion 0 of a configuration, encoded: the same bytes on every machine.
#[must_use]
pub fn seeded(config: Config) -> Vec<u8> {
    Checkpoint::seeded(config, Architecture::small(config.board), SEED).to_bytes()
}
