//! The name of what computes a game, as records have it.
//!
//! Invariant: two nodes whose CPUs have one name compute the same game to the last bit. The name holds the
//! hash of a computation that is the same everywhere: of a game, and of networks on every board. It differs
//! where the sums of a product are taken in another order, where a function of the system's mathematics
//! rounds in another way, and where a build searches in another way.

use super::selfplay::Selfplay;
use crate::{search::Judged, store::record::BACKEND_BYTES_MAX, text::clip};
use cluster_state::{ModelId, NodeId};
use kernels::{AnyBackend, Architecture, Backend as _, CpuEvaluator, Network, Query};
use rules::{Board, Config, Options, State, playout, playout::Choices, with_board};
use std::sync::{Arc, OnceLock};
use wire::Hash;

/// Simulations of the decisions of the game.
const SIMULATIONS: u32 = 8;
/// An exploration that is not 1, so that powers are computed as well.
const EXPLORATION: f32 = 1.25;
/// As much of the hash as the name holds.
const HASH_BYTES: usize = 16;
/// Positions of each board.
const POSITIONS: usize = 4;

/// The CPU's name, which is computed once.
#[must_use]
pub fn cpu() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let hash = Hash::of(&[game(), Board::ALL.into_iter().flat_map(evaluations).collect()].concat());
        format!("cpu {} {}", std::env::consts::ARCH, clip(&hash.to_string(), HASH_BYTES))
    })
}

/// The name of a backend that evaluates, or that also searches. Cards have the name of their model; nobody
/// relies on two of them computing the same.
#[must_use]
pub fn name(backend: &AnyBackend, searches: bool) -> String {
    let what = if searches { "searches" } else { "evaluates" };
    let name = if backend.is_card() { format!("{what} on {}", backend.describe()) } else { cpu().to_owned() };
    clip(&name, BACKEND_BYTES_MAX).to_owned()
}

/// A network that is the same everywhere.
fn network(architecture: Architecture) -> Arc<Network> {
    Arc::new(Network::seeded(architecture, 1))
}

/// A game as bytes.
fn game() -> Vec<u8> {
    let config = Config { board: Board::Hex8, seats: 2 };
    let mut games = Selfplay::new(config, 2, 1, NodeId(0));
    let evaluator = CpuEvaluator::new(network(Architecture::small(config.board)));
    games.set_model(ModelId(Hash([0; 32])), Box::new(evaluator), SIMULATIONS);
    games.set_exploration(EXPLORATION);
    let mut bytes = Vec::new();
    while bytes.is_empty() {
        for record in games.step() {
            bytes.extend(record.moves.iter().flat_map(|code| code.to_le_bytes()));
            let weights = record.decisions.iter().flat_map(|decision| &decision.policy);
            bytes.extend(weights.flat_map(|(at, weight)| [at.to_le_bytes(), weight.to_le_bytes()].concat()));
        }
    }
    bytes
}

/// The bits of what a wide network says of some positions of a board. Its sums are so long that a product is
/// taken in parts, whose size depends on the caches of the machine.
fn evaluations(board: Board) -> Vec<u8> {
    let architecture = Architecture { blocks: 1, channels: 192, ..Architecture::small(board) };
    with_board!(board, T => evaluations_on::<T>(architecture))
}

fn evaluations_on<T: Judged>(architecture: Architecture) -> Vec<u8> {
    let mut evaluator = CpuEvaluator::new(network(architecture));
    let (mut positions, mut legal) = (Vec::new(), Vec::new());
    let start = State::<T>::new(3, Options::default());
    playout::play(start, &mut Choices::new(9), &mut legal, |state, legal| {
        if state.ply() % 16 == 8 && positions.len() < POSITIONS {
            positions.push((*state, legal.to_vec()));
        }
    });
    let queries: Vec<Query<'_, T>> = positions.iter().map(|(state, legal)| Query { state, legal }).collect();
    let evaluations = T::evaluator(&mut evaluator).evaluate(&queries);
    let numbers = evaluations.iter().flat_map(|one| one.logits.iter().chain(&one.value));
    numbers.flat_map(|number| number.to_bits().to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_same_every_time() {
        let parts = || [game(), Board::ALL.into_iter().flat_map(evaluations).collect()];
        assert_eq!(parts(), parts());
        assert!(cpu().starts_with("cpu ") && cpu().len() < BACKEND_BYTES_MAX, "{}", cpu());
        assert_eq!(name(&AnyBackend::Cpu, false), cpu());
    }
}
