//! A player that looks one step ahead. Its strength lies between random play and a network, so evaluations
//! use it.
//!
//! Invariant: it is deterministic. It tries every legal move and judges the position after it by a few linear
//! features of the mover against the best of the others. Of equal moves it plays the first.

use rules::{Bits, Move, State, Topology};

/// The weights of the features. They were found by hill climbing on games against random play and against
/// earlier weights. Eliminated rings have no weight although they win games: a player that collects them one
/// step ahead spends the stacks that it needs later, and any weight for them lost games. A step that wins at
/// once is seen in any case.
struct FeatureWeights {
    /// The seat's share of the territory that wins.
    territory: f32,
    /// A stack that the seat controls.
    stack: f32,
    /// A ring in such a stack, of its own colour or captured.
    ring: f32,
    /// A ring of the cap of such a stack.
    cap: f32,
    /// A marker.
    marker: f32,
    /// A ring in hand.
    hand: f32,
    /// Such a stack that a foreign cap on one ray can capture.
    threatened: f32,
}

const WEIGHTS: FeatureWeights = FeatureWeights {
    territory: 60.0,
    stack: 1.0,
    ring: 0.2,
    cap: 0.1,
    marker: 0.5,
    hand: 0.3,
    threatened: -0.4,
};

/// The worth of a won game, which is above any sum of features.
const WON: f32 = 1e6;

/// The index of the move to play. It panics if there is no legal move.
#[must_use]
pub fn choose<T: Topology>(state: &State<T>, legal: &[Move]) -> usize {
    assert!(!legal.is_empty(), "an unfinished game has legal moves");
    let mut best = (f32::NEG_INFINITY, 0);
    for (i, &mv) in legal.iter().enumerate() {
        let mut next = *state;
        next.apply(mv);
        // A person that uses the pie rule will sit behind the other seat.
        let me = if next.swapped() == state.swapped() { state.seat() } else { 1 - state.seat() };
        let worth = judge(&next, me);
        if worth > best.0 {
            best = (worth, i);
        }
    }
    best.1
}

/// How good a position is for a seat.
pub(super) fn judge<T: Topology>(state: &State<T>, me: u8) -> f32 {
    if let Some(outcome) = state.outcome() {
        return if outcome.winner == me { WON } else { -WON };
    }
    let others = (0..state.seats()).filter(|&seat| seat != me);
    let best = others.map(|seat| features(state, seat)).fold(f32::NEG_INFINITY, f32::max);
    features(state, me) - best
}

fn features<T: Topology>(state: &State<T>, seat: u8) -> f32 {
    let w = &WEIGHTS;
    let minimum = f32::from(state.config().territory_minimum());
    let (mut stacks, mut rings, mut caps, mut threatened) = (0, 0, 0, 0);
    for cell in state.controlled_bits(seat).cells() {
        let stack = state.stack(cell);
        stacks += 1;
        rings += stack.height();
        caps += stack.cap();
        threatened += u32::from(is_threatened(state, seat, cell));
    }
    w.territory * f32::from(state.territory(seat)) / minimum
        + w.stack * stacks as f32
        + w.ring * rings as f32
        + w.cap * caps as f32
        + w.marker * state.marker_bits(seat).count() as f32
        + w.hand * f32::from(state.hand(seat))
        + w.threatened * threatened as f32
}

/// Whether the first stack along some ray is foreign and has a cap at least as high.
fn is_threatened<T: Topology>(state: &State<T>, seat: u8, cell: rules::Cell) -> bool {
    let cap = state.stack(cell).cap();
    let occupied = state.occupied_bits();
    (0..T::DIRECTIONS).any(|direction| {
        let first = T::ray(cell, direction).iter().copied().find(|&seen| occupied.get(seen));
        first.is_some_and(|seen| {
            let stack = state.stack(seen);
            stack.top() != Some(seat) && stack.cap() >= cap
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::{Config, Options, playout::Choices, with_board};

    /// Share of games that the heuristic wins against random players.
    fn share(config: Config, games: u32) -> f32 {
        with_board!(config.board, T => {
            let mut choices = Choices::new(7);
            let mut legal = Vec::new();
            let mut won = 0;
            for game in 0..games {
                let me = (game % u32::from(config.seats)) as u8;
                let mut state = State::<T>::new(config.seats, Options::default());
                while state.outcome().is_none() {
                    state.legal(&mut legal);
                    let i = if state.seat() == me {
                        choose(&state, &legal)
                    } else {
                        choices.below(legal.len())
                    };
                    state.apply(legal[i]);
                }
                won += u32::from(state.outcome().is_some_and(|outcome| outcome.winner == me));
            }
            won as f32 / games as f32
        })
    }

    #[test]
    fn far_stronger_than_random() {
        for (key, games, least) in [("hex8_2p", 200, 0.9), ("square8_2p", 200, 0.85), ("hex8_3p", 99, 0.65)] {
            let share = share(key.parse().unwrap(), games);
            println!("{key}: {share}");
            assert!(share >= least, "{key}: {share}");
        }
    }
}
