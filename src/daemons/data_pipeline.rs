//! DataPipelineOrchestrator: counts games, from the replicated counts, and says once when there are enough to train.

use raft::{ClusterState, Command};

/// What the leader proposes.
#[must_use]
pub fn decide(state: &ClusterState, at_ms: u64) -> Vec<Command> {
    let due = state.configs.values().filter(|config| {
        // An unused crossing would only be overtaken: the games count towards the next one.
        config.games_since_training >= config.threshold && config.crossings == config.consumed
    });
    due.map(|config| Command::ThresholdReached {
        config_key: config.config_key.clone(),
        crossing: config.crossings + 1,
        at_ms,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{KEY, World};

    #[test]
    fn each_threshold_is_crossed_once() {
        let mut world = World::with_nodes(2);
        world.play(300);
        assert_eq!(decide(&world.state, 0), []);
        world.play(300);
        let crossing = |crossing| Command::ThresholdReached { config_key: KEY.into(), crossing, at_ms: 0 };
        assert_eq!(decide(&world.state, 0), [crossing(1)]);
        world.cross();
        assert_eq!(decide(&world.state, 0), []);
        world.play(600);
        assert_eq!(decide(&world.state, 0), [], "the first crossing waits for its training");
        world.train_now("a", 1);
        assert_eq!(decide(&world.state, 0), [crossing(2)]);
    }
}
