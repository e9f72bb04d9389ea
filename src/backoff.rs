//! The pause before something that failed is tried again.
//!
//! Invariant: the pause never shrinks as failures in a row add up, and it stays between `min` and `max`.
//! It is a pure function: the caller keeps the count of failures and the clock.

use std::time::Duration;

/// A pause that starts at `min` and doubles with each further failure in a row, up to `max`.
///
/// `min` may not be longer than `max`; the pause is then `max` from the first failure on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The pause after the first failure.
    pub min: Duration,
    /// The longest pause.
    pub max: Duration,
}

impl Backoff {
    /// The pause after `failures` failures in a row; none after no failure.
    #[must_use]
    pub fn pause(self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        // A shift by 32 or more has no result; the factor is far beyond any `max / min` by then.
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(backoff: Backoff, seconds: &[(u32, u64)]) {
        for &(failures, expected) in seconds {
            assert_eq!(
                backoff.pause(failures),
                Duration::from_secs(expected),
                "{backoff:?} after {failures}"
            );
        }
    }

    #[test]
    fn the_pause_doubles_up_to_the_longest_and_never_overflows() {
        let between = |min, max| Backoff { min: Duration::from_secs(min), max: Duration::from_secs(max) };
        check(between(1, 60), &[(0, 0), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (u32::MAX, 60)]);
        check(between(5, 300), &[(1, 5), (2, 10), (6, 160), (7, 300), (33, 300), (34, 300)]);
        check(between(u64::MAX / 2, u64::MAX), &[(1, u64::MAX / 2), (3, u64::MAX), (40, u64::MAX)]);
        check(between(90, 60), &[(0, 0), (1, 60), (2, 60)]);
        check(between(0, 60), &[(1, 0), (40, 0)]);
    }
}
