//! CurriculumIntegration: the share of self-play that each configuration deserves.
//!
//! Invariant: nothing else writes the weight of a configuration. One formula weighs the configurations
//! against each other, so that one alone has weight 1. Only an emergency changes that: it is told once, and
//! holds until the regression is cleared.

use super::feedback::EXPLORATION;
use cluster_state::{ClusterState, Command, ConfigState, Severity, command::SetCurriculum};
use std::{ops::RangeInclusive, time::Duration};

/// The weights that a configuration may have outside of emergencies.
pub const WEIGHTS: RangeInclusive<f64> = 0.5..=2.0;
/// A smaller change of a weight is not worth an entry of the log.
const STEP: f64 = 0.1;
/// What an emergency leaves of a weight: after a loss of more than [`LOST_MUCH`] Elo, and of less.
const EMERGENCY: (f64, f64) = (0.3, 0.5);
const LOST_MUCH: f64 = 100.0;

/// What a full measure of each reason adds to a weight: none moves it by more than a half.
const BEHIND: f64 = 0.5;
const BEHIND_ELO: f64 = 500.0;
const IMPROVING: f64 = 0.15;
const IMPROVING_ELO: f64 = 100.0;
const DEFICIT: f64 = 0.4;
const STALE: f64 = 0.25;
const FRESH: Duration = Duration::from_secs(3600);
const OLD: Duration = Duration::from_secs(4 * 3600);
/// For so long after a promotion a configuration gets more: training waits for games of the new champion.
const PROMOTED: f64 = 0.2;
const PROMOTED_FOR: Duration = Duration::from_secs(600);

/// What the most exploration that feedback may ask for adds: more games explore more.
const EXPLORES: f64 = 0.3;

/// The number of reasons.
const COUNT: usize = 6;
const REASONS: [&str; COUNT] = [
    "behind in Elo",
    "improving",
    "fewer games",
    "no new model for long",
    "new champion",
    "asked to explore",
];

/// How much each reason speaks for a configuration, before it is compared with the others.
fn merits(state: &ClusterState, config: &ConfigState, at_ms: u64) -> [f64; COUNT] {
    let count = state.configs.len().max(1) as f64;
    let mean = |of: fn(&ConfigState) -> f64| state.configs.values().map(|it| of(it)).sum::<f64>() / count;
    let (elo, games) = (mean(|it| it.elo), mean(|it| it.games_total as f64));
    let behind = ((elo - config.elo) / BEHIND_ELO).clamp(-1.0, 1.0);
    let recent: Vec<f64> = config.history.iter().rev().take(3).map(|promotion| promotion.elo_delta).collect();
    let trend = recent.iter().sum::<f64>() / recent.len().max(1) as f64;
    let deficit = if games > 0.0 { 1.0 - config.games_total as f64 / games } else { 0.0 };
    let since = |at: u64| Duration::from_millis(at_ms.saturating_sub(at));
    let age = state.models.get(&config.newest).map_or(Duration::ZERO, |model| since(model.at_ms));
    let stale = age.saturating_sub(FRESH).as_secs_f64() / (OLD - FRESH).as_secs_f64();
    let (least, most) = (EXPLORATION.start(), EXPLORATION.end());
    let explores = (config.steering.feedback.exploration - least) / (most - least);
    let promoted = config.history.last().is_some_and(|last| since(last.at_ms) < PROMOTED_FOR);
    [
        BEHIND * behind,
        IMPROVING * (trend / IMPROVING_ELO).clamp(0.0, 1.0),
        DEFICIT * deficit.clamp(0.0, 1.0),
        STALE * stale.clamp(0.0, 1.0),
        if promoted { PROMOTED } else { 0.0 },
        EXPLORES * explores.clamp(0.0, 1.0),
    ]
}

/// The weight of every configuration outside of emergencies, in the order of their keys, and why.
fn weights(state: &ClusterState, at_ms: u64) -> Vec<(f64, String)> {
    let merits: Vec<_> = state.configs.values().map(|config| merits(state, config, at_ms)).collect();
    let count = merits.len().max(1) as f64;
    let weigh = |own: &[f64; COUNT]| {
        let mut weight = 1.0;
        let mut reasons = Vec::new();
        for (part, reason) in REASONS.iter().enumerate() {
            let more = own[part] - merits.iter().map(|it| it[part]).sum::<f64>() / count;
            weight += more;
            if more.abs() >= STEP / 2.0 {
                reasons.push(format!("{reason} {more:+.2}"));
            }
        }
        let weight = (weight * 20.0).round() / 20.0;
        (weight.clamp(*WEIGHTS.start(), *WEIGHTS.end()), reasons.join(", "))
    };
    merits.iter().map(weigh).collect()
}

/// The weights that are out of date.
#[must_use]
pub fn decide(state: &ClusterState, at_ms: u64) -> Vec<Command> {
    let mut commands = Vec::new();
    for (config, (normal, why)) in state.configs.values().zip(weights(state, at_ms)) {
        let steering = &config.steering;
        let critical = steering.regression.as_ref().filter(|it| it.severity == Severity::Critical);
        let (weight, reason) = match critical {
            Some(_) if steering.emergency => continue,
            Some(regression) => {
                let factor = if regression.elo_drop > LOST_MUCH { EMERGENCY.0 } else { EMERGENCY.1 };
                let weight = (normal * factor * 100.0).round() / 100.0;
                (weight, format!("emergency, x{factor}: the champion lost {:.0} Elo", regression.elo_drop))
            }
            None if !steering.emergency && (normal - steering.weight).abs() < STEP - 1e-9 => continue,
            None => (normal, why),
        };
        commands.push(Command::SetCurriculum(SetCurriculum {
            config_key: config.config_key.clone(),
            weight,
            reason,
            emergency: critical.is_some(),
            at_ms,
        }));
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World};
    use cluster_state::{Feedback, command::SetFeedback};
    use proptest::prelude::*;

    const OTHER: &str = "square8_2p";

    fn set(commands: &[Command]) -> Vec<(&str, f64, bool)> {
        let one = |command| match command {
            &Command::SetCurriculum(SetCurriculum { ref config_key, weight, emergency, .. }) => {
                (config_key.as_str(), weight, emergency)
            }
            other => panic!("{other:?}"),
        };
        commands.iter().map(one).collect()
    }

    #[test]
    fn one_configuration_has_weight_one_whatever_happens() {
        let mut world = World::with_nodes(3);
        assert_eq!(decide(&world.state, world.now), []);
        world.train("a", 2);
        world.evaluate("a", 3, true);
        (1..=3).for_each(|node| world.held("a", node));
        world.promote("a");
        for hours in [0, 2, 9] {
            assert_eq!(decide(&world.state, world.now + hours * 3_600_000), []);
        }
    }

    #[test]
    fn who_lacks_games_gets_more_and_the_other_less() {
        let mut world = World::with_nodes(3);
        world.add_config(OTHER);
        world.play(500);
        let commands = decide(&world.state, world.now);
        assert_eq!(set(&commands), [(KEY, 0.8, false), (OTHER, 1.2, false)]);
        let Command::SetCurriculum(SetCurriculum { reason, .. }) = &commands[1] else { panic!() };
        assert_eq!(reason, "fewer games +0.20");
        commands.into_iter().for_each(|command| drop(world.apply(command)));
        assert_eq!(decide(&world.state, world.now), []);
        world.play_in(OTHER, 500);
        assert_eq!(set(&decide(&world.state, world.now)), [(KEY, 1.0, false), (OTHER, 1.0, false)]);
    }

    #[test]
    fn what_feedback_asks_for_is_weighed() {
        for (exploration, expected) in [
            (1.0, None),
            (1.2, None), // not worth an entry
            (1.8, Some(0.1)),
            (2.0, Some(0.15)),
            (99.0, Some(0.15)),
            (0.5, None),
        ] {
            let mut world = World::with_nodes(3);
            world.add_config(OTHER);
            let feedback = Feedback { exploration, reason: "plateau".into(), ..Feedback::default() };
            let config_key = OTHER.into();
            world.apply(Command::SetFeedback(SetFeedback { config_key, feedback, at_ms: world.now }));
            let commands = decide(&world.state, world.now);
            let more = expected.map(|more| [(KEY, 1.0 - more, false), (OTHER, 1.0 + more, false)]);
            assert_eq!(set(&commands), more.into_iter().flatten().collect::<Vec<_>>(), "{exploration}");
            if let [.., Command::SetCurriculum(SetCurriculum { reason, .. })] = &commands[..] {
                assert!(reason.starts_with("asked to explore +0.1"), "{reason}");
            }
        }
    }

    #[test]
    fn an_emergency_is_told_once_and_ends_with_its_cause() {
        for (lost, expected) in [(150.0, 0.3), (100.0, 0.5), (40.0, 0.5)] {
            let mut world = World::with_nodes(3);
            world.regress(Some(Severity::Minor), 40.0);
            assert_eq!(decide(&world.state, world.now), [], "not critical");
            world.regress(Some(Severity::Critical), lost);
            let commands = decide(&world.state, world.now);
            assert_eq!(set(&commands), [(KEY, expected, true)]);
            world.apply(commands[0].clone());
            world.play(900);
            assert_eq!(decide(&world.state, world.now + 9_000_000), [], "told once");
            world.regress(None, 0.0);
            let commands = decide(&world.state, world.now);
            assert_eq!(set(&commands), [(KEY, 1.0, false)]);
            world.apply(commands[0].clone());
            assert_eq!(decide(&world.state, world.now), []);
        }
    }

    proptest! {
        #[test]
        fn weights_are_bounded_and_fewer_games_never_weigh_less(games in 1..5_000u64, more in 0..5_000u64, at in 0..u64::MAX) {
            let weight = |games: u64| {
                let mut world = World::with_nodes(1);
                world.add_config(OTHER);
                world.play(2_500);
                world.play_in(OTHER, games);
                weights(&world.state, at)[1].0
            };
            let (few, many) = (weight(games), weight(games + more));
            prop_assert!(WEIGHTS.contains(&few) && WEIGHTS.contains(&many));
            prop_assert!(few >= many);
        }
    }
}
