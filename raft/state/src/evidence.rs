//! Evidence: the games of an evaluation as counts, and every figure that follows from them.
//!
//! Invariant: the figures are a function of the counts and the terms, in integers, so every replica computes
//! them itself and comes to the same bits. [`Evidence::holds`] compares them with what is claimed.
//!
//! The unit of all statistics is the set of games that share an opening, one for each seat of the player,
//! because the games of a set are not independent and sets are. Every game has exactly one winner.

use crate::{
    fixed::{self, Fixed, LN_2, ONE},
    id::{ModelId, SegmentId},
    model::{Evidence, Sprt},
    state_machine::EVIDENCE_GAMES_MIN,
};
use serde::{Deserialize, Serialize};

/// Most games against one opponent that evidence counts: more than any setting asks for.
pub const TALLY_GAMES_MAX: u64 = 20_000;
/// The odds at which the sequential test ends: it accepts an equal player, and rejects one that is stronger
/// by `elo1`, with a probability of 1 in 20.
const ODDS: u64 = 19;
/// Number of sets that the variance counts as seen before the first, because a run of equal sets proves no
/// certainty.
const PRIOR_SETS: i128 = 16;
/// An Elo difference and the thousandths in which it is computed.
const MILLI: i128 = 1000;

/// What an evaluation is run by, as far as its verdict depends on it. The bounds are the same for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Elo difference of the alternative hypothesis of the sequential test, in thousandths; the null
    /// hypothesis is 0.
    pub elo1_milli: u32,
    /// Number of games against the champion after which the test ends without a verdict.
    pub games_max: u32,
    /// Number of games against random play that are needed.
    pub baseline_games: u32,
    /// Share of these games that the candidate has to win, in millionths.
    pub random_min_ppm: u32,
}

impl Terms {
    /// Whether each is within its bounds.
    #[must_use]
    pub fn are_bounded(&self) -> bool {
        let Self { elo1_milli, games_max, baseline_games, random_min_ppm } = self;
        (1..=1_000_000).contains(elo1_milli)
            && (2..=10_000).contains(games_max)
            && (2..=10_000).contains(baseline_games)
            && *random_min_ppm <= 1_000_000
    }
}

/// The sets of games against one opponent: how many ended without a win, with one, and so on, up to a win at
/// every seat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tally(Vec<u32>);

/// An Elo difference and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elo {
    /// The difference to the opponent.
    pub delta: f64,
    /// Its standard error.
    pub error: f64,
}

impl Tally {
    /// The score before the first game of a game with 2 to 4 seats.
    #[must_use]
    pub fn new(seats: u8) -> Self {
        Self(vec![0; usize::from(seats.clamp(2, 4)) + 1])
    }

    /// The tally with these numbers of sets, if there are 2 to 4 seats and no more games than
    /// [`TALLY_GAMES_MAX`].
    #[must_use]
    pub fn of(sets: Vec<u32>) -> Option<Self> {
        let tally = Self(sets);
        tally.is_bounded().then_some(tally)
    }

    /// Adds a set of games of which the player won `wins`, one for each seat at most.
    pub fn add(&mut self, wins: u32) {
        let most = self.0.len().saturating_sub(1);
        if let Some(sets) = self.0.get_mut((wins as usize).min(most)) {
            *sets = sets.saturating_add(1);
        }
    }

    fn is_bounded(&self) -> bool {
        (3..=5).contains(&self.0.len()) && self.count(|_| 1) * self.seats() as u64 <= TALLY_GAMES_MAX
    }

    fn count(&self, of: impl Fn(u64) -> u64) -> u64 {
        (0u64..).zip(&self.0).map(|(wins, sets)| of(wins) * u64::from(*sets)).sum()
    }

    fn seats(&self) -> i128 {
        self.0.len() as i128 - 1
    }

    /// Number of sets.
    #[must_use]
    pub fn sets(&self) -> u32 {
        self.count(|_| 1) as u32
    }

    /// Number of games.
    #[must_use]
    pub fn games(&self) -> u32 {
        self.sets() * self.seats() as u32
    }

    /// Number of games that the player won.
    #[must_use]
    pub fn wins(&self) -> u32 {
        self.count(|wins| wins) as u32
    }

    /// Number of games that the player lost.
    #[must_use]
    pub fn losses(&self) -> u32 {
        self.games() - self.wins()
    }

    /// The share of games won; 0 before the first game.
    #[must_use]
    pub fn score(&self) -> f64 {
        f64::from(self.wins()) / f64::from(self.games().max(1))
    }

    /// The variance of the score of one set, between what was seen and that of independent games of equal
    /// players, as numerator and denominator.
    fn variance(&self) -> (i128, i128) {
        let (n, k, wins) = (i128::from(self.sets()), self.seats(), i128::from(self.wins()));
        let squares = i128::from(self.count(|wins| wins * wins));
        if n == 0 {
            return (k - 1, k.pow(3));
        }
        let seen = k * (squares * n - wins * wins);
        (seen + PRIOR_SETS * n * (k - 1), n * k.pow(3) * (n + PRIOR_SETS))
    }

    /// The Elo difference that the games show, by the Bradley-Terry model against equal opponents, with its
    /// standard error, in thousandths. One game that is shared evenly is added, which keeps both finite.
    fn elo_milli(&self) -> (i128, i128) {
        let (k, games, wins) = (self.seats(), i128::from(self.games()), i128::from(self.wins()));
        // The share of games won is `won / (won + lost)`.
        let won = wins * k + 1;
        let lost = k * (games + 1) - won;
        let odds = fixed::log2((won * (k - 1)) as u64) - fixed::log2(lost as u64);
        let delta = rounded(400 * MILLI * odds, fixed::log2(10));
        let (numerator, denominator) = self.variance();
        let n = i128::from(self.sets().max(1));
        let error = fixed::sqrt_ratio(numerator as u128, (denominator * n) as u128);
        // 400 / ln 10, and the slope of the score.
        let slope = fixed::div(400 * ONE, fixed::mul(LN_2, fixed::log2(10)));
        let slope = slope * (won + lost).pow(2) / (won * lost);
        (delta, rounded(MILLI * fixed::mul(error, slope), ONE))
    }

    /// The Elo difference to the opponent, with its standard error, to a thousandth.
    #[must_use]
    pub fn elo(&self) -> Elo {
        let (delta, error) = self.elo_milli();
        Elo { delta: delta as f64 / MILLI as f64, error: error as f64 / MILLI as f64 }
    }

    /// The log-likelihood ratio of the two hypotheses, for scores that are normal around their mean (the
    /// generalised test of *Van den Bergh 2019, Comments on normalized Elo and the GSPRT*).
    fn llr(&self, elo1_milli: u32) -> Fixed {
        let (n, k) = (i128::from(self.sets()), self.seats());
        if n == 0 {
            return 0;
        }
        let (s0, s1) = (fixed::ratio(1, k), expected_score(elo1_milli, k));
        let score = fixed::ratio(i128::from(self.wins()), n * k);
        let (numerator, denominator) = self.variance();
        n * fixed::div(fixed::mul(s1 - s0, 2 * score - s0 - s1), 2 * fixed::ratio(numerator, denominator))
    }

    /// Whether these games against random play won too little, however those would end that the terms still
    /// ask for.
    #[must_use]
    pub fn falls_short(&self, terms: &Terms) -> bool {
        let (games, wins) = (u64::from(self.games()), u64::from(self.wins()));
        let open = u64::from(terms.baseline_games).saturating_sub(games);
        (wins + open) * 1_000_000 < (games + open) * u64::from(terms.random_min_ppm)
    }

    /// The verdict of Wald's sequential test, if there is one yet.
    #[must_use]
    pub fn sprt(&self, terms: &Terms) -> Option<Sprt> {
        if self.games() >= EVIDENCE_GAMES_MIN {
            let (llr, bound) = (self.llr(terms.elo1_milli), fixed::mul(LN_2, fixed::log2(ODDS)));
            if llr >= bound {
                return Some(Sprt::Accept);
            }
            if llr <= -bound {
                return Some(Sprt::Reject);
            }
        }
        let over = i128::from(self.games()) + self.seats() > i128::from(terms.games_max);
        over.then_some(Sprt::Inconclusive)
    }
}

/// The score that an Elo difference means against `seats - 1` equal opponents.
fn expected_score(elo_milli: u32, seats: i128) -> Fixed {
    let power = -i128::from(elo_milli) * fixed::log2(10) / (400 * MILLI);
    fixed::div(ONE, ONE + (seats - 1) * fixed::exp2(power))
}

/// The quotient, rounded to the nearest integer.
fn rounded(numerator: i128, denominator: i128) -> i128 {
    (2 * numerator + denominator).div_euclid(2 * denominator)
}

/// The games of an evaluation by opponent. Those that were not played count as none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tallies {
    /// Against the champion.
    pub champion: Tally,
    /// Against uniformly random play.
    pub random: Tally,
    /// Against the one-ply heuristic.
    pub heuristic: Tally,
}

impl Tallies {
    /// The counts before the first game of a game with 2 to 4 seats.
    #[must_use]
    pub fn new(seats: u8) -> Self {
        let none = Tally::new(seats);
        Self { champion: none.clone(), random: none.clone(), heuristic: none }
    }

    /// Number of games.
    #[must_use]
    pub fn games(&self) -> u64 {
        [&self.champion, &self.random, &self.heuristic].map(|tally| u64::from(tally.games())).iter().sum()
    }

    /// Whether they can be games of one evaluation.
    #[must_use]
    pub fn are_bounded(&self) -> bool {
        let all = [&self.champion, &self.random, &self.heuristic];
        all.iter().all(|tally| tally.is_bounded() && tally.0.len() == self.champion.0.len())
    }

    /// Whether the candidate has won enough games against random play.
    #[must_use]
    pub fn beat_random(&self, terms: &Terms) -> bool {
        let (games, wins) = (u64::from(self.random.games()), u64::from(self.random.wins()));
        games >= u64::from(terms.baseline_games)
            && wins * 1_000_000 >= games * u64::from(terms.random_min_ppm)
    }
}

impl Evidence {
    /// The evidence that these games are. `segments` hold them.
    #[must_use]
    pub fn of(
        (candidate, champion): (ModelId, ModelId),
        terms: Terms,
        against: Tallies,
        segments: Vec<SegmentId>,
    ) -> Self {
        let beat_random = against.beat_random(&terms);
        // Who loses to random play is not tested further, and games against another opponent are no test.
        let verdict = beat_random.then(|| against.champion.sprt(&terms)).flatten();
        let (sprt, elo, games) =
            (verdict.unwrap_or(Sprt::Inconclusive), against.champion.elo(), &against.champion);
        Self {
            candidate,
            champion,
            games: games.games(),
            wins: games.wins(),
            losses: games.losses(),
            elo_delta: elo.delta,
            elo_error: elo.error,
            sprt,
            win_rate_vs_random: against.random.score(),
            win_rate_vs_heuristic: against.heuristic.score(),
            passed_gauntlet: beat_random && sprt == Sprt::Accept && games.games() >= EVIDENCE_GAMES_MIN,
            terms,
            against,
            segments,
        }
    }

    /// Whether the games come to a verdict: the candidate falls short against random play, or it does not and
    /// the test against the champion has ended.
    ///
    /// # Errors
    /// Returns the number of games that there are of the kind that is missing, and how many it may take.
    pub fn is_decided(&self) -> Result<(), (u32, u32)> {
        let Tallies { champion, random, heuristic: _ } = &self.against;
        if random.falls_short(&self.terms) {
            Ok(())
        } else if !self.against.beat_random(&self.terms) {
            Err((random.games(), self.terms.baseline_games))
        } else if champion.sprt(&self.terms).is_none() {
            Err((champion.games(), self.terms.games_max))
        } else {
            Ok(())
        }
    }

    /// Whether every figure is the one that its games give.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.terms.are_bounded() && self.against.are_bounded() && {
            let pair = (self.candidate, self.champion);
            *self == Self::of(pair, self.terms, self.against.clone(), self.segments.clone())
        }
    }
}

#[cfg(test)]
mod tests;
