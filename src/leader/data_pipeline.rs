//! DataPipelineOrchestrator: says once when a configuration has enough new games to train on.
//!
//! Invariant: the replicated state counts the games, and never stops. While evaluation cannot keep up no
//! threshold is crossed; after that, the games that came in meanwhile cross it once.

use cluster_state::{ClusterState, Command, command::ThresholdReached};

/// The thresholds that are crossed.
#[must_use]
pub fn decide(state: &ClusterState, at_ms: u64) -> Vec<Command> {
    let due = state.configs.values().filter(|config| {
        // An unused crossing would only be overtaken: the games count towards the next one.
        config.games_since_training >= config.threshold
            && config.crossings == config.consumed
            && config.steering.backpressure.is_none()
    });
    due.map(|config| {
        Command::ThresholdReached(ThresholdReached {
            config_key: config.config_key.clone(),
            crossing: config.crossings + 1,
            at_ms,
        })
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
        let crossing = |crossing| {
            Command::ThresholdReached(ThresholdReached { config_key: KEY.into(), crossing, at_ms: 0 })
        };
        assert_eq!(decide(&world.state, 0), [crossing(1)]);
        world.cross();
        assert_eq!(decide(&world.state, 0), []);
        world.play(600);
        assert_eq!(decide(&world.state, 0), [], "the first crossing waits for its training");
        world.train_now("a", 1);
        assert_eq!(decide(&world.state, 0), [crossing(2)]);
    }

    #[test]
    fn pressure_holds_the_crossing_back_and_the_games_count_on() {
        let mut world = World::with_nodes(2);
        world.press(true);
        world.play(300);
        world.play(300);
        assert_eq!(decide(&world.state, 0), []);
        assert_eq!(world.state.config(KEY).unwrap().games_since_training, 600);
        world.press(false);
        assert_eq!(decide(&world.state, 0).len(), 1);
        world.cross();
        assert_eq!(decide(&world.state, 0), []);
    }
}
