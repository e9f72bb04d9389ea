//! Self-play with the search on a device, as callers see it: settings in, finished games out.

use crate::device::ops::call::COUNT_MAX;
use crate::error::DeviceError;

/// Words of a record's header in `cuda/wave/slot.cuh`.
pub(crate) const RECORD: usize = 8;

/// How games are played on a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WaveSettings {
    /// Games side by side.
    pub slots: usize,
    /// Every game's own seed follows from this one.
    pub seed: u64,
    /// Whether the pie rule is on; for two seats.
    pub swap: bool,
    /// Simulations of a search whose policy is recorded; at least 1.
    pub full: u32,
    /// Simulations of any other search; at least 1, and no more than `full`.
    pub quick: u32,
    /// Share of searches of the first kind.
    pub full_share: f32,
    /// This many first decisions of a game are drawn from the improved policy,
    pub sampled: u32,
    /// or up to one less than this more; at least 1.
    pub sampled_spread: u32,
    /// Share of games that open with random moves,
    pub opening_share: f32,
    /// and with how many at most; at least 1.
    pub opening_max: u32,
    /// Factor of the search's noise, and temperature of what is drawn; above zero.
    pub exploration: f32,
    /// Root moves that sequential halving starts with, at most; at least 1.
    pub considered: u32,
    /// Visits that the scale of values starts with; finite.
    pub visit_offset: f32,
    /// Logits per visit and unit of value; finite.
    pub value_scale: f32,
}

impl WaveSettings {
    /// # Panics
    /// If one is outside of its limits.
    pub(crate) fn check(&self) {
        let counts = [
            ("slots", self.slots, 1),
            ("full", self.full as usize, 1),
            ("quick", self.quick as usize, 1),
            ("sampled", self.sampled as usize, 0),
            ("sampled_spread", self.sampled_spread as usize, 1),
            ("opening_max", self.opening_max as usize, 1),
            ("considered", self.considered as usize, 1),
        ];
        for (what, count, least) in counts {
            assert!((least..=COUNT_MAX).contains(&count), "{what}: {count} is not in {least}..={COUNT_MAX}");
        }
        assert!(self.quick <= self.full, "quick: {} of {} simulations", self.quick, self.full);
        for (what, share) in [("full_share", self.full_share), ("opening_share", self.opening_share)] {
            assert!((0.0..=1.0).contains(&share), "{what}: {share} is no share");
        }
        let exploration = self.exploration;
        assert!(exploration > 0.0, "exploration: {exploration} is not above zero");
        let numbers = [
            ("exploration", exploration),
            ("visit_offset", self.visit_offset),
            ("value_scale", self.value_scale),
        ];
        for (what, number) in numbers {
            assert!(number.is_finite(), "{what}: {number} is not finite");
        }
    }
}

/// A finished game from the empty board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaveGame {
    /// All its choices follow from this seed and the network.
    pub seed: u64,
    /// Every step as [`rules::Move::code`].
    pub moves: Vec<u32>,
    /// The searched steps, by ascending number.
    pub decisions: Vec<WaveDecision>,
    /// The seat that won.
    pub winner: u8,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaveDecision {
    /// Number of the step, from 0.
    pub step: u32,
    /// Index into the legal moves and weight of those with one, by ascending index; a certainty weighs
    /// 65535. Empty where the search was a quick one.
    pub policy: Vec<(u16, u16)>,
}

/// What a wave has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaveReport {
    /// The games that have ended since the last report.
    pub games: Vec<WaveGame>,
    /// Games begun so far.
    pub begun: u64,
    /// Of them, games that were dropped because their memory did not suffice.
    pub dropped: u64,
    /// Games under way.
    pub playing: u64,
}

/// Games of one network, played on a card.
pub trait PlayWaves: Send {
    /// Every game goes on through so many evaluations, and the card then through as many again while the
    /// caller looks at the report: they count for the next call. A slot holds two finished games that no
    /// report has told of, and then waits; otherwise games do not wait for each other or for the host,
    /// except while a report is copied: once a call.
    ///
    /// # Errors
    /// [`DeviceError`] if the card fails; the games under way are lost.
    fn play(&mut self, evaluations: u32) -> Result<WaveReport, DeviceError>;

    /// No game begins any more; those under way go on to their end.
    ///
    /// # Errors
    /// [`DeviceError`] if the card fails.
    fn retire(&mut self) -> Result<(), DeviceError>;
}

/// The collected games; none at all if the words are not those of so many whole ones.
pub(crate) fn games_of(mut words: &[u32]) -> Option<Vec<WaveGame>> {
    let mut games = Vec::new();
    while !words.is_empty() {
        let (game, behind) = game_of(words)?;
        games.push(game);
        words = behind;
    }
    Some(games)
}

/// The first of the collected games, and what lies behind it.
fn game_of(words: &[u32]) -> Option<(WaveGame, &[u32])> {
    let (header, rest) = words.split_first_chunk::<RECORD>()?;
    let [low, high, moves, policy, winner, ..] = *header;
    let (moves, rest) = rest.split_at_checked(moves as usize)?;
    let (mut policy, rest) = rest.split_at_checked(policy as usize)?;
    let mut decisions = Vec::new();
    while !policy.is_empty() {
        let (&[step, weights], behind) = policy.split_first_chunk::<2>()?;
        let (weights, behind) = behind.split_at_checked(weights as usize)?;
        let policy_of = weights.iter().map(|&entry| (entry as u16, (entry >> 16) as u16)).collect();
        decisions.push(WaveDecision { step, policy: policy_of });
        policy = behind;
    }
    let seed = u64::from(low) | u64::from(high) << 32;
    let winner = u8::try_from(winner).ok()?;
    Some((WaveGame { seed, moves: moves.to_vec(), decisions, winner }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::type_complexity, reason = "a table")]
    fn a_setting_outside_of_its_limits_is_named() {
        let settings = WaveSettings {
            slots: 1,
            seed: 0,
            swap: false,
            full: 2,
            quick: 1,
            full_share: 1.0,
            sampled: 0,
            sampled_spread: 1,
            opening_share: 0.0,
            opening_max: 1,
            exploration: 1.0,
            considered: 1,
            visit_offset: 0.0,
            value_scale: 0.0,
        };
        settings.check();
        let table: [(&str, fn(&mut WaveSettings)); 16] = [
            ("slots: 0 ", |s| s.slots = 0),
            ("slots: 1073741825 ", |s| s.slots = COUNT_MAX + 1),
            ("full: 4294967295 ", |s| s.full = u32::MAX),
            ("quick: 0 ", |s| s.quick = 0),
            ("quick: 3 of 2 simulations", |s| s.quick = 3),
            ("sampled: 4294967295 ", |s| s.sampled = u32::MAX),
            ("sampled_spread: 0 ", |s| s.sampled_spread = 0),
            ("opening_max: 0 ", |s| s.opening_max = 0),
            ("considered: 0 ", |s| s.considered = 0),
            ("full_share: 1.1 ", |s| s.full_share = 1.1),
            ("opening_share: NaN ", |s| s.opening_share = f32::NAN),
            ("exploration: 0 ", |s| s.exploration = 0.0),
            ("exploration: NaN ", |s| s.exploration = f32::NAN),
            ("exploration: inf ", |s| s.exploration = f32::INFINITY),
            ("visit_offset: inf ", |s| s.visit_offset = f32::INFINITY),
            ("value_scale: NaN ", |s| s.value_scale = f32::NAN),
        ];
        for (expected, change) in table {
            let mut wrong = settings;
            change(&mut wrong);
            let panic = std::panic::catch_unwind(|| wrong.check()).unwrap_err();
            let message = panic.downcast_ref::<String>().unwrap();
            assert!(message.starts_with(expected), "{expected}: {message}");
        }
    }

    #[test]
    fn words_are_whole_games_or_nothing() {
        let decisions = vec![
            WaveDecision { step: 1, policy: vec![(2, 3), (4, u16::MAX)] },
            WaveDecision { step: 2, policy: Vec::new() },
        ];
        let first = WaveGame { seed: 7 << 32 | 9, moves: vec![11, 12, 13], decisions, winner: 2 };
        let second = WaveGame { seed: 1, moves: vec![14], decisions: Vec::new(), winner: 0 };
        let whole = [9, 7, 3, 6, 2, 0, 0, 0, 11, 12, 13, 1, 2, 2 | 3 << 16, 4 | 0xffff << 16, 2, 0];
        let both = [&whole[..], &[1, 0, 1, 0, 0, 0, 0, 0, 14]].concat();
        assert_eq!(games_of(&[]), Some(vec![]));
        assert_eq!(games_of(&whole), Some(vec![first.clone()]));
        assert_eq!(games_of(&both), Some(vec![first, second]));
        for len in (1..both.len()).filter(|&len| len != whole.len()) {
            assert_eq!(games_of(&both[..len]), None, "cut off behind {len}");
        }
        // Moves and policies that are too long or too short, a seat that is none.
        for (at, word) in
            [(2, 4), (2, 99), (3, 5), (3, 7), (3, 1), (4, 256), (12, 3), (12, 1), (16, 1), (16, u32::MAX)]
        {
            let mut wrong = whole;
            wrong[at] = word;
            assert_eq!(games_of(&wrong), None, "{word} at {at}");
        }
    }
}
