//! Uniformly random games: the measure of speed, and a source of positions for tests.
//!
//! Invariant: a game follows from its seed alone. Only [`random_games`], which measures, reads a clock.

use std::time::{Duration, Instant};

use crate::board::{Config, Options};
use crate::moves::Move;
use crate::state::State;
use crate::topology::Topology;
use crate::with_board;

/// How many complete random games one thread plays.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throughput {
    /// Games played to their end.
    pub games: u64,
    /// Steps of these games, null steps included.
    pub steps: u64,
    /// Complete games per second.
    pub games_per_s: f64,
    /// Steps per second. A step lists all legal moves, picks one, plays it and tests for the end.
    pub steps_per_s: f64,
}

/// What each draw adds to the generator's state.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// A small generator of choices that gives the same numbers on every platform (*Steele, Lea & Flood 2014*,
/// SplitMix64).
#[derive(Debug, Clone)]
pub struct Choices(u64);

impl Choices {
    /// Choices that follow from a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws the next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STRIDE);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Goes on as if `count` numbers had been drawn.
    pub fn skip(&mut self, count: u64) {
        self.0 = self.0.wrapping_add(count.wrapping_mul(STRIDE));
    }

    /// Draws an index below `len`, which must not be zero. It is uniform up to a bias below 2^-32 * `len`.
    pub fn below(&mut self, len: usize) -> usize {
        (((self.next_u64() >> 32) * len as u64) >> 32) as usize
    }
}

/// Plays a random game to its end. `visit` sees every position with its legal moves before one is played.
pub fn play<T: Topology>(
    mut state: State<T>,
    choices: &mut Choices,
    legal: &mut Vec<Move>,
    mut visit: impl FnMut(&State<T>, &[Move]),
) -> State<T> {
    while state.outcome().is_none() {
        state.legal(legal);
        visit(&state, legal);
        state.apply(legal[choices.below(legal.len())]);
    }
    state
}

/// Plays random games from the empty board on this thread until `seconds` have passed, and at least one game.
/// With two seats the pie rule is on.
pub fn random_games(config: Config, seconds: f64) -> Throughput {
    with_board!(config.board, T => measure::<T>(config.seats, seconds))
}

fn measure<T: Topology>(seats: u8, seconds: f64) -> Throughput {
    let limit = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let start = State::<T>::new(seats, Options { swap: seats == 2, ..Options::default() });
    let mut choices = Choices::new(1);
    let mut legal = Vec::with_capacity(T::CELLS * 4);
    let (mut games, mut steps) = (0, 0);
    let began = Instant::now();
    loop {
        let end = play(start, &mut choices, &mut legal, |_, _| {});
        games += 1;
        steps += u64::from(end.ply());
        let elapsed = began.elapsed();
        if elapsed >= limit {
            let seconds = elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
            let (games_per_s, steps_per_s) = (games as f64 / seconds, steps as f64 / seconds);
            return Throughput { games, steps, games_per_s, steps_per_s };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_follow_from_the_seed() {
        let mut choices = Choices::new(0);
        assert_eq!(choices.next_u64(), 0xe220_a839_7b1d_cdaf);
        let (mut drawn, mut skipped) = (Choices::new(9), Choices::new(9));
        for _ in 0..1000 {
            drawn.next_u64();
        }
        skipped.skip(1000);
        assert_eq!(drawn.next_u64(), skipped.next_u64());
        let mut seen = [0u32; 7];
        for _ in 0..70_000 {
            seen[choices.below(7)] += 1;
        }
        assert!(seen.iter().all(|&count| (9_500..10_500).contains(&count)), "{seen:?}");
    }

    #[test]
    fn every_configuration_is_measured() {
        for config in Config::all() {
            let throughput = random_games(config, 0.0);
            assert_eq!(throughput.games, 1);
            assert!(throughput.steps > 50 && throughput.steps_per_s > 0.0, "{config}: {throughput:?}");
        }
    }
}
