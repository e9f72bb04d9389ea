//! Phase line: the mover's lines, and what it may do with them (docs/rules.md, section 9).
//!
//! A line is a run of the mover's own markers along one axis that cannot be extended.

use crate::bits::Bits;
use crate::board::Cell;
use crate::grid::Grid;
use crate::moves::{Move, MoveKind};
use crate::state::State;
use crate::topology::{ROWS_MAX, Topology};

/// Consecutive cells along one axis, in its direction.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    cells: [Cell; ROWS_MAX],
    len: usize,
}

impl Run {
    /// The longest run through `cell` of cells in `markers` along an axis; `cell` itself counts as one of
    /// them.
    pub(crate) fn through<T: Topology>(markers: &T::Bits, cell: Cell, axis: usize) -> Self {
        let tables = T::tables();
        let count = |ray: &[Cell]| ray.iter().take_while(|&&c| markers.get(c)).count();
        let (back, ahead) = (tables.ray(cell, axis + T::AXES), tables.ray(cell, axis));
        let (behind, beyond) = (count(back), count(ahead));
        let mut run = Self { cells: [0; ROWS_MAX], len: behind + 1 + beyond };
        for (slot, &c) in run.cells.iter_mut().zip(back[..behind].iter().rev().chain([&cell]).chain(ahead)) {
            *slot = c;
        }
        run
    }

    /// The cells in axis direction.
    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells[..self.len]
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// The cells as a set.
pub(crate) fn set_of<T: Topology>(cells: &[Cell]) -> T::Bits {
    let mut bits = T::Bits::default();
    cells.iter().for_each(|&cell| bits.insert(cell));
    bits
}

impl<T: Topology> State<T> {
    /// Whether the seat to move has a line.
    pub(crate) fn has_line(&self) -> bool {
        let detected = self.config().line_detected();
        let markers = self.markers[self.me()];
        markers.count() as usize >= detected && Grid::of::<T>(markers).has_run::<T>(detected)
    }

    /// Lists the lines with their options, or the payments while one is due.
    pub(crate) fn list_lines(&self, out: &mut Vec<Move>) {
        let me = self.me();
        if self.due {
            out.extend(self.controlled[me].cells().map(|cell| Move::at(MoveKind::PayLine, cell)));
            return;
        }
        if !self.has_line() {
            out.push(Move::bare(MoveKind::NoLine));
            return;
        }
        let config = self.config();
        let (detected, length) = (config.line_detected(), config.line_length());
        let tables = T::tables();
        for axis in 0..T::AXES {
            for cell in self.markers[me].cells() {
                let before = tables.ray(cell, axis + T::AXES).first();
                if before.is_some_and(|&c| self.markers[me].get(c)) {
                    continue; // not where its run starts
                }
                let mut run = Run::through::<T>(&self.markers[me], cell, axis);
                if run.len < detected {
                    continue;
                }
                let cells = &mut run.cells[..run.len];
                if cells[0] > cells[cells.len() - 1] {
                    cells.reverse();
                }
                let (from, to) = (cells[0], cells[cells.len() - 1]);
                if cells.len() == length {
                    out.push(Move::pair(MoveKind::Line, from, to));
                } else {
                    out.push(Move::pair(MoveKind::LineAll, from, to));
                    let starts = &cells[..=cells.len() - length];
                    out.extend(
                        starts.iter().map(|&start| Move::triple(MoveKind::LineStretch, from, to, start)),
                    );
                }
            }
        }
    }

    /// The cells of a straight line between two cells, ends included; empty if there is none.
    pub(crate) fn line_between(from: Cell, to: Cell) -> ([Cell; ROWS_MAX], usize) {
        let mut cells = [from; ROWS_MAX];
        match T::direction(from, to) {
            Some((direction, distance)) => {
                cells[1..=distance].copy_from_slice(&T::ray(from, direction)[..distance]);
                (cells, distance + 1)
            }
            None => (cells, usize::from(from == to)),
        }
    }

    /// The cells that a line move collapses; empty for other moves.
    pub fn line_cells(&self, mv: Move) -> T::Bits {
        if !matches!(mv.kind(), MoveKind::Line | MoveKind::LineAll | MoveKind::LineStretch) {
            return T::Bits::default();
        }
        let (cells, len) = Self::line_between(mv.from(), mv.to());
        let start = match mv.aux_cell() {
            Some(first) => cells[..len].iter().position(|&cell| cell == first).unwrap_or(len),
            None => return set_of::<T>(&cells[..len]),
        };
        set_of::<T>(&cells[start..len.min(start + self.config().line_length())])
    }
}
