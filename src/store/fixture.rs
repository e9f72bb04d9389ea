//! Games for tests.

use super::{Decision, GameKind, GameRecord, Player};
use cluster_state::{ModelId, NodeId};
use rules::{Config, Options, RULES_VERSION, State, Topology, playout::Choices, with_board};
use wire::Hash;

/// The model that plays in [`game`].
pub(crate) fn model() -> ModelId {
    ModelId(Hash::of(b"model"))
}

/// A uniformly random self-play game of node 1 in which every fourth step is a decision.
pub(crate) fn game(config_key: &str, seed: u64) -> GameRecord {
    let config: Config = config_key.parse().expect("a known configuration");
    with_board!(config.board, T => play::<T>(config, seed))
}

fn play<T: Topology>(config: Config, seed: u64) -> GameRecord {
    let swap = config.seats == 2;
    let mut state = State::<T>::new(config.seats, Options { swap, ..Options::default() });
    let mut choices = Choices::new(seed);
    let (mut legal, mut moves, mut decisions) = (Vec::new(), Vec::new(), Vec::new());
    while state.outcome().is_none() {
        state.legal(&mut legal);
        let chosen = choices.below(legal.len());
        if moves.len() % 4 == 0 {
            let policy = vec![(chosen as u16, 1000)];
            decisions.push(Decision { ply: moves.len() as u32, policy });
        }
        moves.push(legal[chosen].code());
        state.apply(legal[chosen]);
    }
    GameRecord {
        rules_version: RULES_VERSION,
        config: config.into(),
        swap,
        turn_end: false,
        seed,
        kind: GameKind::Selfplay,
        players: vec![Player::Model(ModelId(model().0)); usize::from(config.seats)],
        moves,
        decisions,
        winner_seat: state.outcome().expect("played to its end").winner,
        node: NodeId(1),
        created_ms: 1_000 + seed,
        played: None,
    }
}
