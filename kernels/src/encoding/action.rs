//! Legal moves as the policy head sees them.
//!
//! A move's logit is a sum: a bias of its kind that depends on the whole position, planes read at its cells,
//! for a move along a ray a product of what the two ends look like and a weight of direction and distance,
//! and for moves on many cells a mean and a sum over them.

use rules::{Bits, Move, MoveKind, NONE_CELL, State, Topology};

/// Number of move kinds.
pub(crate) const KINDS: usize = MoveKind::ALL.len();
/// Kinds of moves from one cell to another.
pub(crate) const PAIRS: usize = 7;
/// Distances of the table of rays: 1 to 24.
pub(crate) const DISTANCES: usize = 24;
/// Entries of the table of rays: kind of pair, direction, distance.
pub(crate) const RAYS: usize = PAIRS * 8 * DISTANCES;
/// Planes of which single cells or sets of cells are read.
pub(crate) const PLANES: usize = 20;

const NONE: u8 = u8::MAX;

/// What is read for a kind of move; [`NONE`] where nothing is.
#[derive(Clone, Copy)]
pub(crate) struct Reads {
    /// The row of the table of pairs.
    pub(crate) pair: u8,
    /// Planes read at the move's three cells.
    pub(crate) planes: [u8; 3],
    /// Plane of which the mean over the move's cells is taken.
    pub(crate) mean: u8,
    /// Plane of which a scaled sum over the move's cells is taken.
    pub(crate) sum: u8,
}

const fn cell(plane: u8) -> Reads {
    Reads { pair: NONE, planes: [plane, NONE, NONE], mean: NONE, sum: NONE }
}

const fn pair(pair: u8, ends: u8, aux: u8) -> Reads {
    Reads { pair, planes: [ends, ends + 1, aux], mean: NONE, sum: NONE }
}

const fn many(mean: u8, sum: u8) -> Reads {
    Reads { pair: NONE, planes: [NONE; 3], mean, sum }
}

/// What the head reads for a kind of move.
#[inline]
pub(crate) const fn reads(kind: MoveKind) -> Reads {
    match kind {
        MoveKind::Place1 => cell(0),
        MoveKind::Place2 => cell(1),
        MoveKind::Place3 => cell(2),
        MoveKind::PayLine => cell(3),
        MoveKind::PayTerritory => cell(4),
        MoveKind::PayRecovery => cell(5),
        MoveKind::Forced => cell(6),
        MoveKind::Move => pair(0, 7, NONE),
        MoveKind::Capture => pair(1, 9, 15),
        MoveKind::Chain => pair(2, 11, 15),
        MoveKind::RecoverLine => pair(3, 13, 16),
        MoveKind::RecoverStretch => pair(4, 13, NONE),
        MoveKind::RecoverFallback => pair(5, 13, 16),
        MoveKind::RecoverStrike => pair(6, 13, 16),
        MoveKind::Line | MoveKind::LineAll | MoveKind::LineStretch => many(17, NONE),
        MoveKind::Territory => many(18, 19),
        MoveKind::SkipPlacement
        | MoveKind::NoPlacement
        | MoveKind::Swap
        | MoveKind::SkipCapture
        | MoveKind::SkipRecovery
        | MoveKind::NoMovement
        | MoveKind::NoLine
        | MoveKind::SkipTerritory
        | MoveKind::NoTerritory => many(NONE, NONE),
    }
}

/// The plane or pair, if there is one.
#[inline]
pub(crate) fn used(index: u8) -> Option<usize> {
    (index != NONE).then_some(usize::from(index))
}

/// A legal move as the policy head needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Action {
    pub(crate) kind: MoveKind,
    /// Cells, [`NONE_CELL`] where unused.
    pub(crate) cells: [u16; 3],
    /// Index into the table of rays, where the kind is a pair.
    pub(crate) ray: u16,
    /// The range of [`Actions::cells`] that holds the move's cells, where the kind has many.
    pub(crate) many: (u32, u32),
}

/// The legal moves of several positions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Actions {
    pub(crate) actions: Vec<Action>,
    /// Where each position's actions end.
    pub(crate) ends: Vec<usize>,
    /// The cells of lines and regions.
    pub(crate) cells: Vec<u16>,
}

impl Actions {
    pub(crate) fn clear(&mut self) {
        self.actions.clear();
        self.ends.clear();
        self.cells.clear();
    }

    /// Where a position's actions are.
    pub(crate) fn range(&self, position: usize) -> std::ops::Range<usize> {
        let start = if position == 0 { 0 } else { self.ends[position - 1] };
        start..self.ends[position]
    }

    /// Adds the legal moves of a position.
    pub(crate) fn push<T: Topology>(&mut self, state: &State<T>, legal: &[Move]) {
        for &mv in legal {
            let kind = mv.kind();
            let reads = reads(kind);
            let start = self.cells.len() as u32;
            match kind {
                MoveKind::Line | MoveKind::LineAll | MoveKind::LineStretch => {
                    self.cells.extend(state.line_cells(mv).cells());
                }
                MoveKind::Territory => self.cells.extend(state.region(mv).cells()),
                _ => {}
            }
            let ray = used(reads.pair).map_or(0, |pair| ray::<T>(pair, mv));
            let aux = mv.aux_cell().unwrap_or(NONE_CELL);
            self.actions.push(Action {
                kind,
                cells: [mv.from(), mv.to(), aux],
                ray,
                many: (start, self.cells.len() as u32),
            });
        }
        self.ends.push(self.actions.len());
    }
}

fn ray<T: Topology>(pair: usize, mv: Move) -> u16 {
    // Every legal pair lies on a ray; a foreign one would read the first entry.
    let (direction, distance) = T::direction(mv.from(), mv.to()).unwrap_or((0, 1));
    let distance = distance.clamp(1, DISTANCES) - 1;
    ((pair * 8 + direction) * DISTANCES + distance) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use rules::{Config, Options, playout, with_board};
    use std::collections::HashSet;

    #[test]
    fn legal_moves_of_a_position_differ_in_what_is_read() {
        for config in Config::all() {
            with_board!(config.board, T => {
                let start = State::<T>::new(config.seats, Options { swap: config.seats == 2, ..Options::default() });
                let mut choices = playout::Choices::new(3);
                let mut actions = Actions::default();
                for _ in 0..if T::CELLS < 100 { 8 } else { 1 } {
                    playout::play(start, &mut choices, &mut Vec::new(), |state, legal| {
                        actions.clear();
                        actions.push(state, legal);
                        assert_eq!(actions.range(0).len(), legal.len());
                        let mut seen = HashSet::new();
                        for action in &actions.actions {
                            let read = reads(action.kind);
                            let planes: Vec<_> = read.planes.iter().zip(action.cells)
                                .filter_map(|(&plane, cell)| used(plane).map(|plane| (plane, cell))).collect();
                            assert!(planes.iter().all(|&(plane, cell)| plane < PLANES && usize::from(cell) < T::CELLS));
                            let many = actions.cells[action.many.0 as usize..action.many.1 as usize].to_vec();
                            assert_eq!(many.is_empty(), used(read.mean).is_none());
                            assert!(seen.insert((action.kind, planes, action.ray, many)), "{state}");
                        }
                    });
                }
            });
        }
    }

    #[test]
    fn rays_fit_their_table() {
        assert!(RAYS <= usize::from(u16::MAX));
        let kinds = MoveKind::ALL.into_iter().map(reads);
        assert_eq!(kinds.filter_map(|reads| used(reads.pair)).max(), Some(PAIRS - 1));
    }
}
