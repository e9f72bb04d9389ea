//! The figures in integers against the same formulas in floats, and claims that do not hold.

use super::*;
use crate::samples::{TERMS, evidence, hash};
use proptest::prelude::*;

/// The formulas in floats, as a textbook has them.
struct Floats {
    seats: f64,
    sets: f64,
    wins: f64,
    squares: f64,
}

impl Floats {
    fn of(tally: &Tally) -> Self {
        let squares = tally.count(|wins| wins * wins) as f64;
        Self { seats: tally.seats() as f64, sets: tally.sets().into(), wins: tally.wins().into(), squares }
    }

    fn expected_score(&self, elo: f64) -> f64 {
        1.0 / (1.0 + (self.seats - 1.0) * 10f64.powf(-elo / 400.0))
    }

    fn score(&self) -> f64 {
        self.wins / (self.sets * self.seats).max(1.0)
    }

    fn variance(&self) -> f64 {
        let even = 1.0 / self.seats;
        let prior = even * (1.0 - even) / self.seats;
        let spread = self.squares / self.seats.powi(2) - self.sets * self.score().powi(2);
        (spread.max(0.0) + 16.0 * prior) / (self.sets + 16.0)
    }

    fn elo(&self) -> Elo {
        let score = (self.wins + 1.0 / self.seats) / (self.sets * self.seats + 1.0);
        let delta = -400.0 * ((1.0 / score - 1.0) / (self.seats - 1.0)).log10();
        let slope = 400.0 / std::f64::consts::LN_10 / (score * (1.0 - score));
        Elo { delta, error: (self.variance() / self.sets.max(1.0)).sqrt() * slope }
    }

    fn llr(&self, elo1: f64) -> f64 {
        let (s0, s1) = (self.expected_score(0.0), self.expected_score(elo1));
        self.sets * (s1 - s0) * (2.0 * self.score() - s0 - s1) / (2.0 * self.variance())
    }
}

fn tally(sets: &[u32]) -> Tally {
    Tally::of(sets.to_vec()).unwrap()
}

/// Compares everything about a tally with the floats.
fn check(tally: &Tally, elo1_milli: u32) {
    let floats = Floats::of(tally);
    let (elo, expected) = (tally.elo(), floats.elo());
    assert!((elo.delta - expected.delta).abs() < 6e-4, "{tally:?}: {elo:?} {expected:?}");
    assert!((elo.error - expected.error).abs() < 6e-4, "{tally:?}: {elo:?} {expected:?}");
    let (llr, expected) =
        (tally.llr(elo1_milli) as f64 / ONE as f64, floats.llr(f64::from(elo1_milli) / 1e3));
    assert!((llr - expected).abs() < 1e-6 * expected.abs().max(1.0), "{tally:?}: {llr} {expected}");
    let terms = Terms { elo1_milli, games_max: 400, ..TERMS };
    // At the very bound the two may differ.
    if (expected.abs() - 19f64.ln()).abs() > 1e-6 {
        let enough = tally.games() >= EVIDENCE_GAMES_MIN;
        let verdict = match expected {
            llr if enough && llr >= 19f64.ln() => Some(Sprt::Accept),
            llr if enough && llr <= -(19f64.ln()) => Some(Sprt::Reject),
            _ => (i128::from(tally.games()) + tally.seats() > 400).then_some(Sprt::Inconclusive),
        };
        assert_eq!(tally.sprt(&terms), verdict, "{tally:?}");
    }
}

#[test]
fn the_figures_are_those_of_the_formulas() {
    for (sets, elo1_milli) in [
        (&[0, 0, 0][..], 50_000),
        (&[0, 0, 8], 50_000),
        (&[0, 0, 7], 50_000),
        (&[8, 0, 0], 50_000),
        (&[10, 100, 90], 50_000),
        (&[50, 100, 50], 50_000),
        (&[30, 20, 150], 1),
        (&[30, 20, 150], 1_000_000),
        (&[0, 5000, 5000], 400_000),
        (&[10_000, 0, 0], 1_000_000),
        (&[0, 0, 10_000], 1_000_000),
        (&[0, 0, 0, 0], 50_000),
        (&[1, 40, 30, 20], 100_000),
        (&[40, 30, 20, 10, 1], 100_000),
        (&[0, 0, 0, 0, 10], 100_000),
        (&[0, 0, 0, 0, 5000], 100_000),
    ] {
        check(&tally(sets), elo1_milli);
    }
}

#[test]
fn figures_are_the_same_on_every_machine() {
    let figures = |sets: &[u32]| {
        let elo = tally(sets).elo();
        (elo.delta, elo.error, tally(sets).llr(50_000))
    };
    type Figures = (f64, f64, i128);
    let expected: [(&[u32], Figures); 3] = [
        (&[10, 100, 90], (146.778, 17.332, 29347159065000)),
        (&[1, 40, 30, 20], (180.168, 20.131, 20332630174766)),
        (&[0, 0, 0, 0, 10], (882.73, 519.552, 15866270287970)),
    ];
    for (sets, expected) in expected {
        assert_eq!(figures(sets), expected, "{sets:?}");
    }
}

#[test]
fn a_short_streak_is_no_verdict_and_the_cap_ends_the_test() {
    assert_eq!(tally(&[0, 0, 7]).sprt(&TERMS), None);
    assert_eq!(tally(&[0, 0, 8]).sprt(&TERMS), Some(Sprt::Accept));
    let few = Terms { games_max: 7, ..TERMS };
    assert_eq!(tally(&[0, 2, 0]).sprt(&few), None);
    assert_eq!(tally(&[0, 3, 0]).sprt(&few), Some(Sprt::Inconclusive));
}

#[test]
fn the_gauntlet_needs_random_play_to_be_beaten() {
    let with = |random: &[u32], terms: Terms| {
        let against =
            Tallies { champion: tally(&[0, 0, 40]), random: tally(random), heuristic: tally(&[1, 1, 0]) };
        let evidence = Evidence::of((hash(1), hash(2)), terms, against, vec![]);
        (evidence.sprt, evidence.passed_gauntlet, evidence.win_rate_vs_random)
    };
    let passed = |rate| (Sprt::Accept, true, rate);
    let failed = |rate| (Sprt::Inconclusive, false, rate);
    assert_eq!(with(&[0, 18, 2], TERMS), passed(0.55));
    assert_eq!(with(&[0, 19, 1], TERMS), failed(0.525));
    assert_eq!(with(&[0, 0, 19], TERMS), failed(1.0), "38 games of 40");
    assert_eq!(with(&[0, 0, 0], TERMS), failed(0.0), "a watch has no verdict");
    assert_eq!(with(&[0, 20, 0], Terms { random_min_ppm: 0, ..TERMS }), passed(0.5));
}

#[test]
fn a_claim_that_differs_from_its_games_does_not_hold() {
    let honest = evidence(hash(1), hash(2));
    assert!(honest.holds() && honest.passed_gauntlet && honest.sprt == Sprt::Accept, "{honest:?}");
    let check = |change: &dyn Fn(&mut Evidence)| {
        let mut claim = honest.clone();
        change(&mut claim);
        assert!(!claim.holds(), "{claim:?}");
    };
    check(&|it| it.games += 2);
    check(&|it| (it.wins, it.losses) = (it.wins + 1, it.losses - 1));
    check(&|it| it.elo_delta += 0.001);
    check(&|it| it.elo_delta = f64::NAN);
    check(&|it| it.elo_error = 0.0);
    check(&|it| it.sprt = Sprt::Inconclusive);
    check(&|it| it.win_rate_vs_random = 0.99);
    check(&|it| it.win_rate_vs_heuristic = 1.0);
    check(&|it| it.passed_gauntlet = false);
    check(&|it| it.against.champion = tally(&[20, 0, 0]));
    check(&|it| it.against.random = tally(&[20, 0, 0]));
    // Other terms give other figures, or are out of bounds.
    check(&|it| it.terms.baseline_games = 10_000);
    check(&|it| it.terms.elo1_milli = 0);
    check(&|it| it.terms.elo1_milli = 1_000_001);
    check(&|it| it.terms.games_max = u32::MAX);
    check(&|it| it.terms.random_min_ppm = 1_000_001);
    // Tallies of no game, and of games with another number of seats.
    let counts = |sets: &[u32]| Tally(sets.to_vec());
    for sets in [&[][..], &[1], &[1, 1], &[1; 6], &[0, 0, 10_001], &[u32::MAX; 3], &[0, 0, 0, 1]] {
        check(&|it| {
            it.against.heuristic = counts(sets);
        });
        check(&|it| it.against = Tallies { champion: counts(sets), ..it.against.clone() });
    }
}

proptest! {
    #[test]
    fn any_tally_has_the_figures_of_the_formulas(
        sets in prop::collection::vec(0..400u32, 3..=5),
        elo1_milli in 1..=1_000_000u32,
    ) {
        check(&tally(&sets), elo1_milli);
    }

    #[test]
    fn nothing_that_decodes_panics(sets in prop::collection::vec(any::<u32>(), 0..8), elo1_milli in any::<u32>()) {
        let mut claim = evidence(hash(1), hash(2));
        claim.against.random = Tally(sets.clone());
        claim.terms.elo1_milli = elo1_milli;
        prop_assert!(!claim.holds() || Tally::of(sets.clone()).is_some());
        claim.against = Tallies { champion: Tally(sets.clone()), random: Tally(sets.clone()), heuristic: Tally(sets) };
        prop_assert!(!claim.holds());
    }
}
