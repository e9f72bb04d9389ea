//! Positions and networks to check and to measure with, the same every time.

use crate::architecture::Architecture;
use crate::batch::{Batch, Target};
use crate::network::Network;
use rules::playout::{self, Choices};
use rules::{Board, Move, Options, State, Topology, with_board};

/// One in so many positions of a random game is taken.
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

/// Legal moves of a position on average, of the positions that are measured with.
#[must_use]
pub fn mean_moves(board: Board) -> usize {
    let count = 256;
    let moves: usize = with_board!(board, T => {
        positions::<T>(2, count).iter().map(|(_, legal)| legal.len()).sum()
    });
    moves / count
}

/// Adds positions as samples: a policy over up to three moves, some seat that won; the last has no policy to teach.
pub(crate) fn fill<T: Topology>(batch: &mut Batch, positions: &[(State<T>, Vec<Move>)]) {
    let mut choices = Choices::new(3);
    for (i, (state, legal)) in positions.iter().enumerate() {
        let mut policy: Vec<(u16, f32)> =
            (0..legal.len().min(3)).map(|k| ((k * legal.len() / 3) as u16, 1.0 + k as f32)).collect();
        policy.dedup_by_key(|entry| entry.0);
        if i > 0 && i + 1 == positions.len() {
            policy.clear();
        }
        let winner = choices.below(usize::from(state.seats())) as u8;
        batch.push_sample(state, legal, Target { policy: &policy, winner });
    }
}

/// A network none of whose tensors is zero.
pub(crate) fn network(architecture: Architecture) -> Network {
    let seeded = Network::seeded(architecture, 1);
    let mut choices = Choices::new(1);
    let noise = |weight: &f32| weight + (choices.below(2001) as f32 - 1000.0) * 3e-5;
    Network::from_weights(architecture, seeded.weights().iter().map(noise).collect())
        .expect("as many weights as before, all finite")
}
