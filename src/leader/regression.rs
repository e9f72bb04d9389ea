//! RegressionDetector: a sequential test of the champion against its own past.
//!
//! Invariant: what is said of a champion rests on stored games against the one before it, which nodes that
//! had no part in them have counted again. Their sums are in the replicated state, so every leader says the
//! same. A champion is evaluated when nothing else waits for evaluation, and no longer than its test needs. A
//! round that nobody confirms is played again, by another node.

use super::{
    placement::{FirstSeen, LEASE_TTL, RetryPauses, choose_evaluator},
    verification::{Verification, Verified},
};
use crate::learner::{
    evaluation::WATCH_GAMES,
    sprt::{elo_of_games, llr_of_games, wald},
};
use cluster_state::{
    ClusterState, Command, ConfigState, LeaseKind, Regression, Severity, Watch,
    command::{GrantLease, ReportRegression},
};
use std::{collections::BTreeSet, time::Duration};

/// Elo differences to the champion before that are told apart, in the order of null hypothesis and
/// alternative. In the long run whoever is below their middle is found, whoever is above is not: 20 points
/// for a minor regression, 75 for a critical one.
const MINOR: (f64, f64) = (0.0, -40.0);
/// The two hypotheses of a critical regression, as of [`MINOR`].
const CRITICAL: (f64, f64) = (-20.0, -130.0);
/// The probability of either error of either test, at its hypotheses.
const RISK: f64 = 0.05;
/// Games before anything is said: one round of them.
pub const GAMES_MIN: u64 = WATCH_GAMES as u64;
/// Games after which the question stays open: an equal champion is found sound after 450 on average.
pub const GAMES_MAX: u64 = 1_000;

/// What the games show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChampionVerdict {
    /// Not enough yet.
    Open,
    /// It is not worse than the one before.
    Sound,
    /// It is worse.
    Regressed(Severity),
}

/// The verdict on a champion's games against the one before it.
#[must_use]
pub fn judge(watch: &Watch, seats: u8) -> ChampionVerdict {
    let shows = |(elo0, elo1)| wald(llr_of_games(watch.wins, watch.games, seats, elo0, elo1), RISK, RISK);
    if watch.games < GAMES_MIN {
        ChampionVerdict::Open
    } else if shows(CRITICAL) == Some(true) {
        ChampionVerdict::Regressed(Severity::Critical)
    } else {
        match shows(MINOR) {
            Some(true) => ChampionVerdict::Regressed(Severity::Minor),
            Some(false) => ChampionVerdict::Sound,
            None => ChampionVerdict::Open,
        }
    }
}

/// The regressions that are found, and those that are over.
#[must_use]
pub fn decide(state: &ClusterState, at_ms: u64) -> Vec<Command> {
    state.configs.values().filter_map(|config| report(state, config, at_ms)).collect()
}

fn report(state: &ClusterState, config: &ConfigState, at_ms: u64) -> Option<Command> {
    let watch = state.watched(config)?;
    let seats = seats(config)?;
    let known = config.steering.regression.as_ref();
    let severity = match (judge(&watch, seats), known) {
        (ChampionVerdict::Regressed(found), None) => Some(found),
        (ChampionVerdict::Regressed(found), Some(known)) if found > known.severity => Some(found),
        (ChampionVerdict::Sound, Some(known)) if minor(known) && watch.at_ms > known.since_ms => None,
        (ChampionVerdict::Open | ChampionVerdict::Sound | ChampionVerdict::Regressed(_), _) => return None,
    };
    let elo = elo_of_games(watch.wins, watch.games, seats);
    Some(Command::ReportRegression(ReportRegression {
        config_key: config.config_key.clone(),
        champion: Some(config.champion),
        severity,
        elo_drop: (-elo).max(0.0),
        games: watch.games,
        reason: format!("Elo {elo:+.0} against the champion before after {} games", watch.games),
        trigger: None,
        at_ms,
    }))
}

fn seats(config: &ConfigState) -> Option<u8> {
    config.config_key.game().map(|game| game.seats)
}

fn minor(regression: &Regression) -> bool {
    regression.severity == Severity::Minor
}

/// What the leader remembers: since when it has seen each champion at its last round.
#[derive(Debug, Default)]
pub struct RegressionDecider {
    seen: FirstSeen<(u64, u64)>,
    retries: RetryPauses,
    verification: Verification,
}

impl RegressionDecider {
    /// The champions that play a round now: one round each time `every` has passed.
    pub fn decide(&mut self, state: &ClusterState, every: Duration, at_ms: u64) -> Vec<Command> {
        let mut commands = Vec::new();
        for config in state.configs.values() {
            let key = &config.config_key;
            let last = config.steering.round.as_ref().map(|round| &round.review);
            let epoch = last.map_or(0, |review| review.epoch);
            let age_ms = self.seen.age_ms(key, (config.generation, epoch), at_ms);
            let waits = match self.verification.round(state, config, at_ms) {
                Verified::Waits(_) => true,
                Verified::Yes | Verified::Contested(_) => false,
            };
            if !wanted(state, config)
                || waits
                || u128::from(age_ms) < every.as_millis()
                || !self.retries.allows(key, config.evaluation.failures, at_ms)
            {
                continue;
            }
            let before = last.map(|review| review.evaluated_by);
            if let Some(node) = choose_evaluator(state, key, config.champion, before, &BTreeSet::new()) {
                commands.push(Command::GrantLease(GrantLease {
                    kind: LeaseKind::Evaluation,
                    config_key: key.clone(),
                    node,
                    subject: Some(config.champion),
                    ttl_ms: LEASE_TTL.as_millis() as u64,
                    at_ms,
                }));
            }
        }
        commands
    }
}

/// Whether nothing else waits for evaluation and another round would tell something new.
fn wanted(state: &ClusterState, config: &ConfigState) -> bool {
    let idle = config.evaluation.live.is_none() && config.candidates.is_empty();
    let steering = &config.steering;
    let watch = state.watched(config);
    let open = match (&watch, seats(config)) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(watch), Some(seats)) => {
            watch.games < GAMES_MAX && judge(watch, seats) != ChampionVerdict::Sound
        }
    };
    // What is known to be critical is on its way out. A minor one may turn out to be none, or worse.
    let known = steering.regression.as_ref();
    let recovering = known.is_some_and(minor) && watch.is_none_or(|watch| watch.games < GAMES_MAX);
    idle && config.fallback().is_some() && known.is_none_or(minor) && (open || recovering)
}

#[cfg(test)]
mod tests;
