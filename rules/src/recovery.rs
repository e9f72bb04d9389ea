//! Recovery: a seat without stacks slides one of its markers, for a buried ring.
//!
//! The reference engine lists slides by the longest run they form and carries them out by the first run it
//! finds (RULES.md, findings 6 to 8). What it lists and then rejects is not legal, yet suppresses fallbacks.

use crate::bits::Bits;
use crate::board::Cell;
use crate::lines::{Run, set_of};
use crate::moves::{Move, MoveKind};
use crate::state::State;
use crate::topology::Topology;

/// What a line slide collapses.
struct Slide<B> {
    /// With a payment.
    whole: B,
    /// Free of charge.
    stretch: Option<B>,
}

impl<T: Topology> State<T> {
    /// Whether the seat to move controls no stack, owns a marker and has a buried ring.
    pub(crate) fn may_recover(&self) -> bool {
        let me = self.me();
        self.controlled[me].is_empty() && !self.markers[me].is_empty() && self.on_board[me] > 0
    }

    /// The seat's markers after a slide.
    fn slid(&self, from: Cell) -> T::Bits {
        let mut markers = self.markers[self.me()];
        markers.remove(from);
        markers
    }

    /// Whether the slide is listed as a line slide.
    fn forms_line(&self, from: Cell, to: Cell) -> bool {
        let markers = self.slid(from);
        let length = self.config().line_length();
        (0..T::AXES).any(|axis| Run::through::<T>(&markers, to, axis).len() >= length)
    }

    /// What the slide does, unless the engine rejects it.
    fn slide(&self, from: Cell, to: Cell) -> Option<Slide<T::Bits>> {
        let markers = self.slid(from);
        let length = self.config().line_length();
        let runs = (0..T::AXES).map(|axis| Run::through::<T>(&markers, to, axis));
        let first = runs.clone().find(|run| run.len() >= T::BOARD.base_line())?;
        if first.len() < length {
            return None;
        }
        let longest = runs.reduce(|best, run| if run.len() > best.len() { run } else { best })?;
        let start = &longest.cells()[..length];
        let whole = set_of::<T>(first.cells());
        let stretch = (longest.len() > length && start.contains(&to)).then(|| {
            if first.len() == length {
                whole
            } else {
                set_of::<T>(start)
            }
        });
        Some(Slide { whole, stretch })
    }

    /// The cells that a free recovery slide collapses; empty for other moves.
    pub fn recovery_stretch(&self, mv: Move) -> T::Bits {
        if mv.kind() != MoveKind::RecoverStretch {
            return T::Bits::default();
        }
        self.slide(mv.from(), mv.to())
            .and_then(|slide| slide.stretch)
            .unwrap_or_default()
    }

    /// The stacks with a ring of the seat to move, all of them buried: it controls none.
    fn payers(&self) -> T::Bits {
        let mut payers = T::Bits::default();
        for cell in self.occupied.cells() {
            if self.stack(cell).count(self.seat) > 0 {
                payers.insert(cell);
            }
        }
        payers
    }

    /// All slides, without the option to decline.
    pub(crate) fn list_recoveries(&self, out: &mut Vec<Move>) {
        let markers = self.markers[self.me()];
        let closed = self.blocked() | self.markers_any();
        let payers = self.payers();
        let tables = T::tables();
        let steps =
            move |from: Cell| (0..T::DIRECTIONS).filter_map(move |d| tables.ray(from, d).first().copied());
        let mut lines = false;
        for from in markers.cells() {
            for to in steps(from).filter(|&to| !closed.get(to)) {
                if !self.forms_line(from, to) {
                    continue;
                }
                lines = true;
                if let Some(slide) = self.slide(from, to) {
                    out.extend(
                        payers
                            .cells()
                            .map(|s| Move::triple(MoveKind::RecoverLine, from, to, s)),
                    );
                    if slide.stretch.is_some() {
                        out.push(Move::pair(MoveKind::RecoverStretch, from, to));
                    }
                }
            }
        }
        if lines {
            return;
        }
        for from in markers.cells() {
            for to in steps(from) {
                let kind = if !closed.get(to) {
                    MoveKind::RecoverFallback
                } else if self.occupied.get(to) {
                    MoveKind::RecoverStrike
                } else {
                    continue;
                };
                out.extend(payers.cells().map(|s| Move::triple(kind, from, to, s)));
            }
        }
    }

    /// Carries out a slide or a strike.
    pub(crate) fn recover(&mut self, mv: Move) {
        let (from, to) = (mv.from(), mv.to());
        let me = self.me();
        let collapsing = match mv.kind() {
            MoveKind::RecoverLine => self.slide(from, to).map(|slide| slide.whole),
            MoveKind::RecoverStretch => self.slide(from, to).and_then(|slide| slide.stretch),
            _ => None,
        };
        self.markers[me].remove(from);
        if mv.kind() == MoveKind::RecoverStrike {
            self.eliminate_top(to, 1);
        } else {
            self.markers[me].insert(to);
        }
        if let Some(cells) = collapsing {
            self.collapse(cells);
        }
        if let Some(payer) = mv.aux_cell() {
            self.eliminate_buried(payer);
        }
        self.recovery = true;
    }
}
