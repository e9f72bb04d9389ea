//! Strength from counted games: what an Elo difference means, the sequential test of a champion that is
//! watched, and intervals.
//!
//! Invariant: nothing here decides about a candidate. Its test and its Elo difference are those of
//! [`cluster_state::Tally`], which every node computes alike.

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
    use crate::{learner::settings::EvaluationConfig, search::unit};
    use cluster_state::{Sprt, Tally};
    use rules::playout::Choices;

    /// Runs the test `runs` times on games with a true Elo difference; accepted, rejected, mean games.
    fn simulate(elo: f64, seats: u8, runs: u32, seed: u64) -> (u32, u32, f64) {
        let terms = EvaluationConfig::default().terms();
        let mut choices = Choices::new(seed);
        let (mut accepted, mut rejected, mut games) = (0, 0, 0);
        for _ in 0..runs {
            let mut sets = Tally::new(seats);
            let verdict = loop {
                if let Some(verdict) = sets.sprt(&terms) {
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
            assert!(sets.games() <= terms.games_max);
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
    fn elo_is_what_was_played() {
        for seats in 2..=4 {
            assert!(elo_of_score(1.0 / f64::from(seats), seats).abs() < 1e-9);
            assert!((elo_of_score(expected_score(120.0, seats), seats) - 120.0).abs() < 1e-9);
        }
        let mut sets = Tally::new(2);
        assert!(sets.elo().delta.abs() < 1e-9 && sets.elo().error.is_finite());
        for set in 0..200 {
            sets.add(if set % 25 < 18 { 1 } else { 2 });
        }
        let elo = sets.elo();
        assert_eq!((sets.games(), sets.wins(), sets.losses()), (400, 256, 144));
        assert!((elo.delta - 100.0).abs() < 2.0, "{elo:?}");
        assert!((8.0..20.0).contains(&elo.error), "{elo:?}");
        let mut clean = Tally::new(4);
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
