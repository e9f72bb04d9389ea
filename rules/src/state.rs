//! The position: plain data that is copied, without heap (docs/rules.md, section 2).
//!
//! Invariant: a cell is empty, or holds a stack, a marker or a collapse, never two of them. `occupied`,
//! `controlled` and `on_board` always agree with `stacks`, and `territory` with `collapsed` (finding 29).

use std::fmt;

use crate::bits::Bits;
use crate::board::{Cell, Config, NONE_CELL, Options, SEATS_MAX};
use crate::outcome::Outcome;
use crate::phase::Phase;
use crate::stack::Stack;
use crate::topology::Topology;

/// The state of round-counted last player standing (docs/rules.md, section 13): for how many rounds a single
/// seat had real actions. Seats count from 0; a mask has one bit for each seat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Lps {
    /// The seat that opens the round.
    pub first: Option<u8>,
    /// A mask of the seats that have started a turn in this round.
    pub seen: u8,
    /// A mask of those of them that had a real action.
    pub real: u8,
    /// The seat that was the only one with real actions.
    pub alone: Option<u8>,
    /// The number of rounds in a row for which it was.
    pub rounds: u16,
}

/// The counters of a seat as they are kept. [`State::hand`] and [`State::eliminated`] show negative ones as
/// 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    /// Rings in hand. It is below zero in constructed positions that have more rings of a colour than a seat
    /// owns.
    pub hand: i16,
    /// Rings that the seat has eliminated. It is below zero in some of these positions.
    pub eliminated: i16,
    /// The step at which the seat lost its last ring, if it has.
    pub lost_at: Option<u32>,
}

/// A step count that no game reaches.
pub(crate) const NEVER: u32 = u32::MAX;

/// A position of a game on the board `T`.
///
/// Two positions are equal if the notation prints them alike and their options are the same. What lies in the
/// past ([`Self::swapped`], [`Self::ply`]) is not compared.
#[derive(Clone, Copy)]
pub struct State<T: Topology> {
    pub(crate) stacks: T::Stacks,
    pub(crate) occupied: T::Bits,
    pub(crate) controlled: [T::Bits; SEATS_MAX],
    pub(crate) markers: [T::Bits; SEATS_MAX],
    pub(crate) collapsed: [T::Bits; SEATS_MAX],
    pub(crate) on_board: [u16; SEATS_MAX],
    /// Rings in hand and eliminated rings are below zero in some constructed positions, which have more rings
    /// of a colour on the board than a seat owns.
    pub(crate) hand: [i16; SEATS_MAX],
    pub(crate) eliminated: [i16; SEATS_MAX],
    pub(crate) territory: [u16; SEATS_MAX],
    pub(crate) options: Options,
    pub(crate) seats: u8,
    pub(crate) seat: u8,
    pub(crate) phase: Phase,
    pub(crate) must: Cell,
    pub(crate) attack: Cell,
    pub(crate) due: bool,
    pub(crate) acted: bool,
    pub(crate) recovery: bool,
    /// Whether the pie rule may still be used: seat 2 has not taken a step.
    pub(crate) swap_open: bool,
    pub(crate) swapped: bool,
    pub(crate) lps: Lps,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) ply: u32,
    /// The step at which a seat lost its last ring.
    pub(crate) lost_at: [u32; SEATS_MAX],
}

impl<T: Topology> PartialEq for State<T> {
    fn eq(&self, other: &Self) -> bool {
        self.stacks == other.stacks
            && self.markers == other.markers
            && self.collapsed == other.collapsed
            && self.hand == other.hand
            && self.eliminated == other.eliminated
            && self.territory == other.territory
            && self.options == other.options
            && self.seats == other.seats
            && self.seat == other.seat
            && self.phase == other.phase
            && self.must == other.must
            && self.attack == other.attack
            && self.due == other.due
            && self.acted == other.acted
            && self.recovery == other.recovery
            && self.swap_open == other.swap_open
            && self.lps == other.lps
            && self.outcome.map(|o| (o.winner, o.reason)) == other.outcome.map(|o| (o.winner, o.reason))
    }
}

impl<T: Topology> Eq for State<T> {}

impl<T: Topology> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({}, {:?}, {self})", self.config(), self.options)
    }
}

impl<T: Topology> State<T> {
    /// The start of a game: an empty board, and seat 0 to move.
    ///
    /// # Panics
    /// Unless there are 2 to 4 seats.
    pub fn new(seats: u8, options: Options) -> Self {
        assert!((2..=4).contains(&seats), "{seats} seats");
        let mut hand = [0; SEATS_MAX];
        hand[..usize::from(seats)].fill(T::BOARD.supply() as i16);
        Self {
            stacks: T::NO_STACKS,
            occupied: T::Bits::default(),
            controlled: Default::default(),
            markers: Default::default(),
            collapsed: Default::default(),
            on_board: [0; SEATS_MAX],
            hand,
            eliminated: [0; SEATS_MAX],
            territory: [0; SEATS_MAX],
            options,
            seats,
            seat: 0,
            phase: Phase::Place,
            must: NONE_CELL,
            attack: NONE_CELL,
            due: false,
            acted: false,
            recovery: false,
            swap_open: options.swap && seats == 2,
            swapped: false,
            lps: Lps::default(),
            outcome: None,
            ply: 0,
            lost_at: [NEVER; SEATS_MAX],
        }
    }

    /// Board and number of seats.
    pub fn config(&self) -> Config {
        Config { board: T::BOARD, seats: self.seats }
    }

    /// Number of seats.
    pub fn seats(&self) -> u8 {
        self.seats
    }

    /// Pie rule and victory timing.
    pub fn options(&self) -> Options {
        self.options
    }

    /// The seat to move, from 0. Once the game is over it is the winner.
    pub fn seat(&self) -> u8 {
        self.seat
    }

    /// What the seat to move does next.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How the game ended, if it has.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Whether the pie rule was used: the people behind the two seats are exchanged. Not part of the
    /// notation.
    pub fn swapped(&self) -> bool {
        self.swapped
    }

    /// Whether the seat to move may use the pie rule now.
    pub fn swap_available(&self) -> bool {
        self.swap_open && self.seat == 1 && self.phase == Phase::Place
    }

    /// Whether the pie rule may still be used: it is on, and seat 2 has not taken a step.
    pub fn swap_open(&self) -> bool {
        self.swap_open
    }

    /// The number of steps since this position was made or read from text.
    pub fn ply(&self) -> u32 {
        self.ply
    }

    /// The stack on a cell, which may be empty.
    #[inline]
    pub fn stack(&self, cell: Cell) -> Stack {
        self.stacks.as_ref()[usize::from(cell)]
    }

    /// The seat whose marker lies on a cell.
    pub fn marker(&self, cell: Cell) -> Option<u8> {
        self.seat_range().find(|&seat| self.markers[usize::from(seat)].get(cell))
    }

    /// The seat whose territory a cell is.
    pub fn collapsed(&self, cell: Cell) -> Option<u8> {
        self.seat_range().find(|&seat| self.collapsed[usize::from(seat)].get(cell))
    }

    /// The cells with stacks of any seat.
    pub fn occupied_bits(&self) -> T::Bits {
        self.occupied
    }

    /// The cells with stacks that a seat controls.
    pub fn controlled_bits(&self, seat: u8) -> T::Bits {
        self.controlled[usize::from(seat)]
    }

    /// The cells with markers of a seat.
    pub fn marker_bits(&self, seat: u8) -> T::Bits {
        self.markers[usize::from(seat)]
    }

    /// The cells that are territory of a seat.
    pub fn collapsed_bits(&self, seat: u8) -> T::Bits {
        self.collapsed[usize::from(seat)]
    }

    /// Rings in the hand of a seat, at least 0.
    #[inline]
    pub fn hand(&self, seat: u8) -> u16 {
        self.hand[usize::from(seat)].max(0) as u16
    }

    /// Rings of a seat's colour on the board.
    pub fn on_board(&self, seat: u8) -> u16 {
        self.on_board[usize::from(seat)]
    }

    /// Rings that a seat has eliminated, whatever their colour (finding 27); at least 0.
    pub fn eliminated(&self, seat: u8) -> u16 {
        self.eliminated[usize::from(seat)].max(0) as u16
    }

    /// The counters of a seat, without a lower bound of 0.
    pub fn ledger(&self, seat: u8) -> Ledger {
        let seat = usize::from(seat);
        let lost_at = (self.lost_at[seat] != NEVER).then_some(self.lost_at[seat]);
        Ledger { hand: self.hand[seat], eliminated: self.eliminated[seat], lost_at }
    }

    /// The number of collapsed cells of a seat.
    pub fn territory(&self, seat: u8) -> u16 {
        self.territory[usize::from(seat)]
    }

    /// In phase move: the only stack that may move, because it received rings in this turn.
    pub fn must_cell(&self) -> Option<Cell> {
        (self.must != NONE_CELL).then_some(self.must)
    }

    /// In the phases capture and chain: the stack that captures.
    pub fn attack_cell(&self) -> Option<Cell> {
        (self.attack != NONE_CELL).then_some(self.attack)
    }

    /// Whether a line or a region has to be paid for now.
    pub fn payment_due(&self) -> bool {
        self.due
    }

    /// Whether a recovery slide was made this turn.
    pub fn recovery_turn(&self) -> bool {
        self.recovery
    }

    /// Whether this turn is no longer idle (docs/rules.md, section 3).
    pub fn acted(&self) -> bool {
        self.acted
    }

    /// The count behind round-counted last player standing.
    pub fn lps(&self) -> Lps {
        self.lps
    }

    /// The seats, from 0.
    #[inline]
    pub(crate) fn seat_range(&self) -> std::ops::Range<u8> {
        0..self.seats
    }

    /// Index of the seat to move.
    #[inline]
    pub(crate) fn me(&self) -> usize {
        usize::from(self.seat)
    }

    /// Whether the seat has a ring in hand or in any stack.
    #[inline]
    pub(crate) fn present(&self, seat: u8) -> bool {
        let seat = usize::from(seat);
        self.hand[seat] > 0 || self.on_board[seat] > 0
    }

    #[inline]
    pub(crate) fn markers_any(&self) -> T::Bits {
        self.markers[0] | self.markers[1] | self.markers[2] | self.markers[3]
    }

    #[inline]
    pub(crate) fn collapsed_any(&self) -> T::Bits {
        self.collapsed[0] | self.collapsed[1] | self.collapsed[2] | self.collapsed[3]
    }

    /// Cells that end a ray: stacks and collapsed cells.
    #[inline]
    pub(crate) fn blocked(&self) -> T::Bits {
        self.occupied | self.collapsed_any()
    }

    /// Replaces the stack on a cell and updates the sets that follow from the stacks. The caller updates
    /// `on_board`.
    #[inline]
    pub(crate) fn set_stack(&mut self, cell: Cell, stack: Stack) {
        let slot = &mut self.stacks.as_mut()[usize::from(cell)];
        if let Some(before) = slot.top() {
            self.controlled[usize::from(before)].remove(cell);
        }
        *slot = stack;
        match stack.top() {
            Some(seat) => {
                self.controlled[usize::from(seat)].insert(cell);
                self.occupied.insert(cell);
            }
            None => self.occupied.remove(cell),
        }
    }

    /// Takes `count` rings off the top of a stack and credits them to the seat to move.
    pub(crate) fn eliminate_top(&mut self, cell: Cell, count: u32) {
        let stack = self.stack(cell);
        let rest = stack.popped(count);
        for seat in self.seat_range() {
            let gone = stack.count(seat) - rest.count(seat);
            self.on_board[usize::from(seat)] -= gone as u16;
        }
        self.eliminated[self.me()] += count as i16;
        self.set_stack(cell, rest);
    }

    /// Takes the lowest ring of the seat to move out of a stack and credits it to that seat.
    pub(crate) fn eliminate_buried(&mut self, cell: Cell) {
        let me = self.me();
        self.on_board[me] -= 1;
        self.eliminated[me] += 1;
        self.set_stack(cell, self.stack(cell).without_lowest(self.seat));
    }

    /// Turns cells without stacks into territory of the seat to move. Markers on them disappear.
    pub(crate) fn collapse(&mut self, cells: T::Bits) {
        for markers in &mut self.markers {
            *markers = markers.minus(cells);
        }
        let me = self.me();
        self.collapsed[me] |= cells;
        self.territory[me] += cells.count() as u16;
    }
}
