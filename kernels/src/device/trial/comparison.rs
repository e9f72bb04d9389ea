//! How what a device computed is held against what it should have.

use serde::Serialize;
use std::fmt;

/// How close numbers have to be: `|got - wanted| <= absolute + relative * |wanted|`; anything that is no
/// number is equal to anything else that is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tolerance {
    /// The part of the allowance in the numbers' own unit.
    pub absolute: f64,
    /// The part of the allowance as a share of what is wanted.
    pub relative: f64,
}

impl Tolerance {
    /// No difference at all; only a zero may have either sign.
    pub(crate) const NONE: Self = Self { absolute: 0.0, relative: 0.0 };

    /// How far a number is from what it should be, as a share of what is
    /// allowed; infinite where nothing is allowed.
    fn distance(self, got: f32, wanted: f32) -> f64 {
        if got == wanted || got.is_nan() && wanted.is_nan() {
            return 0.0;
        }
        let (got, wanted) = (f64::from(got), f64::from(wanted));
        let allowed = self.absolute + self.relative * wanted.abs();
        // Nothing is close to infinity but itself.
        let share = if wanted.is_finite() { (got - wanted).abs() / allowed } else { f64::INFINITY };
        if share.is_nan() { f64::INFINITY } else { share }
    }
}

/// A comparison with what is known to be right.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What was compared, for a person.
    pub what: String,
    /// Numbers, games or steps that were compared.
    pub compared: usize,
    /// What is allowed; none where words have to be equal.
    pub tolerance: Option<Tolerance>,
    /// The largest difference as a share of what is allowed; none where
    /// words have to be equal, or if it is infinite.
    pub worst: Option<f64>,
    /// What is wrong, with the first or the worst place; none if nothing is.
    pub wrong: Option<String>,
}

impl Comparison {
    /// Compares words.
    pub(crate) fn words(what: String, got: &[u32], wanted: &[u32]) -> Self {
        let mut wrong = lengths(got.len(), wanted.len());
        if wrong.is_none() {
            let count = got.iter().zip(wanted).filter(|(got, wanted)| got != wanted).count();
            let first = got.iter().zip(wanted).position(|(got, wanted)| got != wanted);
            wrong = first.map(|at| {
                format!("{count} words differ, the first at {at}: {:08x}, not {:08x}", got[at], wanted[at])
            });
        }
        Self { what, compared: wanted.len(), tolerance: None, worst: None, wrong }
    }

    /// Compares numbers.
    pub(crate) fn numbers(what: String, got: &[f32], wanted: &[f32], tolerance: Tolerance) -> Self {
        let mut wrong = lengths(got.len(), wanted.len());
        let distances = got.iter().zip(wanted).map(|(&got, &wanted)| tolerance.distance(got, wanted));
        let (at, worst) =
            distances.enumerate().fold((0, 0.0), |worst, next| if next.1 > worst.1 { next } else { worst });
        if wrong.is_none() && worst > 1.0 {
            wrong = Some(format!("the worst at {at}: {}, not {}", got[at], wanted[at]));
        }
        let worst = worst.is_finite().then_some(worst);
        Self { what, compared: wanted.len(), tolerance: Some(tolerance), worst, wrong }
    }

    /// A comparison that could not be made, because of an error.
    pub(crate) fn failed(what: String, error: &dyn fmt::Display) -> Self {
        Self { what, compared: 0, tolerance: None, worst: None, wrong: Some(error.to_string()) }
    }

    /// Whether everything is as it should be.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.wrong.is_none()
    }
}

/// The length of a vector.
pub(crate) fn length<T: Copy + Into<f64>>(values: &[T]) -> f64 {
    values.iter().map(|&v| v.into().powi(2)).sum::<f64>().sqrt()
}

/// The length of the difference of two vectors, and that of the second.
///
/// # Panics
/// If one has more numbers than the other.
pub(crate) fn apart<T: Copy + Into<f64>>(got: &[T], wanted: &[T]) -> (f64, f64) {
    assert_eq!(got.len(), wanted.len(), "numbers of two vectors");
    let difference: Vec<f64> = got.iter().zip(wanted).map(|(&g, &w)| g.into() - w.into()).collect();
    (length(&difference), length(wanted))
}

fn lengths(got: usize, wanted: usize) -> Option<String> {
    (got != wanted).then(|| format!("{got} numbers, not {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_close_or_not() {
        let some = Tolerance { absolute: 0.1, relative: 0.01 };
        for (got, wanted, tolerance, agrees) in [
            (1.0, 1.0, Tolerance::NONE, true),
            (0.0, -0.0, Tolerance::NONE, true),
            (1.0, 1.000_000_1, Tolerance::NONE, false),
            (1.0, 1.1, some, true),
            (1.0, 1.12, some, false),
            (1000.0, 1010.0, some, true),
            (f32::NAN, f32::NAN, Tolerance::NONE, true),
            (f32::NAN, 1.0, some, false),
            (1.0, f32::NAN, some, false),
            (f32::INFINITY, f32::INFINITY, some, true),
            (f32::MAX, f32::INFINITY, some, false),
            (f32::INFINITY, f32::MAX, some, false),
            (f32::NEG_INFINITY, f32::INFINITY, some, false),
        ] {
            let found = Comparison::numbers("n".into(), &[0.5, got], &[0.5, wanted], tolerance);
            assert_eq!(found.agrees(), agrees, "{got} {wanted}: {found:?}");
        }
        assert!(!Comparison::numbers("n".into(), &[1.0], &[1.0, 2.0], some).agrees());
        assert!(!Comparison::numbers("n".into(), &[], &[2.0], some).agrees());
    }

    #[test]
    fn words_are_equal_or_not() {
        assert!(Comparison::words("w".into(), &[1, 2], &[1, 2]).agrees());
        let found = Comparison::words("w".into(), &[1, 3, 4], &[1, 2, 2]);
        let wrong = found.wrong.unwrap();
        assert_eq!(wrong, "2 words differ, the first at 1: 00000003, not 00000002");
        assert!(!Comparison::words("w".into(), &[1], &[1, 2]).agrees());
    }
}
