//! Random games on a device: how fast it plays by the rules alone.

use crate::device::Device;
use crate::device::array::Array;
use crate::device::ops::Ops;
use crate::device::ops::games::{Playouts, RESULT};
use crate::encoding::game::pack_game;
use crate::error::DeviceError;
use rules::{Config, Options, SEATS_MAX, State, Topology};
use std::time::{Duration, Instant};

/// What random games came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlayoutReport {
    /// Games that were played to their end.
    pub(crate) games: u64,
    /// Steps of all games, null steps included.
    pub(crate) steps: u64,
    /// How many games each seat has won.
    pub(crate) wins: [u64; SEATS_MAX],
    /// From the launch until the results were on the host; the first launch also loads the kernel.
    pub(crate) elapsed: Duration,
}

/// Plays random games from the empty board, all at once. The pie rule is on with two seats.
pub(crate) fn playouts<D: Device, T: Topology>(
    device: &D,
    config: Config,
    games: u32,
    seed: u64,
) -> Result<PlayoutReport, DeviceError> {
    let mut report = PlayoutReport { games: 0, steps: 0, wins: [0; SEATS_MAX], elapsed: Duration::ZERO };
    if games == 0 {
        return Ok(report);
    }
    let (results, elapsed) = results_of::<D, T>(device, config, games, seed)?;
    report.elapsed = elapsed;
    for result in results.chunks_exact(RESULT) {
        // Winner, reason, whether the game is over: a byte each.
        let [winner, _, over, _] = result[0].to_le_bytes();
        if over != 1 || winner >= config.seats {
            let reason = format!("{:#x} is no outcome of a game of {} seats", result[0], config.seats);
            return Err(DeviceError::Kernel { kernel: "playout", reason });
        }
        report.games += 1;
        report.steps += u64::from(result[1]);
        report.wins[usize::from(winner)] += 1;
    }
    Ok(report)
}

/// Plays at least one game; [`RESULT`] words of each, which nobody has looked at, and how long it took.
pub(crate) fn results_of<D: Device, T: Topology>(
    device: &D,
    config: Config,
    games: u32,
    seed: u64,
) -> Result<(Vec<u32>, Duration), DeviceError> {
    let options = Options { swap: config.seats == 2, ..Options::default() };
    let mut start = Vec::new();
    pack_game(&State::<T>::new(config.seats, options), &mut start);
    let starts = Array::from_slice(device, &start)?;
    let games = games as usize;
    let results = Array::new(device, games * RESULT)?;
    let playouts = Playouts { starts: &starts, start_count: 1, games, seed, first: 0, steps_max: u32::MAX };
    let began = Instant::now();
    Ops(device).playouts::<T>(&playouts, &results, None)?;
    let results = results.read(device, games * RESULT)?;
    Ok((results, began.elapsed()))
}
