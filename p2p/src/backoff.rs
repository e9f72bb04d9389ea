//! The pause before a peer or an address is dialled again. Pure: chance comes in as an argument, because
//! swarms of many peers are simulated with seeds; `src/backoff.rs` of the node draws its own.

use std::time::Duration;

/// A pause that starts at `min` and doubles with each further failure in a row, up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DialBackoff {
    /// The pause after the first failure, and after none.
    pub(crate) min: Duration,
    /// The longest pause, before it is spread.
    pub(crate) max: Duration,
}

impl DialBackoff {
    /// The pause after `failures` failures in a row. It is spread by a quarter each way, so that peers that
    /// lost each other at one moment do not all dial at one moment. `chance` is in 0..1.
    pub(crate) fn pause(self, failures: u32, chance: f64) -> Duration {
        let pause = self.min.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.max);
        pause.mul_f64(0.75 + 0.5 * chance.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_the_longest_and_is_spread() {
        let backoff = DialBackoff { min: Duration::from_millis(250), max: Duration::from_secs(10) };
        for (failures, chance, millis) in [
            (0, 0.5, 250),
            (1, 0.5, 250),
            (2, 0.5, 500),
            (6, 0.5, 8_000),
            (7, 0.5, 10_000),
            (u32::MAX, 0.5, 10_000),
            (3, 0.0, 750),
            (3, 1.0, 1_250),
            (3, 7.0, 1_250),
        ] {
            assert_eq!(backoff.pause(failures, chance), Duration::from_millis(millis), "{failures} {chance}");
        }
    }
}
