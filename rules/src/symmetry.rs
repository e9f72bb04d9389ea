//! The symmetries of a board: 12 of a hexagon, 8 of a square.
//!
//! Invariant: the list of legal moves and their effects commute with them, except where the rules themselves
//! are not symmetric (docs/rules.md, findings 3 and 6 to 8).

use crate::bits::Bits;
use crate::board::{Cell, SEATS_MAX};
use crate::moves::{Move, MoveKind};
use crate::stack::Stack;
use crate::state::State;
use crate::topology::Topology;

/// A rotation or reflection of one board.
#[derive(Debug, Clone, Copy)]
pub struct Symmetry {
    images: &'static [Cell],
}

impl Symmetry {
    /// All symmetries of a board, the identity first.
    pub fn all<T: Topology>() -> Vec<Self> {
        T::tables().symmetries.iter().map(|images| Self { images }).collect()
    }

    /// Number of symmetries of a board.
    pub fn count<T: Topology>() -> usize {
        T::tables().symmetries.len()
    }

    /// The i-th symmetry; the identity is the 0-th.
    ///
    /// # Panics
    /// If `i` is not below [`Self::count`].
    pub fn nth<T: Topology>(i: usize) -> Self {
        Self { images: &T::tables().symmetries[i] }
    }

    /// The image of a cell.
    ///
    /// # Panics
    /// If the board for which [`Self::all`] gave this symmetry has no such cell.
    #[inline]
    pub fn cell(&self, cell: Cell) -> Cell {
        self.images[usize::from(cell)]
    }

    /// The image of a set of cells.
    pub fn bits<B: Bits>(&self, bits: B) -> B {
        let mut out = B::default();
        bits.cells().for_each(|cell| out.insert(self.cell(cell)));
        out
    }

    /// The image of a position.
    pub fn state<T: Topology>(&self, state: &State<T>) -> State<T> {
        let mut out = *state;
        out.stacks = T::NO_STACKS;
        for cell in state.occupied.cells() {
            let slot: &mut Stack = &mut out.stacks.as_mut()[usize::from(self.cell(cell))];
            *slot = state.stack(cell);
        }
        out.occupied = self.bits(state.occupied);
        for seat in 0..SEATS_MAX {
            out.controlled[seat] = self.bits(state.controlled[seat]);
            out.markers[seat] = self.bits(state.markers[seat]);
            out.collapsed[seat] = self.bits(state.collapsed[seat]);
        }
        out.must = state.must_cell().map_or(state.must, |cell| self.cell(cell));
        out.attack = state.attack_cell().map_or(state.attack, |cell| self.cell(cell));
        out
    }

    /// The image of a move of `state`: the move that does the same in the image of the position.
    pub fn mv<T: Topology>(&self, state: &State<T>, mv: Move) -> Move {
        let kind = mv.kind();
        let (from, to) = (mv.from(), mv.to());
        let image = |cell: Option<Cell>, none: Cell| cell.map_or(none, |cell| self.cell(cell));
        if kind == MoveKind::Territory {
            let lowest = self.bits(state.region(mv)).first();
            return Move::triple(kind, lowest.unwrap_or(from), to, mv.aux());
        }
        let (from, to) = (image(mv.from_cell(), from), image(mv.to_cell(), to));
        if matches!(kind, MoveKind::Line | MoveKind::LineAll | MoveKind::LineStretch) {
            let first = mv.aux_cell().and_then(|_| self.bits(state.line_cells(mv)).first());
            return Move::triple(kind, from.min(to), from.max(to), first.unwrap_or(mv.aux()));
        }
        Move::triple(kind, from, to, image(mv.aux_cell(), mv.aux()))
    }
}
