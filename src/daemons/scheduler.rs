//! SelfplayScheduler: how much of self-play each configuration gets, and how deep it searches.

use super::handlers::{Handled, decide as decide_now};
use crate::{events::log::Logged, node::Context};
use raft::{ClusterState, Command, ConfigState, SelfplayTarget};
use std::sync::Arc;

/// Search deepens by a quarter of the full budget with every promotion, from half of it: an untrained network gains little
/// from search, and shallow games are many. Fewer still do not pay where training is the slower part: 300 games at 8
/// simulations take 5 CPU seconds and the training 11, and taught as much as 600 at 4, whose training took 21.
const STEPS: u64 = 2;

/// What the leader proposes; `simulations` is the full budget of a decision.
#[must_use]
pub fn decide(state: &ClusterState, simulations: u32, at_ms: u64) -> Vec<Command> {
    let outdated = state.configs.values().filter_map(|config| {
        let target = target(config, simulations);
        (config.target != target).then(|| Command::SetTarget {
            config_key: config.config_key.clone(),
            target,
            at_ms,
        })
    });
    outdated.collect()
}

/// The target that a configuration should have.
#[must_use]
pub fn target(config: &ConfigState, simulations: u32) -> SelfplayTarget {
    target_of(config.generation, simulations)
}

/// The target of a configuration whose champion has this number.
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

/// Has the leader look at the state now.
///
/// # Errors
/// When no leader is known.
pub async fn handle(node: Context, _: Arc<Logged>) -> Handled {
    decide_now(node).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;

    #[test]
    fn search_deepens_with_the_champions() {
        let depth = |generation| target_of(generation, 16).simulations;
        assert_eq!([0, 1, 2, 3, 9].map(depth), [8, 12, 16, 16, 16]);
        assert_eq!(target_of(0, 2).simulations, 2);
    }

    #[test]
    fn a_target_is_set_once() {
        let mut world = World::with_nodes(1);
        let commands = decide(&world.state, 16, 5);
        assert_eq!(commands.len(), 1);
        world.apply(commands[0].clone());
        assert_eq!(decide(&world.state, 16, 6), []);
    }
}
