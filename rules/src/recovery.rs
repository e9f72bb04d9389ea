//! Recovery: a seat without stacks slides one of its markers and pays with a buried ring (docs/rules.md,
//! section 8).
//!
//! The recorded games look for a line twice: a slide counts as a line slide by the longest run that it forms,
//! and it is carried out with the first run that is found (findings 6 to 8). A slide that passes the first
//! look and fails the second is not legal, yet it suppresses fallbacks and strikes.

use crate::bits::Bits;
use crate::board::Cell;
use crate::lines::{Run, set_of};
use crate::moves::{Move, MoveKind};
use crate::state::State;
use crate::topology::Topology;

/// The order in which recovery looks at the axes; on square boards it is E, S, SE, NE (finding 6).
const fn axis_order<T: Topology>() -> &'static [usize] {
    if T::HEX { &[0, 1, 2] } else { &[0, 2, 1, 3] }
}

/// What a line slide collapses.
struct Slide<B> {
    /// The first run that is found; taking it is paid for.
    whole: B,
    /// The free collapse, if it is offered.
    stretch: Option<Stretch<B>>,
}

/// A free collapse. The text of the move names the start of the longest run, even where the first run that is
/// found has exactly L cells and collapses in its place (finding 8).
struct Stretch<B> {
    named: B,
    collapsing: B,
}

impl<T: Topology> State<T> {
    /// Whether the seat to move controls no stack, owns a marker and has a buried ring.
    pub(crate) fn may_recover(&self) -> bool {
        let me = self.me();
        self.controlled[me].is_empty() && !self.markers[me].is_empty() && self.on_board[me] > 0
    }

    /// The seat's markers without the one that slides.
    fn slid(&self, from: Cell) -> T::Bits {
        let mut markers = self.markers[self.me()];
        markers.remove(from);
        markers
    }

    /// Whether the slide counts as a line slide: its longest run has L cells or more.
    fn forms_line(&self, from: Cell, to: Cell) -> bool {
        let markers = self.slid(from);
        let length = self.config().line_length();
        (0..T::AXES).any(|axis| Run::through::<T>(&markers, to, axis).len() >= length)
    }

    /// What the slide collapses; none if it is not legal after all (finding 6).
    fn slide(&self, from: Cell, to: Cell) -> Option<Slide<T::Bits>> {
        let markers = self.slid(from);
        let length = self.config().line_length();
        let runs = axis_order::<T>().iter().map(|&axis| Run::through::<T>(&markers, to, axis));
        let first = runs.clone().find(|run| run.len() >= T::BOARD.base_line())?;
        if first.len() < length {
            return None;
        }
        let longest = runs.reduce(|best, run| if run.len() > best.len() { run } else { best })?;
        let start = &longest.cells()[..length];
        let whole = set_of::<T>(first.cells());
        let stretch = (longest.len() > length && start.contains(&to)).then(|| {
            let named = set_of::<T>(start);
            Stretch { named, collapsing: if first.len() == length { whole } else { named } }
        });
        Some(Slide { whole, stretch })
    }

    /// The stretch that a `RecoverStretch` move names; empty for other moves.
    pub(crate) fn stretch_named(&self, mv: Move) -> T::Bits {
        if mv.kind() != MoveKind::RecoverStretch {
            return T::Bits::default();
        }
        let stretch = self.slide(mv.from(), mv.to()).and_then(|slide| slide.stretch);
        stretch.map_or_else(T::Bits::default, |stretch| stretch.named)
    }

    /// The cells that a recovery slide collapses; empty if none, and for other moves.
    pub fn recovery_cells(&self, mv: Move) -> T::Bits {
        if !matches!(mv.kind(), MoveKind::RecoverLine | MoveKind::RecoverStretch) {
            return T::Bits::default();
        }
        let Some(slide) = self.slide(mv.from(), mv.to()) else {
            return T::Bits::default();
        };
        if mv.kind() == MoveKind::RecoverLine {
            return slide.whole;
        }
        slide.stretch.map_or_else(T::Bits::default, |stretch| stretch.collapsing)
    }

    /// The stacks with a ring of the seat to move. It controls no stack, so all its rings are buried.
    fn payers(&self) -> T::Bits {
        let mut payers = T::Bits::default();
        for cell in self.occupied.cells() {
            if self.stack(cell).count(self.seat) > 0 {
                payers.insert(cell);
            }
        }
        payers
    }

    /// Lists all slides and strikes, without `SR`.
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
                    out.extend(payers.cells().map(|s| Move::triple(MoveKind::RecoverLine, from, to, s)));
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
        let collapsing = self.recovery_cells(mv);
        self.markers[me].remove(from);
        if mv.kind() == MoveKind::RecoverStrike {
            self.eliminate_top(to, 1);
        } else {
            self.markers[me].insert(to);
        }
        self.collapse(collapsing);
        if let Some(payer) = mv.aux_cell() {
            self.eliminate_buried(payer);
        }
        self.recovery = true;
    }
}
