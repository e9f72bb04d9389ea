//! Phase territory: which regions may be claimed, and what a claim does (docs/rules.md, section 10).
//!
//! A region is found with the markers of one colour (0 to 3) as its wall, or with collapsed cells alone (4).
//! The same cells may be found with several walls.
//!
//! Invariant: the same cells are listed once, under the lowest of these walls.

use std::ops::ControlFlow;

use crate::bits::Bits;
use crate::board::{Cell, SEATS_MAX};
use crate::grid::Grid;
use crate::moves::{Move, MoveKind};
use crate::state::State;
use crate::topology::Topology;

/// The number of the wall that has no markers, only collapsed cells.
const NO_COLOUR: usize = SEATS_MAX;

impl<T: Topology> State<T> {
    /// The cells that a wall leaves open.
    fn open_under(&self, wall: usize, board: &Grid) -> Grid {
        let mut closed = self.collapsed_any();
        if wall < NO_COLOUR {
            closed |= self.markers[wall];
        }
        board.minus(&Grid::of::<T>(closed))
    }

    /// A mask of the seats that control a stack in the set.
    fn colours_in(&self, cells: T::Bits) -> u8 {
        self.seat_range()
            .filter(|&seat| self.controlled[usize::from(seat)].meets(cells))
            .fold(0, |mask, seat| mask | 1 << seat)
    }

    /// A mask of the seats with a ring in any stack.
    fn active_colours(&self) -> u8 {
        self.seat_range()
            .filter(|&seat| self.on_board[usize::from(seat)] > 0)
            .fold(0, |mask, seat| mask | 1 << seat)
    }

    /// The stacks with which the seat to move can pay for a region. One of them must lie outside the region.
    fn payers_for_region(&self) -> T::Bits {
        if !self.recovery {
            return self.controlled[self.me()];
        }
        let mut payers = T::Bits::default();
        for cell in self.occupied.cells() {
            if self.stack(cell).buries(self.seat) {
                payers.insert(cell);
            }
        }
        payers
    }

    /// Visits every region that the seat to move may claim once, together with its wall.
    fn regions(&self, mut visit: impl FnMut(T::Bits, usize) -> ControlFlow<()>) -> ControlFlow<()> {
        let payers = self.payers_for_region();
        let active = self.active_colours();
        if payers.is_empty() || active == 0 {
            return ControlFlow::Continue(());
        }
        let board = Grid::board::<T>();
        let mut opens = [Grid::EMPTY; NO_COLOUR + 1];
        let mut walls = [false; NO_COLOUR + 1];
        for wall in 0..=NO_COLOUR {
            let counts =
                if wall < NO_COLOUR { !self.markers[wall].is_empty() } else { active.count_ones() > 1 };
            if !counts {
                continue;
            }
            walls[wall] = true;
            opens[wall] = self.open_under(wall, &board);
            let mut rest = opens[wall];
            while let Some((row, seed)) = rest.lowest::<T>() {
                let cells = opens[wall].component::<T>(row, seed);
                rest = rest.minus(&cells);
                let region = cells.bits::<T>();
                let colours = self.colours_in(region);
                let qualifies = if wall < NO_COLOUR { colours != active } else { colours.count_ones() == 1 };
                if !qualifies || payers.minus(region).is_empty() {
                    continue;
                }
                let border = cells.grown::<T>().minus(&cells);
                let known = (0..wall).any(|other| {
                    walls[other]
                        && cells.minus(&opens[other]).is_empty()
                        && border.and(&opens[other]).is_empty()
                });
                if !known {
                    visit(region, wall)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether the seat to move may claim anything.
    pub(crate) fn has_region(&self) -> bool {
        self.regions(|_, _| ControlFlow::Break(())).is_break()
    }

    /// Lists the claims, or the payments while one is due.
    pub(crate) fn list_regions(&self, out: &mut Vec<Move>) {
        if self.due {
            let kind = if self.recovery { MoveKind::PayRecovery } else { MoveKind::PayTerritory };
            out.extend(self.payers_for_region().cells().map(|cell| Move::at(kind, cell)));
            return;
        }
        let before = out.len();
        let _: ControlFlow<()> = self.regions(|region, wall| {
            out.push(Self::claim(region, wall));
            ControlFlow::Continue(())
        });
        let leave = if out.len() == before { MoveKind::NoTerritory } else { MoveKind::SkipTerritory };
        out.push(Move::bare(leave));
    }

    fn claim(region: T::Bits, wall: usize) -> Move {
        let lowest = region.first().expect("a component is not empty");
        Move::triple(MoveKind::Territory, lowest, crate::board::NONE_CELL, wall as Cell)
    }

    /// The claimable region with exactly these cells.
    pub(crate) fn claim_of(&self, cells: T::Bits) -> Option<Move> {
        let mut found = None;
        let _: ControlFlow<()> = self.regions(|region, wall| {
            if region == cells {
                found = Some(Self::claim(region, wall));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        found
    }

    /// The cells of the region that a `Territory` move claims; empty for other moves.
    pub fn region(&self, mv: Move) -> T::Bits {
        if mv.kind() != MoveKind::Territory {
            return T::Bits::default();
        }
        self.component(mv).bits::<T>()
    }

    fn component(&self, mv: Move) -> Grid {
        let mut seed = T::Bits::default();
        seed.insert(mv.from());
        let open = self.open_under(usize::from(mv.aux()), &Grid::board::<T>());
        match Grid::of::<T>(seed).and(&open).lowest::<T>() {
            Some((row, seed)) => open.component::<T>(row, seed),
            None => Grid::EMPTY,
        }
    }

    /// Eliminates the rings in the region, collapses its cells and its border markers.
    pub(crate) fn claim_region(&mut self, mv: Move) {
        let cells = self.component(mv);
        let region = cells.bits::<T>();
        for cell in (self.occupied & region).cells() {
            self.eliminate_top(cell, self.stack(cell).height());
        }
        let markers = Grid::of::<T>(self.markers_any()).minus(&cells);
        let mut border = cells.grown::<T>().and(&markers);
        // On hexagonal the border is not extended; on hex8 it is, by the eight square steps (finding 3).
        if T::BOARD != crate::board::Board::Hexagonal {
            loop {
                let grown = border.grown_eight::<T>().and(&markers);
                if grown == border {
                    break;
                }
                border = grown;
            }
        }
        self.collapse(region | border.bits::<T>());
    }
}
