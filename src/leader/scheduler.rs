//! SelfplayScheduler: how much of self-play each configuration gets, and how deep it searches.
//!
//! Invariant: in the long run time goes to the configurations in proportion to their weights. Every one gets
//! its turn: no weight is less than [`FLOOR`] of the mean, and a fair queue gives out the turns. Every target
//! says why.

use crate::text;
use cluster_state::{ClusterState, Command, ConfigState, SelfplayTarget, TEXT_BYTES_MAX, command::SetTarget};
use std::collections::BTreeMap;

/// Search deepens by a quarter of the full budget with every promotion, from half of it: an untrained network
/// gains little from search, and shallow games are many. Fewer still do not pay where training is the slower
/// part: 300 games at 8 simulations take 5 CPU seconds and the training 11, and taught as much as 600 at 4,
/// whose training took 21.
const STEPS: u64 = 2;
/// Most simulations of a target, as in the settings.
const SIMULATIONS_MAX: u32 = 4096;
/// The least weight of a configuration, as a share of the mean weight.
pub const FLOOR: f64 = 0.25;

/// The targets that are out of date; `simulations` is the full budget of a decision.
#[must_use]
pub fn decide(state: &ClusterState, simulations: u32, at_ms: u64) -> Vec<Command> {
    let mean = state.configs.values().map(|config| config.steering.weight).sum::<f64>()
        / state.configs.len().max(1) as f64;
    let outdated = state.configs.values().filter_map(|config| {
        let target = target(config, FLOOR * mean, simulations);
        (config.target != target)
            .then(|| Command::SetTarget(SetTarget { config_key: config.config_key.clone(), target, at_ms }))
    });
    outdated.collect()
}

/// The target that a configuration should have; its weight is `least` or more.
#[must_use]
pub fn target(config: &ConfigState, least: f64, simulations: u32) -> SelfplayTarget {
    let SelfplayTarget { simulations: searched, mut reason, .. } = target_of(config.generation, simulations);
    let steering = &config.steering;
    let weight = steering.weight.max(least);
    if weight != 1.0 || !steering.weight_reason.is_empty() {
        let floor = if weight > steering.weight { ", the least" } else { "" };
        reason += &format!("; weight {weight:.2}{floor} ({})", steering.weight_reason);
    }
    let factor = steering.feedback.simulations;
    let deepened = (f64::from(searched) * factor).round().clamp(1.0, f64::from(SIMULATIONS_MAX)) as u32;
    if factor != 1.0 {
        reason += &format!("; {deepened} instead, x{factor} ({})", steering.feedback.reason);
    }
    let reason = text::clip(&reason, TEXT_BYTES_MAX).to_owned();
    SelfplayTarget { weight, simulations: deepened, paused: false, reason }
}

/// The target by the number of the champion alone.
#[must_use]
pub fn target_of(generation: u64, simulations: u32) -> SelfplayTarget {
    let step = generation.min(STEPS) as u32;
    let searched = (simulations * (step + 2) / (STEPS as u32 + 2)).max(4).min(simulations);
    SelfplayTarget {
        weight: 1.0,
        simulations: searched,
        paused: false,
        reason: format!("champion {generation}: {searched} of {simulations} simulations"),
    }
}

/// Gives out turns in proportion to weights (start-time fair queueing, *Goyal, Vin & Cheng 1996*). Whoever
/// comes, or comes back, begins where the others are, with neither debt nor credit.
#[derive(Clone, Debug)]
pub struct FairQueue<K> {
    /// Where the turn that was given out last began, in time over weight.
    now: f64,
    /// Where the last turn of each ended.
    ends: BTreeMap<K, f64>,
}

impl<K> Default for FairQueue<K> {
    fn default() -> Self {
        Self { now: 0.0, ends: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> FairQueue<K> {
    /// Whose turn it is among those who want one; the first of equals.
    pub fn next(&mut self, waiting: &[K]) -> Option<K> {
        self.ends.retain(|key, _| waiting.contains(key));
        let start = |key: &K| self.ends.get(key).copied().unwrap_or_default().max(self.now);
        let first = *waiting.iter().min_by(|a, b| start(a).total_cmp(&start(b)))?;
        self.now = start(&first);
        Some(first)
    }

    /// The turn given out last was this one's, and took so long.
    pub fn took(&mut self, key: K, seconds: f64, weight: f64) {
        self.ends.insert(key, self.now + seconds / weight.max(1e-6));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World};
    use proptest::prelude::*;

    #[test]
    fn search_deepens_with_the_champions() {
        let depth = |generation| target_of(generation, 16).simulations;
        assert_eq!([0, 1, 2, 3, 9].map(depth), [8, 12, 16, 16, 16]);
        assert_eq!(target_of(0, 2).simulations, 2);
    }

    #[test]
    fn a_target_is_set_once_and_without_a_reason_follows_the_champion_alone() {
        let mut world = World::with_nodes(1);
        let commands = decide(&world.state, 16, 5);
        assert!(
            matches!(&commands[..], [Command::SetTarget(SetTarget { target, .. })] if *target == target_of(0, 16))
        );
        world.apply(commands[0].clone());
        assert_eq!(decide(&world.state, 16, 6), []);
    }

    fn targets(world: &World) -> Vec<SelfplayTarget> {
        let one = |command| match command {
            Command::SetTarget(SetTarget { target, .. }) => target,
            other => panic!("{other:?}"),
        };
        decide(&world.state, 16, 0).into_iter().map(one).collect()
    }

    #[test]
    fn curriculum_and_feedback_change_the_target_and_it_says_why() {
        let mut world = World::with_nodes(1);
        world.add_config("square8_2p");
        world.weigh(KEY, 0.2, "emergency");
        world.weigh("square8_2p", 1.8, "fewer games");
        world.deepen(1.25, "a plateau");
        let found = targets(&world);
        assert_eq!((found[0].weight, found[0].simulations), (0.25, 10), "the floor is a quarter of the mean");
        let text = "champion 0: 8 of 16 simulations; weight 0.25, the least (emergency); 10 instead, x1.25 (a plateau)";
        assert_eq!(found[0].reason, text);
        assert_eq!((found[1].weight, found[1].simulations), (1.8, 8));
        world.weigh(KEY, 0.3, &"é".repeat(TEXT_BYTES_MAX / 2));
        for command in decide(&world.state, 16, 0) {
            world.apply(command);
        }
        assert_eq!(decide(&world.state, 16, 0), []);
    }

    proptest! {
        #[test]
        fn shares_follow_weights(
            weights in prop::collection::vec(0.3..3.0f64, 1..8),
            costs in prop::collection::vec(0.01..1.0f64, 1..50),
        ) {
            let mut queue = FairQueue::default();
            let keys: Vec<usize> = (0..weights.len()).collect();
            let mut got = vec![0.0; weights.len()];
            for cost in costs.iter().cycle().take(2_000) {
                let key = queue.next(&keys).unwrap();
                queue.took(key, *cost, weights[key]);
                got[key] += cost;
            }
            let (all, total): (f64, f64) = (got.iter().sum(), weights.iter().sum());
            for (share, weight) in got.iter().zip(&weights) {
                // The paper's bound: two of the longest turns over the least weight, in time over weight.
                prop_assert!((share / weight - all / total).abs() <= 2.0 / 0.3, "{got:?} {weights:?}");
            }
        }

        #[test]
        fn nobody_starves(weights in prop::collection::vec(0.3..3.0f64, 1..8)) {
            let mut queue = FairQueue::default();
            let keys: Vec<usize> = (0..weights.len()).collect();
            let mut last = vec![0; weights.len()];
            for turn in 0..1_000 {
                let key = queue.next(&keys).unwrap();
                queue.took(key, 1.0, weights[key]);
                last[key] = turn;
                for (seen, weight) in last.iter().zip(&weights) {
                    let turns: f64 = weights.iter().map(|other| other / weight + 2.0).sum();
                    prop_assert!(f64::from(turn - seen) <= turns, "{weights:?}");
                }
            }
        }

        #[test]
        fn who_comes_late_gets_its_share_and_no_more(weight in 0.3..3.0f64, before in 1..500u32) {
            let mut queue = FairQueue::default();
            for _ in 0..before {
                let key = queue.next(&[1]).unwrap();
                queue.took(key, 1.0, 1.0);
            }
            let mut late = 0.0;
            for _ in 0..400 {
                let key = queue.next(&[1, 2]).unwrap();
                queue.took(key, 1.0, if key == 1 { 1.0 } else { weight });
                late += f64::from(u8::from(key == 2));
            }
            prop_assert!((late / 400.0 - weight / (1.0 + weight)).abs() < 0.02, "{late}");
        }
    }
}
