//! Positions and networks to check and to measure with, the same every time.

use crate::encoding::batch::Batch;
use crate::encoding::target::Target;
use crate::network::architecture::Architecture;
use crate::network::weights::Network;
use rules::playout::{self, Choices};
use rules::{Board, Config, Move, Options, State, Topology, with_board};

/// One in this many positions of a random game is taken.
const EVERY: usize = 4;

/// Unfinished positions of random games, with their legal moves.
pub(crate) fn positions<T: Topology>(seats: u8, count: usize) -> Vec<(State<T>, Vec<Move>)> {
    let mut choices = Choices::new(1 + u64::from(seats));
    let mut chosen = Vec::with_capacity(count);
    let (mut seen, mut legal) = (0, Vec::new());
    while chosen.len() < count {
        let start = State::<T>::new(seats, Options { swap: seats == 2, ..Options::default() });
        playout::play(start, &mut choices, &mut legal, |state, legal| {
            if seen % EVERY == 0 && chosen.len() < count {
                chosen.push((*state, legal.to_vec()));
            }
            seen += 1;
        });
    }
    chosen
}

/// Legal moves of a position, on average over the positions that are measured with.
#[must_use]
pub fn mean_moves(board: Board) -> usize {
    let count = 256;
    let moves: usize = with_board!(board, T => {
        positions::<T>(2, count).iter().map(|(_, legal)| legal.len()).sum()
    });
    moves / count
}

/// A policy over up to three of so many moves.
pub(crate) fn policy(moves: usize) -> Vec<(u16, f32)> {
    let mut policy: Vec<(u16, f32)> =
        (0..moves.min(3)).map(|k| ((k * moves / 3) as u16, 1.0 + k as f32)).collect();
    policy.dedup_by_key(|entry| entry.0);
    policy
}

/// Adds positions as samples: a policy over up to three moves, some seat
/// that won; the last has no policy to teach.
pub(crate) fn fill<T: Topology>(batch: &mut Batch, positions: &[(State<T>, Vec<Move>)]) {
    let mut choices = Choices::new(3);
    for (i, (state, legal)) in positions.iter().enumerate() {
        let teaches = i == 0 || i + 1 < positions.len();
        let policy = if teaches { policy(legal.len()) } else { Vec::new() };
        let winner = choices.below(usize::from(state.seats())) as u8;
        batch.push_sample(state, legal, Target { policy: &policy, winner });
    }
}

/// Positions as a device is given them to evaluate.
pub(crate) fn packed(config: Config, count: usize) -> Batch {
    let mut batch = Batch::packed(config.board);
    with_board!(config.board, T => {
        positions::<T>(config.seats, count).iter().for_each(|(state, legal)| batch.push(state, legal));
    });
    batch
}

/// Positions as a device is given them to learn from.
pub(crate) fn filled(config: Config, count: usize) -> Batch {
    let mut batch = Batch::packed(config.board);
    with_board!(config.board, T => fill(&mut batch, &positions::<T>(config.seats, count)));
    batch
}

/// A network none of whose tensors is zero.
pub(crate) fn network(architecture: Architecture) -> Network {
    network_of(architecture, 1)
}

/// A network that depends on a seed, none of whose tensors is zero.
pub(crate) fn network_of(architecture: Architecture, seed: u64) -> Network {
    let seeded = Network::seeded(architecture, seed);
    let mut choices = Choices::new(seed);
    let noise = |weight: &f32| weight + (choices.below(2001) as f32 - 1000.0) * 3e-5;
    Network::from_weights(architecture, seeded.weights().iter().map(noise).collect())
        .expect("as many weights as before, all finite")
}
