//! Phases place, move, capture and chain: what is legal in them and what it does (docs/rules.md, sections 4
//! to 7).
//!
//! A ray is free up to the first stack or collapsed cell. Markers never block.

use crate::bits::Bits;
use crate::board::{Cell, NONE_CELL};
use crate::moves::{Move, MoveKind};
use crate::stack::Stack;
use crate::state::State;
use crate::topology::{Tables, Topology};

/// What the lists of moves look up for every cell: the position, the tables, and the cells that end a ray.
pub(crate) struct View<'a, T: Topology> {
    state: &'a State<T>,
    tables: &'static Tables,
    blocked: T::Bits,
}

impl<T: Topology> View<'_, T> {
    /// The first stack or collapsed cell along a ray, as an index into the ray; its length if there is none.
    #[inline]
    fn run(&self, ray: &[Cell]) -> usize {
        ray.iter().position(|&cell| self.blocked.get(cell)).unwrap_or(ray.len())
    }

    /// Whether a stack of this cap may capture what stands at `ray[run]`.
    #[inline]
    fn overtakes(&self, ray: &[Cell], run: usize, cap: u32) -> bool {
        run < ray.len() && {
            let target = self.state.stack(ray[run]);
            !target.is_empty() && cap >= target.cap()
        }
    }

    /// Whether a stack of this height and cap on `from` would have a capture.
    fn captures(&self, from: Cell, height: u32, cap: u32) -> bool {
        (0..T::DIRECTIONS).any(|direction| {
            let ray = self.tables.ray(from, direction);
            let run = self.run(ray);
            self.overtakes(ray, run, cap) && {
                let beyond = &ray[run + 1..];
                self.run(beyond) >= 1.max((height as usize).saturating_sub(run + 1))
            }
        })
    }

    /// Whether a stack of this height on `from` would have a plain move.
    fn moves(&self, from: Cell, height: u32) -> bool {
        (0..T::DIRECTIONS).any(|direction| {
            let ray = self.tables.ray(from, direction);
            ray.len() >= height as usize && !ray[..height as usize].iter().any(|&cell| self.blocked.get(cell))
        })
    }

    fn acts(&self, from: Cell, height: u32, cap: u32) -> bool {
        self.moves(from, height) || self.captures(from, height, cap)
    }

    /// Whether any stack that the seat controls has a plain move or capture.
    fn any_acts(&self, seat: u8) -> bool {
        self.state.controlled[usize::from(seat)].cells().any(|cell| {
            let stack = self.state.stack(cell);
            self.acts(cell, stack.height(), stack.cap())
        })
    }

    /// Whether a ring of the seat may be put on the stack on `cell`.
    fn stacks_on(&self, seat: u8, cell: Cell) -> bool {
        let stack = self.state.stack(cell);
        let cap = if stack.top() == Some(seat) { stack.cap() + 1 } else { 1 };
        self.acts(cell, stack.height() + 1, cap)
    }

    /// The length of the longest plain move from an empty cell, counted up to `most`.
    #[inline]
    fn reach(&self, cell: Cell, most: usize) -> usize {
        let mut best = 0;
        for direction in 0..T::DIRECTIONS {
            let ray = self.tables.ray(cell, direction);
            let near = &ray[..ray.len().min(most)];
            best = best.max(self.run(near));
            if best == most {
                break;
            }
        }
        best
    }

    /// For 1, 2 and 3 rings, whether they may be put on an empty cell; a count above `most` may not (finding
    /// 18).
    #[inline]
    fn counts_on(&self, cell: Cell, most: usize) -> [bool; 3] {
        let reach = self.reach(cell, most);
        if reach == most {
            return [most >= 1, most >= 2, most >= 3];
        }
        let legal = |count: usize| {
            count <= most && (count <= reach || self.captures(cell, count as u32, count as u32))
        };
        if legal(1) { [true, legal(2), legal(3)] } else { [false; 3] }
    }

    fn list_plain(&self, from: Cell, height: u32, out: &mut Vec<Move>) {
        for direction in 0..T::DIRECTIONS {
            let ray = self.tables.ray(from, direction);
            let run = self.run(ray);
            if let Some(landings) = ray.get(height as usize - 1..run) {
                out.extend(landings.iter().map(|&to| Move::pair(MoveKind::Move, from, to)));
            }
        }
    }

    fn list_captures(&self, kind: MoveKind, from: Cell, out: &mut Vec<Move>) {
        let stack = self.state.stack(from);
        let (height, cap) = (stack.height() as usize, stack.cap());
        for direction in 0..T::DIRECTIONS {
            let ray = self.tables.ray(from, direction);
            let run = self.run(ray);
            if self.overtakes(ray, run, cap) {
                let beyond = &ray[run + 1..];
                let first = height.saturating_sub(run + 2);
                if let Some(landings) = beyond.get(first..self.run(beyond)) {
                    out.extend(landings.iter().map(|&to| Move::triple(kind, from, to, ray[run])));
                }
            }
        }
    }
}

impl<T: Topology> State<T> {
    #[inline]
    fn view(&self) -> View<'_, T> {
        View { state: self, tables: T::tables(), blocked: self.blocked() }
    }

    /// How many rings the seat could put down at once.
    fn placeable(&self, seat: u8) -> usize {
        let i = usize::from(seat);
        let room = T::BOARD.supply().saturating_sub(self.on_board[i]);
        usize::from(self.hand(seat).min(room).min(3))
    }

    /// Whether the seat would have a legal placement if it were to move.
    pub(crate) fn can_place(&self, seat: u8) -> bool {
        if self.placeable(seat) == 0 {
            return false;
        }
        let view = self.view();
        let closed = view.blocked | self.markers_any();
        (0..T::CELLS as Cell).any(|cell| !closed.get(cell) && view.counts_on(cell, 1)[0])
            || self.occupied.cells().any(|cell| view.stacks_on(seat, cell))
    }

    /// Whether the seat would have a plain move or a capture if it were to move.
    pub(crate) fn can_move(&self, seat: u8) -> bool {
        self.view().any_acts(seat)
    }

    /// Whether the stack on the cell has a capture.
    pub(crate) fn can_capture(&self, cell: Cell) -> bool {
        let stack = self.stack(cell);
        self.view().captures(cell, stack.height(), stack.cap())
    }

    pub(crate) fn list_placements(&self, out: &mut Vec<Move>) {
        if self.swap_available() {
            out.push(Move::bare(MoveKind::Swap));
        }
        let me = self.me();
        let view = self.view();
        let most = self.placeable(self.seat);
        let before = out.len();
        if most > 0 {
            let closed = self.markers_any() | self.collapsed_any();
            for cell in 0..T::CELLS as Cell {
                if closed.get(cell) {
                    continue;
                }
                if self.occupied.get(cell) {
                    if view.stacks_on(self.seat, cell) {
                        out.push(Move::at(MoveKind::Place1, cell));
                    }
                    continue;
                }
                let kinds = [MoveKind::Place1, MoveKind::Place2, MoveKind::Place3];
                for (kind, legal) in kinds.into_iter().zip(view.counts_on(cell, most)) {
                    if legal {
                        out.push(Move::at(kind, cell));
                    }
                }
            }
        }
        let may_skip = self.hand[me] > 0
            && if self.controlled[me].is_empty() { self.may_recover() } else { view.any_acts(self.seat) };
        if may_skip {
            out.push(Move::bare(MoveKind::SkipPlacement));
        } else if out.len() == before {
            out.push(Move::bare(MoveKind::NoPlacement));
        }
    }

    pub(crate) fn list_movements(&self, out: &mut Vec<Move>) {
        let before = out.len();
        let view = self.view();
        let mut list = |cell: Cell| {
            view.list_plain(cell, self.stack(cell).height(), out);
            view.list_captures(MoveKind::Capture, cell, out);
        };
        if self.must == NONE_CELL {
            self.controlled[self.me()].cells().for_each(&mut list);
        } else {
            list(self.must);
        }
        if self.may_recover() {
            self.list_recoveries(out);
            out.push(Move::bare(MoveKind::SkipRecovery));
        } else if out.len() == before {
            out.push(Move::bare(MoveKind::NoMovement));
        }
    }

    /// Lists the captures of the stack that has just moved, as moves of the kind `Capture` or `Chain`.
    pub(crate) fn list_attacks(&self, kind: MoveKind, out: &mut Vec<Move>) {
        self.view().list_captures(kind, self.attack, out);
    }

    pub(crate) fn place(&mut self, cell: Cell, count: u32) {
        let me = self.me();
        self.hand[me] -= count as i16;
        self.on_board[me] += count as u16;
        let stack = (0..count).fold(self.stack(cell), |stack, _| stack.pushed(self.seat));
        self.set_stack(cell, stack);
    }

    /// Lifts the stack on `from`, leaves a marker there, and collapses or flips the markers strictly between
    /// `from` and `to`.
    fn lift(&mut self, from: Cell, to: Cell) -> Stack {
        let me = self.me();
        let lifted = self.stack(from);
        self.set_stack(from, Stack::EMPTY);
        self.markers[me].insert(from);
        let (direction, distance) = T::direction(from, to).expect("moves run along rays");
        for &cell in &T::ray(from, direction)[..distance - 1] {
            if self.markers[me].get(cell) {
                self.markers[me].remove(cell);
                self.collapsed[me].insert(cell);
                self.territory[me] += 1;
            } else if self.clear_marker(cell) {
                self.markers[me].insert(cell);
            }
        }
        lifted
    }

    /// Removes a marker of any colour; false if there was none.
    fn clear_marker(&mut self, cell: Cell) -> bool {
        let was = self.markers.iter().any(|markers| markers.get(cell));
        self.markers.iter_mut().for_each(|markers| markers.remove(cell));
        was
    }

    /// Puts the moving stack down. A marker on the cell disappears and costs the top ring.
    fn land(&mut self, to: Cell, stack: Stack) {
        let costs = self.clear_marker(to);
        self.set_stack(to, stack);
        if costs {
            self.eliminate_top(to, 1);
        }
    }

    pub(crate) fn move_stack(&mut self, from: Cell, to: Cell) {
        let stack = self.lift(from, to);
        self.land(to, stack);
    }

    pub(crate) fn capture_stack(&mut self, from: Cell, target: Cell, to: Cell) {
        let stack = self.lift(from, to);
        let victim = self.stack(target);
        if let Some(captured) = victim.top() {
            self.set_stack(target, victim.popped(1));
            self.land(to, stack.with_bottom(captured));
        }
    }
}
