//! Everything that can be said of a card without one, in one document.

use crate::device::card::image;
use crate::roofline::card::{Peaks, Properties};
use crate::roofline::games::{GamesRate, games_rate};
use crate::roofline::{ASSUMPTIONS, KernelOccupancy, Rate, forward_rate, occupancies, sizes, training_rate};
use crate::training::trainer::TrainError;
use rules::{Board, Config};
use serde::Serialize;

/// Changes whenever the document is made up in another way.
pub const PREDICTION_VERSION: u32 = 2;

/// What a card is predicted to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// [`PREDICTION_VERSION`].
    pub version: u32,
    /// BLAKE3 of the kernels' sources.
    pub kernels: String,
    /// Their compiler.
    pub compiler: String,
    /// The most that the card can do.
    pub peaks: Peaks,
    /// What is taken for granted.
    pub assumptions: Vec<&'static str>,
    /// How full multiprocessors are, for every target and kernel.
    pub occupancy: Vec<KernelOccupancy>,
    /// Positions per second.
    pub forward: Vec<Rate>,
    /// Samples per second.
    pub training: Vec<Rate>,
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
    /// For a card.
    ///
    /// # Errors
    /// [`TrainError`] if what was compiled does not say enough.
    pub fn of(card: &Properties) -> Result<Self, TrainError> {
        let peaks = card.peaks();
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
            kernels: image::source_hash(),
            compiler: image::COMPILER.to_owned(),
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
        assert_eq!(kept["kernels"].as_str(), Some(image::source_hash().as_str()), "{anew}");
        assert_eq!(kept["version"].as_u64(), Some(u64::from(PREDICTION_VERSION)), "{anew}");
    }
}
