//! Positions of one board on their way to the network, with what each teaches where the network is to learn.
//!
//! Invariant: a batch is encoded for the CPU or packed for a device, never both; and either
//! all of its positions have targets, or none.

use crate::encoding::action::Actions;
use crate::encoding::packed::Positions;
use crate::encoding::planes::{CHANNELS, GLOBALS, encode, relative};
use crate::encoding::target::{Target, normalised};
use rules::{Board, Move, State, Topology};

/// Positions of one board, encoded for the CPU or packed for a device. Reused: clearing keeps the memory.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The positions packed; with these, everything that is encoded stays empty.
    pub(crate) packed: Option<Positions>,
    pub(crate) board: Board,
    pub(crate) planes: Vec<f32>,
    pub(crate) globals: Vec<f32>,
    pub(crate) actions: Actions,
    pub(crate) seats: Vec<u8>,
    pub(crate) movers: Vec<u8>,
    /// The seat that won, counted from the mover.
    pub(crate) winners: Vec<u8>,
    pub(crate) policy: Vec<(u16, f32)>,
    pub(crate) policy_ends: Vec<usize>,
}

impl Batch {
    /// An empty batch for a device, which encodes positions itself.
    pub(crate) fn packed(board: Board) -> Self {
        Self { packed: Some(Positions::new(board)), ..Self::new(board) }
    }

    /// An empty batch for the CPU.
    #[must_use]
    pub fn new(board: Board) -> Self {
        Self {
            packed: None,
            board,
            planes: Vec::new(),
            globals: Vec::new(),
            actions: Actions::default(),
            seats: Vec::new(),
            movers: Vec::new(),
            winners: Vec::new(),
            policy: Vec::new(),
            policy_ends: Vec::new(),
        }
    }

    /// Removes all positions.
    pub fn clear(&mut self) {
        if let Some(packed) = &mut self.packed {
            packed.clear();
        }
        self.planes.clear();
        self.globals.clear();
        self.actions.clear();
        self.seats.clear();
        self.movers.clear();
        self.winners.clear();
        self.policy.clear();
        self.policy_ends.clear();
    }

    /// Number of positions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Whether there is no position.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Number of positions with a policy target.
    #[must_use]
    pub fn policies(&self) -> usize {
        if let Some(packed) = &self.packed {
            return packed.policies();
        }
        (0..self.policy_ends.len()).filter(|&position| !self.policy_of(position).is_empty()).count()
    }

    /// Adds a position to be evaluated.
    ///
    /// # Panics
    /// For a position of another board.
    pub fn push<T: Topology>(&mut self, state: &State<T>, legal: &[Move]) {
        assert_eq!(T::BOARD, self.board, "a batch has one board");
        self.seats.push(state.seats());
        self.movers.push(state.seat());
        if let Some(packed) = &mut self.packed {
            packed.push(state, legal);
            return;
        }
        let (planes, globals) = (self.planes.len(), self.globals.len());
        self.planes.resize(planes + T::CELLS * CHANNELS, 0.0);
        self.globals.resize(globals + GLOBALS, 0.0);
        encode(state, &mut self.planes[planes..], &mut self.globals[globals..]);
        self.actions.push(state, legal);
    }

    /// Adds a position to learn from. Weights that are not positive and
    /// finite or name no legal move are left out.
    ///
    /// # Panics
    /// For a position of another board, or when positions without a target are in the batch.
    pub fn push_sample<T: Topology>(&mut self, state: &State<T>, legal: &[Move], target: Target<'_>) {
        assert_eq!(self.winners.len(), self.len(), "all positions of a batch have targets, or none");
        self.push(state, legal);
        let winner = relative(target.winner % state.seats(), state.seat(), state.seats()) as u8;
        self.winners.push(winner);
        if let Some(packed) = &mut self.packed {
            packed.push_target(legal.len(), target.policy, winner);
            return;
        }
        self.policy.extend(normalised(target.policy, legal.len()));
        self.policy_ends.push(self.policy.len());
    }

    /// The policy target of a position.
    pub(crate) fn policy_of(&self, position: usize) -> &[(u16, f32)] {
        let start = if position == 0 { 0 } else { self.policy_ends[position - 1] };
        &self.policy[start..self.policy_ends[position]]
    }
}
