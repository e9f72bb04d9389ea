//! The share of games won, as several commands print it.

use crate::learner::sprt::wilson;
use serde::Serialize;

/// Share of games won, with the Wilson interval that contains it with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct WinRate {
    pub(super) mean: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl WinRate {
    pub(super) fn of(wins: u32, games: u32) -> Self {
        let (low, high) = wilson(wins, games);
        Self { mean: f64::from(wins) / f64::from(games.max(1)), low, high }
    }
}
