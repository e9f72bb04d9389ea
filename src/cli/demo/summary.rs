//! What the demo has shown, and whether it is what the demo promises.
//!
//! Invariant: `ok` only if every peer has the same history of champions, nothing acknowledged is missing, and
//! the demo ran to its end.

use super::super::win_rate::WinRate;
use cluster_state::ModelId;
use serde::Serialize;
use std::collections::BTreeMap;

/// How the champion played against uniformly random play.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct ExamResult {
    #[serde(flatten)]
    pub(super) won: WinRate,
    pub(super) games: u32,
}

/// The result of the demo, as `--json` writes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct DemoSummary {
    pub(super) ok: bool,
    pub(super) seconds: f64,
    pub(super) games: u64,
    pub(super) promotions: u64,
    pub(super) champion: BTreeMap<String, ModelId>,
    pub(super) win_rate_vs_random: Option<ExamResult>,
    pub(super) first_promotion_s: Option<f64>,
    pub(super) leaderless_s: Option<f64>,
    pub(super) lost: Vec<String>,
    pub(super) problems: Vec<String>,
}
