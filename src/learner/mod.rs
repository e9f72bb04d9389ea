//! What a node learns with: self-play, the replay window, training runs, matches and their statistics.
//!
//! Invariant: nothing here knows the cluster. Each part takes models and settings and gives games, models or
//! evidence.
//!
//! Reading order: `game`, `selfplay` and `waves` (games to learn from), `again` and `audit` (whether another
//! node played them as it says), `window` (the newest positions), `train` (a run), `arena`, `sprt` and
//! `evaluation` (which model is stronger), `count` and `rematch` (whether another node played those games).

pub mod again;
pub mod arena;
pub mod audit;
pub mod backend;
pub mod count;
pub mod evaluation;
mod game;
pub mod rematch;
pub mod selfplay;
pub mod settings;
pub mod sprt;
pub mod train;
pub mod waves;
pub mod window;

pub use window::{ReplayWindow, WindowError};

use kernels::{Architecture, Checkpoint};
use rules::Config;

/// The seed of the untrained networks, so that every node makes the same ones.
const SEED: u64 = 0;

/// The encoded champion 0 of a configuration. It is the same bytes on every machine.
#[must_use]
pub fn seeded(config: Config) -> Vec<u8> {
    Checkpoint::seeded(config, Architecture::small(config.board), SEED).to_bytes()
}

#[cfg(test)]
mod tests {
    use super::{
        selfplay::Selfplay,
        train::{self, TrainingJob},
        *,
    };
    use crate::learner::settings::TrainingConfig;
    use cluster_state::{ModelId, NodeId};
    use kernels::{CpuBackend, CpuEvaluator};
    use std::sync::Arc;
    use wire::Hash;

    /// One game of self-play, and a few steps of training on it.
    fn check(config: Config) {
        let parent = seeded(config);
        let network = Checkpoint::for_config(&parent, config).unwrap().network;
        let mut play = Selfplay::new(config, 2, 1, NodeId(1));
        play.set_model(ModelId(Hash::of(&parent)), Box::new(CpuEvaluator::new(Arc::new(network))), 2);
        let games = loop {
            let games = play.step();
            if !games.is_empty() {
                break games;
            }
        };
        let mut window = ReplayWindow::new(config, 100_000);
        for game in &games {
            let facts = game.validate().unwrap();
            assert_eq!((facts.config, game.players.len()), (config, usize::from(config.seats)));
            window.add(game).unwrap();
        }
        if window.training() == 0 {
            return; // the game is one of those set aside
        }
        let settings = TrainingConfig { batch: 16, reuse: 1.0, ..TrainingConfig::default() };
        let job =
            TrainingJob { parent: &parent, settings: &settings, new_positions: 32, data_index: 5, seed: 1 };
        let trained = train::run(&CpuBackend, &mut window, job, &|| false, &mut |_| {}).unwrap();
        let child = Checkpoint::for_config(&trained.bytes, config).unwrap();
        assert_eq!(child.header.parent, Some(Hash::of(&parent)));
        assert_eq!((child.header.step, child.header.generation, child.header.data_index), (2, 1, 5));
        assert!(
            trained.final_loss.total().is_finite() && trained.hash != ModelId(Hash::of(&parent)),
            "{config}"
        );
    }

    #[test]
    fn every_configuration_plays_and_trains() {
        Config::all().into_iter().for_each(check);
    }

    #[test]
    fn a_seeded_network_is_the_same_every_time() {
        for config in Config::all() {
            assert_eq!(seeded(config), seeded(config), "{config}");
        }
    }
}
