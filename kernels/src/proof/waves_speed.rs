//! How fast games are played with the search on a device, and how many evaluations they take.

use crate::device::ReplayDevice;
use crate::device::games::wave::Wave;
use crate::device::games::wave_games::{PlayWaves, WaveSettings};
use crate::device::trial::samples;
use crate::error::DeviceError;
use crate::network::architecture::Architecture;
use crate::proof::timing::{Effort, Speed};
use crate::proof::waves::{EVALUATIONS, Waves, evaluations_max, settings};
use rules::{Config, with_board};
use std::time::Instant;

/// The share of games that open with random moves, as a node plays them. Checks want more such games.
const OPENING_SHARE: f32 = 0.075;

/// How fast games with the search on a device are played.
#[derive(Clone, Debug, PartialEq)]
pub struct WavesSpeed {
    /// Games per second.
    pub speed: Speed,
    /// Seconds that were measured in all.
    pub seconds: f64,
    /// Positions per second that the network evaluates; a game that waits has one evaluated all the same.
    pub evaluations_per_s: f64,
    /// Searched decisions of a game, on average.
    pub decisions_per_game: f64,
    /// Evaluations of a searched decision, on average.
    pub evaluations_per_decision: f64,
}

/// What was counted in a repeat.
#[derive(Clone, Copy, Debug, Default)]
struct WavesCount {
    games: usize,
    decisions: usize,
    evaluations: u64,
    seconds: f64,
}

impl WavesSpeed {
    /// The speed of several repeats; none if there are none.
    fn of(repeats: &[WavesCount]) -> Option<Self> {
        let speed = Speed::of(repeats.iter().map(|one| one.games as f64 / one.seconds).collect())?;
        let sum = |of: fn(&WavesCount) -> f64| repeats.iter().map(of).sum::<f64>();
        let (games, decisions) = (sum(|one| one.games as f64), sum(|one| one.decisions as f64));
        let (evaluations, seconds) = (sum(|one| one.evaluations as f64), sum(|one| one.seconds));
        Some(Self {
            speed,
            seconds,
            evaluations_per_s: evaluations / seconds,
            decisions_per_game: decisions / games.max(1.0),
            evaluations_per_decision: evaluations / decisions.max(1.0),
        })
    }
}

/// Counts the games that end, once as many have ended as are played side by side.
pub(crate) fn speed<D: ReplayDevice + Send>(
    device: D,
    config: Config,
    architecture: Architecture,
    waves: Waves,
    effort: Effort,
) -> Result<WavesSpeed, DeviceError>
where
    D::Memory: Send,
    D::Recording: Send,
{
    let network = samples::network(architecture);
    let settings = WaveSettings { opening_share: OPENING_SHARE, ..settings(config, waves) };
    let mut wave: Box<dyn PlayWaves> = with_board!(config.board, T => {
        Box::new(Wave::<D, T>::new(device, config, &network, settings)?)
    });
    let mut waited = 0;
    let mut play = |counted: &mut WavesCount| {
        let report = wave.play(EVALUATIONS)?;
        waited = if report.games.is_empty() { waited + EVALUATIONS } else { 0 };
        if report.dropped > 0 || waited > evaluations_max(config, waves) {
            let wrong = format!("{} games were dropped, none ended in {waited} evaluations", report.dropped);
            return Err(DeviceError::Unsupported(wrong));
        }
        counted.games += report.games.len();
        counted.decisions += report.games.iter().map(|game| game.decisions.len()).sum::<usize>();
        counted.evaluations += u64::from(EVALUATIONS) * waves.slots as u64;
        Ok(())
    };
    let mut warm = WavesCount::default();
    while warm.games < waves.slots {
        play(&mut warm)?;
    }
    let mut repeats = Vec::with_capacity(effort.repeats);
    for _ in 0..effort.repeats.max(1) {
        let (began, mut counted) = (Instant::now(), WavesCount::default());
        while counted.games == 0 || began.elapsed() < effort.at_least {
            play(&mut counted)?;
        }
        counted.seconds = began.elapsed().as_secs_f64();
        repeats.push(counted);
    }
    WavesSpeed::of(&repeats).ok_or_else(|| DeviceError::Unsupported("no repeat was asked for".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_are_counted_over_all_repeats() {
        let of =
            |games, decisions, evaluations, seconds| WavesCount { games, decisions, evaluations, seconds };
        let found = WavesSpeed::of(&[of(10, 700, 5000, 2.0), of(30, 2100, 14_600, 2.0)]).unwrap();
        assert_eq!((found.speed.least, found.speed.most, found.seconds), (5.0, 15.0, 4.0));
        assert_eq!((found.evaluations_per_s, found.decisions_per_game), (4900.0, 70.0));
        assert_eq!(found.evaluations_per_decision, 7.0);
        assert_eq!(WavesSpeed::of(&[]), None);
    }
}
