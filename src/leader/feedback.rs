//! UnifiedFeedback: what losses, plateaus and ratings ask of training and self-play.
//!
//! Invariant: the factors are a pure function of the replicated history of a configuration, and stay within
//! their bounds. A worse history never asks for less exploration, less search or a higher learning rate; a
//! history that gives no reason asks for nothing. Training alone decides the learning rate: this only asks.

use cluster_state::{
    ClusterState, Command, ConfigState, Feedback, ModelStatus, Severity, command::SetFeedback,
};
use std::ops::RangeInclusive;

/// The bounds of the factor of the learning rate.
pub const LEARNING_RATE: RangeInclusive<f64> = 0.1..=1.0;
/// The bounds of the factor of exploration: below 1 it would take from the search what makes it sound.
pub const EXPLORATION: RangeInclusive<f64> = 1.0..=2.0;
/// The bounds of the factor of simulations.
pub const SIMULATIONS: RangeInclusive<f64> = 1.0..=2.0;

/// Candidates in a row, rejected against one champion, that make a plateau. One or two are chance: the
/// sequential test misses a candidate that is 50 Elo stronger once in twenty times, and a smaller gain far
/// more often.
const PLATEAU: u32 = 3;
/// Promotions that a trend needs, and the mean gain below which it flattens: little above the smallest that
/// counts.
const TREND: usize = 3;
const GAIN_FLAT: f64 = 40.0;
/// A validation loss that is this much above the median of those before is no noise. At least 4 runs are
/// looked at, and at most 8.
const LOSS_JUMP: f64 = 1.25;
const RUNS: RangeInclusive<usize> = 4..=8;

/// What happened to a configuration lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Validation losses of the last training runs, oldest first.
    pub losses: Vec<f64>,
    /// Candidates that were evaluated against the present champion and rejected.
    pub rejections: u32,
    /// Elo gains of the last promotions, oldest first.
    pub gains: Vec<f64>,
    /// How badly the champion regressed, if it did.
    pub regression: Option<Severity>,
}

impl History {
    /// The history that the state has of a configuration.
    #[must_use]
    pub fn of(state: &ClusterState, config: &ConfigState) -> Self {
        let (mut runs, mut rejections) = (Vec::new(), 0);
        for (_, model) in state.models.iter().filter(|(_, model)| model.config_key == config.config_key) {
            runs.extend(model.report.as_ref().map(|report| (model.log_index, report.val_loss)));
            let rejected = matches!(model.status, ModelStatus::Rejected { .. });
            let here = model.evidence.as_ref().is_some_and(|evidence| evidence.champion == config.champion);
            rejections += u32::from(rejected && here);
        }
        runs.sort_by_key(|(index, _)| *index);
        let losses = runs.iter().skip(runs.len().saturating_sub(*RUNS.end())).map(|(_, loss)| *loss);
        let gains = config.history.iter().skip(config.history.len().saturating_sub(TREND));
        Self {
            losses: losses.collect(),
            rejections,
            gains: gains.map(|promotion| promotion.elo_delta).collect(),
            regression: config.steering.regression.as_ref().map(|regression| regression.severity),
        }
    }

    fn plateau(&self) -> u32 {
        self.rejections.saturating_sub(PLATEAU - 1)
    }

    fn flat(&self) -> bool {
        self.gains.len() >= TREND && self.gains.iter().sum::<f64>() < GAIN_FLAT * self.gains.len() as f64
    }

    /// Whether the last validation loss is out of line with those before.
    fn anomaly(&self) -> bool {
        let Some((last, before)) = self.losses.split_last() else { return false };
        let mut before = before.to_vec();
        before.sort_by(f64::total_cmp);
        self.losses.len() >= *RUNS.start() && *last > before[before.len() / 2] * LOSS_JUMP
    }
}

/// What the history asks for.
#[must_use]
pub fn signals(history: &History) -> Feedback {
    let plateau = history.plateau();
    let mut reasons = Vec::new();
    let (mut rate, mut exploration, mut simulations) = (1.0, 1.0, 1.0);
    if plateau > 0 {
        // Smaller steps leave a plateau that large ones jump over; they are smaller still when it lasts.
        rate *= if plateau > PLATEAU { 0.25 } else { 0.5 };
        exploration += 0.1 * f64::from(plateau);
        simulations += if plateau > PLATEAU { 0.5 } else { 0.25 };
        reasons.push(format!("{} candidates in a row were rejected", history.rejections));
    }
    if history.flat() {
        simulations += 0.25;
        reasons.push(format!("the last {} promotions gained little", history.gains.len()));
    }
    if history.anomaly() {
        rate *= 0.7;
        reasons.push("the validation loss jumped".to_owned());
    }
    // The rate after a regression is training's own decision: asked for here as well, it would count twice.
    if let Some(severity) = history.regression {
        exploration += match severity {
            Severity::Minor => 0.2,
            Severity::Critical => 0.5,
        };
        reasons.push(format!("the champion regressed ({})", severity.as_str()));
    }
    Feedback {
        learning_rate: within(rate, &LEARNING_RATE),
        exploration: within(exploration, &EXPLORATION),
        simulations: within(simulations, &SIMULATIONS),
        reason: reasons.join("; "),
    }
}

/// A factor within its bounds, rounded to two decimals so that small noise is no news.
fn within(factor: f64, bounds: &RangeInclusive<f64>) -> f64 {
    ((factor * 100.0).round() / 100.0).clamp(*bounds.start(), *bounds.end())
}

/// The feedback that is out of date.
#[must_use]
pub fn decide(state: &ClusterState, at_ms: u64) -> Vec<Command> {
    let factors = |it: &Feedback| [it.learning_rate, it.exploration, it.simulations];
    let changed = state.configs.values().filter_map(|config| {
        let feedback = signals(&History::of(state, config));
        let news = factors(&feedback) != factors(&config.steering.feedback);
        let config_key = config.config_key.clone();
        news.then_some(Command::SetFeedback(SetFeedback { config_key, feedback, at_ms }))
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{World, hash};
    use proptest::prelude::*;

    #[test]
    fn what_each_reason_asks_for() {
        let check = |history: History, expected: [f64; 3], reason: &str| {
            let found = signals(&history);
            assert_eq!([found.learning_rate, found.exploration, found.simulations], expected, "{history:?}");
            assert!(found.reason.contains(reason), "{}", found.reason);
            assert_eq!(found.reason.is_empty(), reason.is_empty(), "{}", found.reason);
        };
        let none = History::default();
        check(none.clone(), [1.0; 3], "");
        check(History { rejections: 2, ..none.clone() }, [1.0; 3], "");
        check(History { rejections: 3, ..none.clone() }, [0.5, 1.1, 1.25], "3 candidates in a row");
        check(History { rejections: 6, ..none.clone() }, [0.25, 1.4, 1.5], "6 candidates");
        check(History { gains: vec![200.0, 60.0, 30.0], ..none.clone() }, [1.0; 3], "");
        check(History { gains: vec![30.0, 26.0, 30.0], ..none.clone() }, [1.0, 1.0, 1.25], "gained little");
        check(History { losses: vec![2.0, 1.0, 1.1, 1.3], ..none.clone() }, [1.0; 3], "");
        check(History { losses: vec![2.0, 1.0, 1.1, 1.5], ..none.clone() }, [0.7, 1.0, 1.0], "jumped");
        check(History { losses: vec![1.0, 9.0], ..none.clone() }, [1.0; 3], "");
        let regressed = |severity| History { regression: Some(severity), ..none.clone() };
        check(regressed(Severity::Minor), [1.0, 1.2, 1.0], "minor");
        check(regressed(Severity::Critical), [1.0, 1.5, 1.0], "critical");
    }

    #[test]
    fn feedback_follows_the_state_and_is_proposed_once() {
        let mut world = World::with_nodes(3);
        assert_eq!(decide(&world.state, 0), []);
        for name in ["a", "b", "c"] {
            assert_eq!(decide(&world.state, 0), [], "before {name}");
            world.train(name, 2);
            world.evaluate(name, 3, false);
            world.reject(name);
        }
        let proposed = decide(&world.state, 5);
        assert!(
            matches!(&proposed[..], [Command::SetFeedback(SetFeedback { feedback, .. })] if feedback.exploration > 1.0)
        );
        world.apply(proposed[0].clone());
        assert_eq!(decide(&world.state, 6), []);
        world.train("d", 2);
        world.evaluate("d", 3, true);
        (1..=3).for_each(|node| world.held("d", node));
        world.promote("d");
        let proposed = decide(&world.state, 7);
        assert!(
            matches!(&proposed[..], [Command::SetFeedback(SetFeedback { feedback, .. })] if *feedback == Feedback::default())
        );
        assert_eq!(world.state.config(crate::daemons::fixture::KEY).unwrap().champion, hash("d"));
    }

    fn histories() -> impl Strategy<Value = History> {
        let loss = prop::collection::vec(0.0..10.0f64, 0..8);
        let gain = prop::collection::vec(-400.0..400.0f64, 0..3);
        let regression = prop_oneof![Just(None), Just(Some(Severity::Minor)), Just(Some(Severity::Critical))];
        (loss, 0..u32::MAX, gain, regression).prop_map(|(losses, rejections, gains, regression)| History {
            losses,
            rejections,
            gains,
            regression,
        })
    }

    fn no_milder(worse: &Feedback, than: &Feedback) -> Result<(), TestCaseError> {
        prop_assert!(worse.learning_rate <= than.learning_rate);
        prop_assert!(worse.exploration >= than.exploration);
        prop_assert!(worse.simulations >= than.simulations);
        Ok(())
    }

    proptest! {
        #[test]
        fn factors_are_bounded(history in histories()) {
            let found = signals(&history);
            prop_assert!(LEARNING_RATE.contains(&found.learning_rate));
            prop_assert!(EXPLORATION.contains(&found.exploration));
            prop_assert!(SIMULATIONS.contains(&found.simulations));
            prop_assert!(found.reason.len() <= cluster_state::TEXT_BYTES_MAX);
        }

        #[test]
        fn a_worse_history_asks_for_no_less(history in histories(), more in 0..9u32, loss in 0.0..9.0f64) {
            let now = signals(&history);
            let rejections = history.rejections.saturating_add(more);
            no_milder(&signals(&History { rejections, ..history.clone() }), &now)?;
            let worse = Some(Severity::Critical);
            no_milder(&signals(&History { regression: worse, ..history.clone() }), &now)?;
            let mut losses = history.losses.clone();
            losses.iter_mut().rev().take(1).for_each(|last| *last += loss);
            no_milder(&signals(&History { losses, ..history.clone() }), &now)?;
            let gains = history.gains.iter().map(|gain| gain - loss).collect();
            no_milder(&signals(&History { gains, ..history }), &now)?;
        }
    }
}
