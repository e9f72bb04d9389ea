//! The rules on a device against the crate `rules`, position by position and whole games at once.
//!
//! Games are played on the host by the choices that the device makes in its playouts, so both come to the
//! same end. All that is compared is equal word for word: legal moves as sets, positions packed, outcomes.

use crate::device::Device;
use crate::device::array::Array;
use crate::device::ops::Ops;
use crate::device::ops::games::{Playouts, RESULT};
use crate::encoding::game::{game_words, pack_game, reason_index};
use crate::error::DeviceError;
use rules::{Config, Move, Options, State, Topology, Victory};

/// Positions that are compared in one launch.
const BATCH: usize = 512;
/// Random games that the device plays in one launch of a check.
const GAMES_AT_ONCE: u32 = 256;

/// Why a check of the rules did not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CheckError {
    /// The device did not do what it was asked.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The device plays by other rules.
    #[error("{what} differ in {position}: {details}")]
    Differs {
        /// What differs, as in `legal moves`.
        what: &'static str,
        /// The position before the move, or at the end of a game.
        position: String,
        /// The move, or what is missing and what is too much.
        details: String,
    },
}

/// How much was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Games that the device played from their start to their end.
    pub(crate) games: u64,
    /// Positions with their legal moves, and a move in each.
    pub(crate) steps: u64,
}

/// Philox4x32-10 (*Salmon et al. 2011*).
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let low = u64::from(counter[0]) * 0xd251_1f53;
        let high = u64::from(counter[2]) * 0xcd9e_8d57;
        counter = [
            (high >> 32) as u32 ^ counter[1] ^ key[0],
            high as u32,
            (low >> 32) as u32 ^ counter[3] ^ key[1],
            low as u32,
        ];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

fn priority(code: u32, key: [u32; 2]) -> u32 {
    let mut x = code ^ key[0];
    x = (x ^ x >> 16).wrapping_mul(0x7feb_352d);
    x = (x ^ x >> 15).wrapping_mul(0x846c_a68b);
    x = (x ^ x >> 16).wrapping_add(key[1]);
    x = (x ^ x >> 17).wrapping_mul(0xed5a_d4bb);
    x = (x ^ x >> 11).wrapping_mul(0xac4c_1b51);
    x ^ x >> 15
}

/// The move that a playout makes; see `cuda/rules/random.cuh`.
fn choose(legal: &[Move], seed: u64, game: u32, step: u32) -> Option<Move> {
    let [a, b, ..] = philox([game, step, 0, 0], [seed as u32, (seed >> 32) as u32]);
    legal.iter().copied().max_by_key(|mv| priority(mv.code(), [a, b]))
}

fn digest(words: &[u32]) -> u32 {
    let of = |(i, &word): (usize, &u32)| priority(word, [(i as u32).wrapping_mul(0x9e37_79b9), i as u32]);
    words.iter().enumerate().map(of).fold(0, u32::wrapping_add)
}

/// The options that the i-th random game has: the pie rule and either victory timing occur.
fn options(config: Config, game: u32) -> Options {
    let victory = if game % 4 == 3 { Victory::TurnEnd } else { Victory::EveryMove };
    Options { swap: config.seats == 2 && game.is_multiple_of(2), victory }
}

/// A game as the host played it.
struct HostGame<T: Topology> {
    end: State<T>,
    steps: u32,
}

/// A step of a game as the host played it.
struct HostStep<T: Topology> {
    state: State<T>,
    /// The codes of its legal moves, ascending.
    legal: Vec<u32>,
    mv: Move,
    next: State<T>,
}

impl<T: Topology> HostStep<T> {
    fn new(state: &State<T>, legal: &[Move], mv: Move) -> Self {
        let mut next = *state;
        next.apply(mv);
        let mut legal: Vec<u32> = legal.iter().map(|mv| mv.code()).collect();
        legal.sort_unstable();
        Self { state: *state, legal, mv, next }
    }
}

/// Compares the rules on a device with those of the host.
pub(crate) struct Referee<'a, D: Device, T: Topology> {
    device: &'a D,
    seed: u64,
    steps: Vec<HostStep<T>>,
    checked: Checked,
}

impl<'a, D: Device, T: Topology> Referee<'a, D, T> {
    /// Nothing compared yet; `seed` is that of the random games.
    pub(crate) fn new(device: &'a D, seed: u64) -> Self {
        Self { device, seed, steps: Vec::new(), checked: Checked::default() }
    }

    /// Compares what is left, and says how much was compared in all.
    pub(crate) fn finish(mut self) -> Result<Checked, CheckError> {
        self.compare_steps()?;
        Ok(self.checked)
    }

    /// Compares random games from the empty board, every step of them.
    pub(crate) fn random_games(mut self, config: Config, games: u32) -> Result<Checked, CheckError> {
        for first in (0..games).step_by(GAMES_AT_ONCE as usize) {
            let numbers = first..games.min(first + GAMES_AT_ONCE);
            let starts: Vec<_> =
                numbers.map(|game| State::new(config.seats, options(config, game))).collect();
            self.games(&starts, first, starts.len())?;
        }
        self.finish()
    }

    /// Compares the legal moves of a position and what one of them does, now or later.
    pub(crate) fn step(&mut self, state: &State<T>, mv: Move) -> Result<(), CheckError> {
        let mut legal = Vec::new();
        state.legal(&mut legal);
        self.take(HostStep::new(state, &legal, mv))
    }

    /// Compares a step, now or later.
    fn take(&mut self, step: HostStep<T>) -> Result<(), CheckError> {
        self.steps.push(step);
        if self.steps.len() < BATCH { Ok(()) } else { self.compare_steps() }
    }

    /// A random game from each of the positions, the first with the number `first`: every step of the first
    /// `stepped`, and the games that the device plays on its own.
    pub(crate) fn games(
        &mut self,
        starts: &[State<T>],
        first: u32,
        stepped: usize,
    ) -> Result<(), CheckError> {
        let mut played = Vec::with_capacity(starts.len());
        for (i, start) in starts.iter().enumerate() {
            played.push(self.play(*start, first.wrapping_add(i as u32), i < stepped)?);
        }
        self.compare_ends(starts, first, &played)?;
        self.checked.games += starts.len() as u64;
        Ok(())
    }

    fn play(&mut self, mut state: State<T>, game: u32, compare: bool) -> Result<HostGame<T>, CheckError> {
        let (mut legal, mut steps) = (Vec::new(), 0);
        loop {
            state.legal(&mut legal);
            let Some(mv) = choose(&legal, self.seed, game, steps) else {
                return Ok(HostGame { end: state, steps });
            };
            if compare {
                let step = HostStep::new(&state, &legal, mv);
                state = step.next;
                self.take(step)?;
            } else {
                state.apply(mv);
            }
            steps += 1;
        }
    }

    fn compare_steps(&mut self) -> Result<(), CheckError> {
        let (device, count) = (self.device, self.steps.len());
        let mut packed = Vec::with_capacity(count * game_words::<T>());
        self.steps.iter().for_each(|step| pack_game(&step.state, &mut packed));
        let room = self.steps.iter().map(|step| step.legal.len()).max().unwrap_or(0);
        let played: Vec<u32> = self.steps.iter().map(|step| step.mv.code()).collect();
        let games = Array::from_slice(device, &packed)?;
        let (codes, numbers) = (Array::new(device, count * room)?, Array::new(device, count)?);
        Ops(device).legal::<T>(&games, &codes, &numbers, (count, room))?;
        Ops(device).apply::<T>(&games, &Array::from_slice(device, &played)?, count)?;
        let (codes, numbers) = (codes.read(device, count * room)?, numbers.read(device, count)?);
        let after = games.read(device, packed.len())?;
        let mut expected = Vec::with_capacity(game_words::<T>());
        for (i, HostStep { state, legal, mv, next }) in self.steps.iter().enumerate() {
            let number = numbers[i] as usize;
            let mut found = codes[i * room..][..room.min(number)].to_vec();
            found.sort_unstable();
            if found != *legal || number != found.len() {
                return Err(legal_moves_differ(state, legal, &found, number));
            }
            expected.clear();
            pack_game(next, &mut expected);
            compare_words(
                "positions",
                state,
                &state.move_text(*mv),
                &expected,
                &after[i * expected.len()..],
            )?;
        }
        self.checked.steps += count as u64;
        self.steps.clear();
        Ok(())
    }

    fn compare_ends(
        &self,
        starts: &[State<T>],
        first: u32,
        played: &[HostGame<T>],
    ) -> Result<(), CheckError> {
        let (device, count) = (self.device, starts.len());
        if count == 0 {
            return Ok(());
        }
        let mut packed = Vec::with_capacity(count * game_words::<T>());
        starts.iter().for_each(|start| pack_game(start, &mut packed));
        let starts = Array::from_slice(device, &packed)?;
        let results = Array::new(device, count * RESULT)?;
        let ends = Array::new(device, count * game_words::<T>())?;
        let steps_max = played.iter().map(|game| game.steps).max().unwrap_or(0);
        let playouts =
            Playouts { starts: &starts, start_count: count, games: count, seed: self.seed, first, steps_max };
        Ops(device).playouts::<T>(&playouts, &results, Some(&ends))?;
        let results = results.read(device, count * RESULT)?;
        let ends = ends.read(device, count * game_words::<T>())?;
        let mut expected = Vec::with_capacity(game_words::<T>());
        for (i, game) in played.iter().enumerate() {
            expected.clear();
            pack_game(&game.end, &mut expected);
            compare_words("ends", &game.end, "playout", &expected, &ends[i * expected.len()..])?;
            let [verdict, ranks] = game.end.outcome().map_or([0; 2], |outcome| {
                let verdict = u32::from(outcome.winner) | reason_index(outcome.reason) << 8 | 1 << 16;
                [verdict, u32::from_le_bytes(outcome.ranks)]
            });
            let result = [verdict, game.steps, ranks, digest(&expected)];
            compare_words("results", &game.end, "playout", &result, &results[i * RESULT..])?;
        }
        Ok(())
    }
}

fn compare_words<T: Topology>(
    what: &'static str,
    state: &State<T>,
    details: &str,
    expected: &[u32],
    found: &[u32],
) -> Result<(), CheckError> {
    let Some(at) = expected.iter().zip(found).position(|(expected, found)| expected != found) else {
        return Ok(());
    };
    let details = format!("{details}: word {at} is {:#x}, not {:#x}", found[at], expected[at]);
    Err(CheckError::Differs { what, position: state.to_string(), details })
}

fn legal_moves_differ<T: Topology>(
    state: &State<T>,
    expected: &[u32],
    found: &[u32],
    number: usize,
) -> CheckError {
    let name = |code: &u32| match Move::from_code(*code) {
        Some(mv) => state.move_text(mv),
        None => format!("{code:#x}"),
    };
    let beyond = |a: &[u32], b: &[u32]| {
        let only: Vec<String> = a.iter().filter(|code| !b.contains(code)).take(20).map(name).collect();
        only.join(" ")
    };
    let (missing, extra) = (beyond(expected, found), beyond(found, expected));
    let details = format!("{number} moves; missing [{missing}], too many [{extra}]");
    CheckError::Differs { what: "legal moves", position: state.to_string(), details }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_is_the_published_one() {
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let table = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (pi, [0xa409_3822, 0x299f_31d0], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
        ];
        for (counter, key, expected) in table {
            assert_eq!(philox(counter, key), expected);
        }
    }

    #[test]
    fn choices_are_uniform() {
        let mut legal = Vec::new();
        State::<rules::Hex8>::new(2, Options::default()).legal(&mut legal);
        for count in [2, 5, 46, legal.len()] {
            let mut seen = vec![0u32; count];
            for draw in 0..400 * count as u32 {
                let mv = choose(&legal[..count], 7, draw / 20, draw % 20).unwrap();
                seen[legal.iter().position(|&other| other == mv).unwrap()] += 1;
            }
            let deviations: f64 = seen.iter().map(|&n| (f64::from(n) - 400.0).powi(2) / 400.0).sum();
            let freedom = count as f64 - 1.0;
            // Five standard deviations of the chi-squared distribution.
            assert!(deviations < freedom + 5.0 * (2.0 * freedom).sqrt() + 5.0, "{count}: {deviations}");
        }
    }
}
