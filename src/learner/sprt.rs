//! Whether a candidate is stronger: the sequential test, the Elo difference with its error, and intervals.
//!
//! Invariant: the unit of all statistics is the set of games that share an opening, one for each seat of the
//! candidate (a pair with two seats), because the games of a set are not independent and sets are.

use cluster_state::Sprt;

/// The hypotheses and risks of the sequential test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SprtSettings {
    /// The Elo difference of the null hypothesis.
    pub elo0: f64,
    /// The Elo difference of the alternative.
    pub elo1: f64,
    /// The risk of accepting under the null hypothesis.
    pub alpha: f64,
    /// The risk of rejecting under the alternative.
    pub beta: f64,
    /// The number of games after which the test ends without a verdict.
    pub games_max: u32,
}

impl Default for SprtSettings {
    fn default() -> Self {
        Self { elo0: 0.0, elo1: 50.0, alpha: 0.05, beta: 0.05, games_max: 400 }
    }
}

/// The score that an Elo difference means against `seats - 1` equal opponents, by the Bradley-Terry model.
#[must_use]
pub fn expected_score(elo: f64, seats: u8) -> f64 {
    1.0 / (1.0 + f64::from(seats - 1) * 10f64.powf(-elo / 400.0))
}

/// The inverse of [`expected_score`].
#[must_use]
pub fn elo_of_score(score: f64, seats: u8) -> f64 {
    -400.0 * ((1.0 / score - 1.0) / f64::from(seats - 1)).log10()
}

/// The verdict of Wald's sequential test on a log-likelihood ratio, if there is one yet: whether the
/// alternative holds.
#[must_use]
pub fn wald(llr: f64, alpha: f64, beta: f64) -> Option<bool> {
    if llr >= ((1.0 - beta) / alpha).ln() {
        Some(true)
    } else if llr <= (beta / (1.0 - alpha)).ln() {
        Some(false)
    } else {
        None
    }
}

/// The log-likelihood ratio of two Elo differences, for games that are counted one by one, each won with the
/// score that the difference means. For games in sets it needs only the sums. The games of a set vary less
/// together than alone, so the test errs on the safe side.
#[must_use]
pub fn llr_of_games(wins: u64, games: u64, seats: u8, elo0: f64, elo1: f64) -> f64 {
    let [p0, p1] = [elo0, elo1].map(|elo| expected_score(elo, seats));
    let others = games.saturating_sub(wins);
    wins as f64 * (p1 / p0).ln() + others as f64 * ((1.0 - p1) / (1.0 - p0)).ln()
}

/// The Elo difference that games show. One game that is shared evenly is added, which keeps the result
/// finite.
#[must_use]
pub fn elo_of_games(wins: u64, games: u64, seats: u8) -> f64 {
    elo_of_score((wins as f64 + 1.0 / f64::from(seats)) / (games as f64 + 1.0), seats)
}

/// An Elo difference and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elo {
    pub delta: f64,
    pub error: f64,
}

/// The score of a player over sets of games.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sets {
    seats: u8,
    sets: u32,
    wins: u32,
    /// The sum of the squared wins of each set.
    squares: u64,
}

/// The number of sets that the variance counts as seen before the first, because a run of equal sets proves
/// no certainty.
const PRIOR_SETS: f64 = 16.0;

impl Sets {
    /// The score before the first game. It panics unless there are 2 to 4 seats.
    #[must_use]
    pub fn new(seats: u8) -> Self {
        assert!((2..=4).contains(&seats), "{seats} seats");
        Self { seats, sets: 0, wins: 0, squares: 0 }
    }

    /// Adds a set of `seats` games, of which the player won `wins`.
    pub fn add(&mut self, wins: u32) {
        self.sets += 1;
        self.wins += wins;
        self.squares += u64::from(wins).pow(2);
    }

    #[must_use]
    pub fn sets(&self) -> u32 {
        self.sets
    }

    #[must_use]
    pub fn games(&self) -> u32 {
        self.sets * u32::from(self.seats)
    }

    #[must_use]
    pub fn wins(&self) -> u32 {
        self.wins
    }

    #[must_use]
    pub fn losses(&self) -> u32 {
        self.games() - self.wins
    }

    /// The share of games won; 0 before the first game.
    #[must_use]
    pub fn score(&self) -> f64 {
        f64::from(self.wins) / f64::from(self.games().max(1))
    }

    /// The variance of the score of one set, between what was seen and that of independent games of equal
    /// players.
    fn variance(&self) -> f64 {
        let (n, seats) = (f64::from(self.sets), f64::from(self.seats));
        let even = 1.0 / seats;
        let prior = even * (1.0 - even) / seats;
        let spread = self.squares as f64 / seats.powi(2) - n * self.score().powi(2);
        (spread.max(0.0) + PRIOR_SETS * prior) / (n + PRIOR_SETS)
    }

    /// The Elo difference to the opponents, as [`elo_of_games`] has it, with its standard error.
    #[must_use]
    pub fn elo(&self) -> Elo {
        let delta = elo_of_games(u64::from(self.wins), u64::from(self.games()), self.seats);
        let score = expected_score(delta, self.seats);
        let error = (self.variance() / f64::from(self.sets.max(1))).sqrt();
        let slope = 400.0 / std::f64::consts::LN_10 / (score * (1.0 - score));
        Elo { delta, error: error * slope }
    }

    /// The log-likelihood ratio of the two hypotheses, for scores that are normal around their mean (the
    /// generalised test of *Van den Bergh 2019, Comments on normalized Elo and the GSPRT*).
    #[must_use]
    pub fn llr(&self, settings: &SprtSettings) -> f64 {
        let [s0, s1] = [settings.elo0, settings.elo1].map(|elo| expected_score(elo, self.seats));
        f64::from(self.sets) * (s1 - s0) * (2.0 * self.score() - s0 - s1) / (2.0 * self.variance())
    }

    /// The verdict, if there is one yet.
    #[must_use]
    pub fn sprt(&self, settings: &SprtSettings) -> Option<Sprt> {
        let enough = self.games() >= cluster_state::state_machine::EVIDENCE_GAMES_MIN;
        let verdict = wald(self.llr(settings), settings.alpha, settings.beta).filter(|_| enough);
        match verdict {
            Some(true) => Some(Sprt::Accept),
            Some(false) => Some(Sprt::Reject),
            None if self.games() + u32::from(self.seats) > settings.games_max => Some(Sprt::Inconclusive),
            None => None,
        }
    }
}

/// The interval in which the true share lies with 95 % confidence (*Wilson 1927*); all of 0..1 without a
/// game.
#[must_use]
pub fn wilson(wins: u32, games: u32) -> (f64, f64) {
    if games == 0 {
        return (0.0, 1.0);
    }
    const Z: f64 = 1.959_963_984_540_054;
    let (n, share) = (f64::from(games), f64::from(wins) / f64::from(games));
    let centre = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    (((centre - half) / whole).max(0.0), ((centre + half) / whole).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::unit;
    use rules::playout::Choices;

    /// Runs the test `runs` times on games with a true Elo difference; accepted, rejected, mean games.
    fn simulate(elo: f64, seats: u8, runs: u32, seed: u64) -> (u32, u32, f64) {
        let settings = SprtSettings::default();
        let mut choices = Choices::new(seed);
        let (mut accepted, mut rejected, mut games) = (0, 0, 0);
        for _ in 0..runs {
            let mut sets = Sets::new(seats);
            let verdict = loop {
                if let Some(verdict) = sets.sprt(&settings) {
                    break verdict;
                }
                // Some openings favour a side: the games of a set depend on each other.
                let bias = f64::from(unit(&mut choices) - 0.5) * 100.0;
                let mut wins = 0;
                for seat in 0..seats {
                    let swing = [bias, -bias, 0.0, 0.0][usize::from(seat)];
                    let score = expected_score(elo + swing, seats);
                    wins += u32::from(f64::from(unit(&mut choices)) < score);
                }
                sets.add(wins);
            };
            match verdict {
                Sprt::Accept => accepted += 1,
                Sprt::Reject => rejected += 1,
                Sprt::Inconclusive => {}
            }
            games += sets.games();
            assert!(sets.games() <= settings.games_max);
        }
        (accepted, rejected, f64::from(games) / f64::from(runs))
    }

    #[test]
    fn a_stronger_candidate_is_accepted() {
        let (accepted, _, games) = simulate(100.0, 2, 1_000, 1);
        println!("+100: {accepted} of 1000 accepted, {games:.0} games");
        assert!(accepted >= 990 && games < 120.0, "{accepted} {games}");
    }

    #[test]
    fn an_equal_candidate_is_not() {
        for (elo, seats) in [(0.0, 2), (0.0, 3), (0.0, 4), (-50.0, 2)] {
            let (accepted, rejected, games) = simulate(elo, seats, 1_000, 2);
            println!("{elo:+} with {seats}: {accepted} accepted, {rejected} rejected, {games:.0} games");
            assert!(accepted < 50, "{elo} {seats}: {accepted}");
            assert!(rejected > 500, "{elo} {seats}: {rejected}");
        }
    }

    #[test]
    fn a_short_streak_is_no_verdict() {
        let mut sets = Sets::new(2);
        for _ in 0..7 {
            sets.add(2);
            assert_eq!(sets.sprt(&SprtSettings::default()), None);
        }
        sets.add(2);
        assert_eq!(sets.sprt(&SprtSettings::default()), Some(Sprt::Accept));
    }

    #[test]
    fn the_cap_ends_the_test() {
        let settings = SprtSettings { games_max: 7, ..SprtSettings::default() };
        let mut sets = Sets::new(2);
        sets.add(1);
        sets.add(1);
        assert_eq!(sets.sprt(&settings), None);
        sets.add(1);
        assert_eq!(sets.sprt(&settings), Some(Sprt::Inconclusive));
    }

    #[test]
    fn elo_is_what_was_played() {
        for seats in 2..=4 {
            assert!(elo_of_score(1.0 / f64::from(seats), seats).abs() < 1e-9);
            assert!((elo_of_score(expected_score(120.0, seats), seats) - 120.0).abs() < 1e-9);
        }
        let mut sets = Sets::new(2);
        assert!(sets.elo().delta.abs() < 1e-9 && sets.elo().error.is_finite());
        for set in 0..200 {
            sets.add(if set % 25 < 18 { 1 } else { 2 });
        }
        let elo = sets.elo();
        assert_eq!((sets.games(), sets.wins(), sets.losses()), (400, 256, 144));
        assert!((elo.delta - 100.0).abs() < 2.0, "{elo:?}");
        assert!((8.0..20.0).contains(&elo.error), "{elo:?}");
        let mut clean = Sets::new(4);
        (0..10).for_each(|_| clean.add(4));
        assert!(clean.elo().delta.is_finite() && clean.elo().error.is_finite());
    }

    #[test]
    fn wilson_is_the_textbook_interval() {
        let check = |wins, games, low: f64, high: f64| {
            let (got_low, got_high) = wilson(wins, games);
            assert!((got_low - low).abs() < 5e-4 && (got_high - high).abs() < 5e-4, "{got_low} {got_high}");
        };
        check(0, 0, 0.0, 1.0);
        check(8, 10, 0.4902, 0.9433);
        check(0, 20, 0.0, 0.1611);
        check(360, 400, 0.8668, 0.9257);
    }
}
