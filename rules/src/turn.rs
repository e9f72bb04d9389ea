//! One step: list the legal moves, play one, and go to the next phase or seat (docs/rules.md, section 3).
//!
//! Invariant: after each step there is a legal move, or the game is over.

use crate::bits::Bits;
use crate::board::{NONE_CELL, Victory};
use crate::moves::{Move, MoveKind};
use crate::phase::Phase;
use crate::state::State;
use crate::topology::Topology;

/// A move that is not legal in the position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("illegal move {text} in phase {} of seat {seat}", phase.as_str())]
pub struct IllegalMove {
    /// The move as the notation would print it.
    pub text: String,
    /// The phase in which it was tried.
    pub phase: Phase,
    /// The seat to move, from 1.
    pub seat: u8,
}

impl<T: Topology> State<T> {
    /// Replaces the contents of `out` by the legal moves, in an order that depends on the position alone. The
    /// list is empty exactly when the game is over.
    pub fn legal(&self, out: &mut Vec<Move>) {
        out.clear();
        match self.phase {
            Phase::Place => self.list_placements(out),
            Phase::Move => self.list_movements(out),
            Phase::Capture => {
                self.list_attacks(MoveKind::Capture, out);
                out.push(Move::bare(MoveKind::SkipCapture));
            }
            Phase::Chain => self.list_attacks(MoveKind::Chain, out),
            Phase::Line => self.list_lines(out),
            Phase::Territory => self.list_regions(out),
            Phase::Forced => {
                out.extend(self.controlled[self.me()].cells().map(|cell| Move::at(MoveKind::Forced, cell)));
            }
            Phase::Over => {}
        }
    }

    /// Plays a move after checking that it is legal.
    ///
    /// # Errors
    /// [`IllegalMove`]; the position is then unchanged.
    pub fn try_apply(&mut self, mv: Move) -> Result<(), IllegalMove> {
        let mut legal = Vec::new();
        self.legal(&mut legal);
        if legal.contains(&mv) {
            self.apply(mv);
            Ok(())
        } else {
            Err(IllegalMove { text: self.move_text(mv), phase: self.phase, seat: self.seat + 1 })
        }
    }

    /// Plays a move that the caller knows to be legal. An illegal move may panic or leave a position that no
    /// game has.
    pub fn apply(&mut self, mv: Move) {
        self.perform(mv);
        self.ply = self.ply.saturating_add(1);
        self.acted |= !mv.kind().is_idle() && mv.kind() != MoveKind::Swap;
        if self.seat == 1 {
            self.swap_open = false;
        }
        self.note_losses();
        if self.options.victory == Victory::EveryMove && self.end_if_won() {
            return;
        }
        self.advance(mv);
    }

    fn end_if_won(&mut self) -> bool {
        match self.victory() {
            Some((winner, reason)) => {
                self.finish(winner, reason);
                true
            }
            None => false,
        }
    }

    /// Changes the board and the counters as the move says.
    fn perform(&mut self, mv: Move) {
        match mv.kind() {
            MoveKind::Place1 | MoveKind::Place2 | MoveKind::Place3 => {
                self.place(mv.from(), mv.kind().placed())
            }
            MoveKind::Swap => self.swapped = !self.swapped,
            MoveKind::Move => self.move_stack(mv.from(), mv.to()),
            MoveKind::Capture | MoveKind::Chain => self.capture_stack(mv.from(), mv.aux(), mv.to()),
            MoveKind::RecoverLine
            | MoveKind::RecoverStretch
            | MoveKind::RecoverFallback
            | MoveKind::RecoverStrike => self.recover(mv),
            MoveKind::Line | MoveKind::LineAll | MoveKind::LineStretch => self.collapse(self.line_cells(mv)),
            MoveKind::Territory => self.claim_region(mv),
            MoveKind::PayLine => self.eliminate_top(mv.from(), 1),
            MoveKind::PayTerritory | MoveKind::Forced => {
                self.eliminate_top(mv.from(), self.stack(mv.from()).cap());
            }
            MoveKind::PayRecovery => self.eliminate_buried(mv.from()),
            MoveKind::SkipPlacement
            | MoveKind::NoPlacement
            | MoveKind::SkipCapture
            | MoveKind::SkipRecovery
            | MoveKind::NoMovement
            | MoveKind::NoLine
            | MoveKind::SkipTerritory
            | MoveKind::NoTerritory => {}
        }
    }

    /// Goes to the phase or the seat that follows the move.
    fn advance(&mut self, mv: Move) {
        match mv.kind() {
            MoveKind::Place1 | MoveKind::Place2 | MoveKind::Place3 => {
                self.must = mv.from();
                self.phase = Phase::Move;
            }
            MoveKind::SkipPlacement | MoveKind::NoPlacement => self.phase = Phase::Move,
            MoveKind::Swap => {}
            MoveKind::Move => self.after_landing(mv, Phase::Capture),
            MoveKind::Capture | MoveKind::Chain => self.after_landing(mv, Phase::Chain),
            MoveKind::SkipCapture
            | MoveKind::NoMovement
            | MoveKind::SkipRecovery
            | MoveKind::RecoverLine
            | MoveKind::RecoverStretch
            | MoveKind::RecoverFallback
            | MoveKind::RecoverStrike => self.enter_line(),
            MoveKind::Line | MoveKind::LineAll => {
                self.due = !self.controlled[self.me()].is_empty();
                if !self.due {
                    self.after_free_line();
                }
            }
            MoveKind::LineStretch => self.after_free_line(),
            MoveKind::PayLine => self.due = false,
            MoveKind::NoLine => {
                let forced = self.must_give_up() && !self.has_region();
                self.phase = if forced { Phase::Forced } else { Phase::Territory };
            }
            MoveKind::Territory => self.due = true,
            MoveKind::PayTerritory | MoveKind::PayRecovery => {
                self.due = false;
                if !self.has_region() {
                    self.end_turn();
                }
            }
            MoveKind::SkipTerritory => {
                if self.must_give_up() {
                    self.phase = Phase::Forced;
                } else {
                    self.end_turn();
                }
            }
            MoveKind::NoTerritory | MoveKind::Forced => self.end_turn(),
        }
    }

    /// Whether the turn was idle although the seat controls a stack.
    fn must_give_up(&self) -> bool {
        !self.acted && !self.controlled[self.me()].is_empty()
    }

    fn after_landing(&mut self, mv: Move, next: Phase) {
        self.must = NONE_CELL;
        if self.controlled[self.me()].get(mv.to()) && self.can_capture(mv.to()) {
            self.attack = mv.to();
            self.phase = next;
        } else {
            self.enter_line();
        }
    }

    fn enter_line(&mut self) {
        self.must = NONE_CELL;
        self.attack = NONE_CELL;
        self.phase = Phase::Line;
    }

    fn after_free_line(&mut self) {
        if !self.has_line() {
            self.phase = Phase::Territory;
        }
    }

    /// Resets what belongs to one turn.
    pub(crate) fn clear_turn(&mut self) {
        self.must = NONE_CELL;
        self.attack = NONE_CELL;
        self.due = false;
        self.acted = false;
        self.recovery = false;
    }

    fn end_turn(&mut self) {
        if self.options.victory == Victory::TurnEnd && self.end_if_won() {
            return;
        }
        let seats = self.seats;
        let next = (1..=seats).map(|step| (self.seat + step) % seats).find(|&seat| self.present(seat));
        // Without any ring there is no stack and nobody can place, and the game has ended above.
        self.seat = next.expect("a seat has rings while the game goes on");
        self.clear_turn();
        self.phase = Phase::Place;
        if self.last_player_standing() {
            self.finish(self.seat, crate::outcome::Reason::LastPlayerStanding);
        }
    }
}
