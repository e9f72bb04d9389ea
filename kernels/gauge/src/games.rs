//! Random games per second on the card alone.

use crate::images::{image_of, usage_of};
use crate::occupancy::{LANES, Resources};
use crate::peaks::Peaks;
use kernels::{DeviceError, dry_run};
use rules::playout::{self, Choices};
use rules::{Board, Config, Options, State, with_board};
use serde::Serialize;

/// Cycles from one operation of a warp to the next in the rules: what lies between them are walks along rays
/// and over stacks, a ray a lane, and the longest decides.
const CYCLES_PER_OPERATION: f64 = 400.0;
/// Instructions of warps that a multiprocessor begins in a cycle, one for each of its schedulers.
const ISSUED_PER_CYCLE: f64 = 4.0;
/// Games that are played to find out how long they are.
const GAMES: u64 = 20;

/// What random games on the card are predicted to come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GamesRate {
    /// Board and seats, as in `hex8_2p`.
    pub config: String,
    /// How many games are played at once.
    pub at_once: usize,
    /// Warps that the card holds at once, a game each.
    pub warps: u32,
    /// Steps of a game.
    pub steps: f64,
    /// Operations of a warp that a step takes, as counted in emulation.
    pub operations: f64,
    /// What the card's peaks allow, if it did nothing but these operations and waited for none.
    pub roofline_per_s: f64,
    /// Games per second that are predicted.
    pub predicted_per_s: f64,
}

/// Shuffles, ballots and barriers of a step of a random game, counted in emulation over some games.
const fn operations(board: Board) -> f64 {
    match board {
        Board::Hex8 => 57.0,
        Board::Square8 => 61.0,
        Board::Square19 => 84.0,
        Board::Hexagonal => 87.0,
    }
}

fn steps(config: Config) -> f64 {
    let mut count = 0u64;
    with_board!(config.board, T => {
        let start = State::<T>::new(config.seats, Options { swap: config.seats == 2, ..Options::default() });
        let mut choices = Choices::new(1);
        for _ in 0..GAMES {
            playout::play(start, &mut choices, &mut Vec::new(), |_, _| count += 1);
        }
    });
    count as f64 / GAMES as f64
}

/// Random games per second, so many at once: as many warps as fit work through them.
///
/// # Errors
/// [`DeviceError`] if the manifest of the kernels cannot be read.
pub fn games_rate(config: Config, at_once: u32, peaks: &Peaks) -> Result<GamesRate, DeviceError> {
    let launches = dry_run::random_games(config, at_once)?.launches;
    let launch = launches.last().ok_or_else(|| DeviceError::Unsupported("no games".into()))?;
    let (registers, shared_bytes) = usage_of(&image_of(peaks.capability)?, launch.kernel);
    let threads = launch.grid.threads;
    let resources = Resources { threads, registers, shared_bytes: shared_bytes + launch.grid.shared_bytes };
    let occupancy = peaks.multiprocessor().occupancy(resources);
    let warps = (occupancy.warps * peaks.multiprocessors).min(launch.grid.blocks.0 * (threads / LANES));
    let (steps, operations) = (steps(config), operations(config.board));
    // The last games of a launch leave warps idle: on average, half a game's worth of them.
    let rounds = f64::from(at_once) / f64::from(warps.max(1)) + 0.5;
    let seconds = rounds * steps * operations * CYCLES_PER_OPERATION / peaks.clock_hz;
    Ok(GamesRate {
        config: config.key(),
        at_once: at_once as usize,
        warps,
        steps,
        operations,
        roofline_per_s: ISSUED_PER_CYCLE * peaks.cycles_per_s() / (steps * operations),
        predicted_per_s: f64::from(at_once) / seconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peaks::h200;

    #[test]
    fn more_games_keep_more_warps_busy() {
        let peaks = Peaks::of(&h200());
        let config = Config { board: Board::Hex8, seats: 2 };
        let few = games_rate(config, 64, &peaks).unwrap();
        let many = games_rate(config, 65_536, &peaks).unwrap();
        assert_eq!(few.warps, 64);
        assert!(many.warps > 132 * 16 && many.warps <= 132 * 64, "{many:?}");
        assert!(many.predicted_per_s > 10.0 * few.predicted_per_s);
        assert!(many.predicted_per_s < many.roofline_per_s && few.roofline_per_s == many.roofline_per_s);
        assert!(many.steps > 50.0 && many.steps < 400.0, "{many:?}");
    }
}
