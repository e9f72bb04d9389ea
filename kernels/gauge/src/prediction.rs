//! Everything that can be said of a card without one, in one document.

use crate::games::{GamesRate, games_rate};
use crate::peaks::Peaks;
use crate::rates::{NetworkRate, forward_rate, sizes, training_rate};
use crate::residency::{KernelOccupancy, occupancies};
use kernels::TrainError;
use kernels::cuda::{COMPILER, source_hash};
use kernels::proof::CardProperties;
use rules::{Board, Config};
use serde::Serialize;

/// What a prediction takes for granted, for a person.
pub const ASSUMPTIONS: [&str; 8] = [
    "a launch takes as long as the slowest of its parts; launches follow each other, at least 3 us apart",
    "mma.sync reaches 62 % of the tensor cores of 9.0 and 10.0 (only wgmma feeds them fully), 95 % of others",
    "with 1, 2, 3, 4 warps a scheduler, 50, 70, 80, 85 % of a multiprocessor's time goes to products",
    "shared memory moves 128 bytes a cycle; ldmatrix and cp.async share it with nothing else",
    "80 % of the memory's and 70 % of the cache's bandwidth; every weight streams through the cache for each block",
    "a plain loop has four loads under way; 550 cycles to memory, 270 to the cache, 33 to the first level",
    "copies from the host's pageable memory go at 10 GB/s and wait for nothing",
    "in random games 400 cycles pass from one operation of a warp to the next, of which emulation counted 57 to 87 a step",
];

/// The version of the document. It changes whenever the document is made up in another way.
pub const PREDICTION_VERSION: u32 = 2;

/// What a card is predicted to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// The document's version: [`PREDICTION_VERSION`].
    pub version: u32,
    /// BLAKE3 of the kernels' sources.
    pub kernels: String,
    /// The compiler of the kernels, with its version.
    pub compiler: String,
    /// The most that the card can do.
    pub peaks: Peaks,
    /// What the prediction takes for granted: [`ASSUMPTIONS`].
    pub assumptions: Vec<&'static str>,
    /// How full multiprocessors are, for every target and kernel.
    pub occupancy: Vec<KernelOccupancy>,
    /// Positions per second of passes forward.
    pub forward: Vec<NetworkRate>,
    /// Samples per second of training steps.
    pub training: Vec<NetworkRate>,
    /// Random games per second.
    pub random_games: Vec<GamesRate>,
}

/// Positions of a pass, for a board.
#[must_use]
pub fn batches(board: Board) -> &'static [usize] {
    if board.cells() <= 64 { &[256, 4096, 16_384] } else { &[64, 1024] }
}

/// Random games at once, for a board.
#[must_use]
pub fn games_at_once(board: Board) -> u32 {
    if board.cells() <= 64 { 65_536 } else { 8192 }
}

impl Prediction {
    /// The prediction for a card.
    ///
    /// # Errors
    /// [`TrainError`] if what was compiled does not say enough.
    pub fn of(card: &CardProperties) -> Result<Self, TrainError> {
        let peaks = Peaks::of(card);
        let (mut forward, mut training, mut random_games) = (Vec::new(), Vec::new(), Vec::new());
        for board in Board::ALL {
            for architecture in sizes(board) {
                for &batch in batches(board) {
                    forward.push(forward_rate(board, architecture, batch, &peaks)?);
                    training.push(training_rate(board, architecture, batch, &peaks)?);
                }
            }
            random_games.push(games_rate(Config { board, seats: 2 }, games_at_once(board), &peaks)?);
        }
        Ok(Self {
            version: PREDICTION_VERSION,
            kernels: source_hash(),
            compiler: COMPILER.to_owned(),
            peaks,
            assumptions: ASSUMPTIONS.to_vec(),
            occupancy: occupancies()?,
            forward,
            training,
            random_games,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_was_predicted_of_these_kernels() {
        let kept: serde_json::Value =
            serde_json::from_str(include_str!("../../measured/prediction-h200.json")).unwrap();
        let anew = "anew: ringrift gpu-check --predict --json kernels/measured/prediction-h200.json";
        assert_eq!(kept["kernels"].as_str(), Some(source_hash().as_str()), "{anew}");
        assert_eq!(kept["version"].as_u64(), Some(u64::from(PREDICTION_VERSION)), "{anew}");
    }
}
