//! Reads positions (docs/rules.md, section 16). The text may come from anywhere, so everything is checked.
//!
//! Invariant: in every position that is accepted, all that the game relies on holds, and there is a legal
//! move unless the game is over.

use std::str::FromStr;

use crate::bits::Bits;
use crate::board::{Board, Cell, NONE_CELL, Options, SEATS_MAX};
use crate::notation::read_cell;
use crate::outcome::Reason;
use crate::phase::Phase;
use crate::stack::{HEIGHT_MAX, Stack};
use crate::state::State;
use crate::topology::Topology;

/// Longer than any position of the largest board.
const TEXT_MAX: usize = 64 * 1024;

/// More eliminated rings than all rings of any position; the counters have room for as many again.
const ELIMINATED_MAX: i16 = 469 * HEIGHT_MAX as i16 + 96;

/// Why a text is not a position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotationError {
    /// The number of seats is not 2 to 4.
    #[error("{0} seats, expected 2 to 4")]
    Seats(u8),
    /// The text is longer than that of any position.
    #[error("a position of {bytes} bytes")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The text does not follow the notation.
    #[error("expected {expected}, found {found:?}")]
    Malformed {
        /// What the notation asks for at this place.
        expected: &'static str,
        /// The beginning of what stands there.
        found: String,
    },
    /// A stack is higher than [`HEIGHT_MAX`], which is what its word can hold.
    #[error("a stack of {height} rings on {cell}, at most {HEIGHT_MAX} can be held")]
    TooHigh {
        /// Its number of rings.
        height: usize,
        /// The cell, as `x,y`.
        cell: String,
    },
    /// A seat has more rings in hand than it starts with.
    #[error("seat {seat} has {rings} rings in hand, its supply is {supply} on {board}")]
    Hand {
        /// The number of the seat, from 1.
        seat: u8,
        /// Rings in hand.
        rings: i16,
        /// Rings with which a seat starts.
        supply: u16,
        /// The board.
        board: Board,
    },
    /// The parts of the position contradict each other.
    #[error("inconsistent position: {0}")]
    Inconsistent(&'static str),
    /// The text can be read, but the position would be printed in another way.
    #[error("not in canonical form: {found:?} would be printed as {printed:?}")]
    NotCanonical {
        /// The text from where it begins to differ, at most 30 characters.
        found: String,
        /// The same place as it would be printed.
        printed: String,
    },
}

fn malformed(expected: &'static str, found: &str) -> NotationError {
    NotationError::Malformed { expected, found: found.chars().take(40).collect() }
}

fn number<N: FromStr>(text: &str, expected: &'static str) -> Result<N, NotationError> {
    text.parse().map_err(|_| malformed(expected, text))
}

fn ensure(holds: bool, what: &'static str) -> Result<(), NotationError> {
    if holds { Ok(()) } else { Err(NotationError::Inconsistent(what)) }
}

/// The items of a list section such as `M 0,1:2 0,2:1`, as cell and rest.
fn items<'a, T: Topology>(
    section: Option<&'a str>,
    title: &'static str,
) -> Result<impl Iterator<Item = Result<(Cell, &'a str), NotationError>>, NotationError> {
    let section = section.ok_or_else(|| malformed(title, ""))?;
    let list = section.strip_prefix(title).ok_or_else(|| malformed(title, section))?;
    let parts = list.split(' ').filter(move |_| !list.is_empty());
    Ok(parts.map(|item| {
        item.split_once(':')
            .and_then(|(cell, rest)| Some((read_cell::<T>(cell)?, rest)))
            .ok_or_else(|| malformed("a cell of the board, a colon and its contents", item))
    }))
}

impl<T: Topology> State<T> {
    /// Reads a position. What the notation does not hold is taken to be as at the start of a game: the pie
    /// rule was not used, no seat lost its last ring before, and if seat 1 is on its opening turn and the pie
    /// rule is on, seat 2 may still use it.
    ///
    /// # Errors
    /// [`NotationError`] if the text is no position, one that cannot arise or one that cannot be held.
    pub fn parse(seats: u8, options: Options, text: &str) -> Result<Self, NotationError> {
        if !(2..=4).contains(&seats) {
            return Err(NotationError::Seats(seats));
        }
        if text.len() > TEXT_MAX {
            return Err(NotationError::TooLong { bytes: text.len() });
        }
        let mut state = Self::new(seats, options);
        let mut sections = text.split('|');
        let turn = sections.next().unwrap_or_default();
        for seat in 0..usize::from(seats) {
            state.read_counters(seat, sections.next().unwrap_or_default())?;
        }
        state.read_cells(&mut sections)?;
        let over = turn.starts_with("over ");
        if !over {
            state.read_lps(sections.next().unwrap_or_default())?;
        }
        if let Some(more) = sections.next() {
            return Err(malformed("the end", more));
        }
        state.check_counters()?;
        if over {
            let (winner, reason) = read_result(turn, seats)?;
            state.note_losses();
            state.finish(winner, reason);
        } else {
            state.read_turn(turn)?;
            state.check_turn()?;
        }
        state.check_canonical(text)?;
        Ok(state)
    }

    fn read_counters(&mut self, seat: usize, section: &str) -> Result<(), NotationError> {
        let expected = "h<rings in hand>e<eliminated rings>t<territory>";
        let parts = || {
            let rest = section.strip_prefix('h')?;
            let (hand, rest) = rest.split_once('e')?;
            let (eliminated, territory) = rest.split_once('t')?;
            Some((hand.parse().ok()?, eliminated.parse().ok()?, territory.parse().ok()?))
        };
        let (hand, eliminated, territory) = parts().ok_or_else(|| malformed(expected, section))?;
        self.hand[seat] = hand;
        self.eliminated[seat] = eliminated;
        self.territory[seat] = territory;
        Ok(())
    }

    fn read_cells<'a>(&mut self, sections: &mut impl Iterator<Item = &'a str>) -> Result<(), NotationError> {
        let mut taken = T::Bits::default();
        let mut take = |cell: Cell| {
            let free = !taken.get(cell);
            taken.insert(cell);
            ensure(free, "two things on one cell")
        };
        for item in items::<T>(sections.next(), "S ")? {
            let (cell, rings) = item?;
            take(cell)?;
            if rings.len() > HEIGHT_MAX as usize {
                let (x, y) = T::coordinates(cell);
                return Err(NotationError::TooHigh { height: rings.len(), cell: format!("{x},{y}") });
            }
            let mut stack = Stack::EMPTY;
            for ring in rings.bytes() {
                let seat = self.read_seat(ring).ok_or_else(|| malformed("seats as rings", rings))?;
                stack = stack.pushed(seat);
                self.on_board[usize::from(seat)] += 1;
            }
            ensure(!stack.is_empty(), "a stack without rings")?;
            self.set_stack(cell, stack);
        }
        for title in ["M ", "C "] {
            for item in items::<T>(sections.next(), title)? {
                let (cell, owner) = item?;
                take(cell)?;
                let seat = match owner.as_bytes() {
                    &[digit] => self.read_seat(digit),
                    _ => None,
                };
                let seat = usize::from(seat.ok_or_else(|| malformed("a seat", owner))?);
                let owned = if title == "M " { &mut self.markers } else { &mut self.collapsed };
                owned[seat].insert(cell);
            }
        }
        Ok(())
    }

    fn read_seat(&self, digit: u8) -> Option<u8> {
        let seat = digit.checked_sub(b'1')?;
        (seat < self.seats).then_some(seat)
    }

    /// Reads a seat or 0 for none.
    fn read_optional_seat(&self, text: &str) -> Result<Option<u8>, NotationError> {
        match text.as_bytes() {
            b"0" => Ok(None),
            &[digit] => self.read_seat(digit).map(Some).ok_or_else(|| malformed("a seat or 0", text)),
            _ => Err(malformed("a seat or 0", text)),
        }
    }

    fn read_lps(&mut self, section: &str) -> Result<(), NotationError> {
        let parts = || {
            let rest = section.strip_prefix("L f=")?;
            let (first, rest) = rest.split_once(" m=")?;
            let (seen, rest) = rest.split_once(" x=")?;
            let (alone, rounds) = rest.split_once(" n=")?;
            Some((first, seen, alone, rounds))
        };
        let expected = "L f=<seat> m=<seats> x=<seat> n=<rounds>";
        let (first, seen, alone, rounds) = parts().ok_or_else(|| malformed(expected, section))?;
        self.lps.first = self.read_optional_seat(first)?;
        self.lps.alone = self.read_optional_seat(alone)?;
        self.lps.rounds = number(rounds, "a number of rounds")?;
        for pair in seen.as_bytes().chunks(2) {
            let (seat, real) = match *pair {
                [digit, b'+'] => (self.read_seat(digit), true),
                [digit, b'-'] => (self.read_seat(digit), false),
                _ => (None, false),
            };
            let seat = seat.ok_or_else(|| malformed("seats with + or -", seen))?;
            self.lps.seen |= 1 << seat;
            self.lps.real |= u8::from(real) << seat;
        }
        let idle = self.lps.alone.is_none() && self.lps.rounds > 0;
        ensure(!idle, "rounds of nobody's standing alone")?;
        ensure(self.lps.first.is_some() || self.lps.seen == 0, "seats seen in no round")
    }

    fn check_counters(&self) -> Result<(), NotationError> {
        let supply = T::BOARD.supply();
        for seat in 0..usize::from(self.seats) {
            // Constructed positions may have more rings of a colour on the board than a seat can place.
            // The hand then falls below zero: what is missing from the supply.
            let rings = self.hand[seat];
            if rings > supply as i16 {
                return Err(NotationError::Hand { seat: seat as u8 + 1, rings, supply, board: T::BOARD });
            }
            ensure(rings >= -ELIMINATED_MAX, "a hand with fewer rings than none")?;
            ensure(
                (-ELIMINATED_MAX..=ELIMINATED_MAX).contains(&self.eliminated[seat]),
                "more eliminated rings than any game has",
            )?;
            let cells = self.collapsed[seat].count();
            ensure(u32::from(self.territory[seat]) == cells, "territory that is not the collapsed cells")?;
        }
        Ok(())
    }

    fn read_turn(&mut self, turn: &str) -> Result<(), NotationError> {
        let mut words = turn.split(' ');
        let name = words.next().unwrap_or_default();
        self.phase = Phase::ALL
            .into_iter()
            .find(|phase| phase.as_str() == name && *phase != Phase::Over)
            .ok_or_else(|| malformed("a phase", name))?;
        let seat = words.next().unwrap_or_default();
        self.seat = match seat.strip_prefix("p=").map(str::as_bytes) {
            Some(&[digit]) => self.read_seat(digit),
            _ => None,
        }
        .ok_or_else(|| malformed("p=<seat>", seat))?;
        let mut swap = false;
        for word in words {
            let cell = |text| read_cell::<T>(text).ok_or_else(|| malformed("a cell of the board", text));
            match word.split_once('=') {
                Some(("must", text)) => self.must = cell(text)?,
                Some(("atk", text)) => self.attack = cell(text)?,
                Some(("pend", "1")) => self.due = true,
                Some(("acted", "1")) => self.acted = true,
                Some(("rec", "1")) => self.recovery = true,
                Some(("swap", "1")) => swap = true,
                _ => return Err(malformed("must, atk, pend, acted, rec or swap", word)),
            }
        }
        let opening = self.seat == 0 && self.lps.first.is_none();
        let possible = self.options.swap && self.seats == 2;
        ensure(!swap || possible, "the pie rule on offer although it is off")?;
        self.swap_open = possible && (swap || opening);
        ensure(!swap || self.swap_available(), "the pie rule on offer outside seat 2's placement")
    }

    /// Checks what each phase relies on, and that there is a legal move.
    fn check_turn(&self) -> Result<(), NotationError> {
        let own = |cell: Cell| cell == NONE_CELL || self.controlled[self.me()].get(cell);
        let attacking = matches!(self.phase, Phase::Capture | Phase::Chain);
        let paying = matches!(self.phase, Phase::Line | Phase::Territory);
        ensure(self.must == NONE_CELL || self.phase == Phase::Move, "must outside phase move")?;
        ensure(attacking == (self.attack != NONE_CELL), "atk belongs to the phases capture and chain")?;
        ensure(own(self.must) && own(self.attack), "must or atk names no stack of the seat to move")?;
        ensure(!self.due || paying, "a payment due outside the phases line and territory")?;
        ensure(!self.due || self.acted, "a payment due in an idle turn")?;
        ensure(!self.recovery || self.acted, "a recovery in an idle turn")?;
        ensure(!attacking || self.acted, "an attack in an idle turn")?;
        ensure(self.must == NONE_CELL || self.acted, "a placement in an idle turn")?;
        ensure(
            self.phase != Phase::Forced || !self.acted,
            "a forced elimination in a turn that is not idle",
        )?;
        ensure(
            self.phase != Phase::Place || !(self.acted || self.recovery),
            "a turn that has begun in phase place",
        )?;
        ensure((0..SEATS_MAX as u8).any(|seat| self.present(seat)), "no rings at all")?;
        let mut legal = Vec::new();
        self.legal(&mut legal);
        ensure(!legal.is_empty(), "no legal move although the game goes on")
    }

    fn check_canonical(&self, text: &str) -> Result<(), NotationError> {
        let printed = self.to_string();
        if printed == text {
            return Ok(());
        }
        let same = printed.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
        let rest = |text: &str| String::from_utf8_lossy(&text.as_bytes()[same..]).chars().take(30).collect();
        Err(NotationError::NotCanonical { found: rest(text), printed: rest(&printed) })
    }
}

fn read_result(turn: &str, seats: u8) -> Result<(u8, Reason), NotationError> {
    let parts = || {
        let (winner, reason) = turn.strip_prefix("over w=")?.split_once(" r=")?;
        let winner = winner.parse::<u8>().ok()?.checked_sub(1)?;
        let reason = Reason::ALL.into_iter().find(|known| known.as_str() == reason)?;
        (winner < seats).then_some((winner, reason))
    };
    parts().ok_or_else(|| malformed("over w=<seat> r=<reason>", turn))
}
