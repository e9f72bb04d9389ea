//! Positions and moves as text (docs/rules.md, sections 15 and 16). This file prints both and reads moves;
//! `parse` reads positions.
//!
//! Invariant: only what would be printed is read, so one position has one text, and so has one move.

use std::fmt::{self, Write};

use crate::bits::Bits;
use crate::board::Cell;
use crate::lines::set_of;
use crate::moves::{Move, MoveKind};
use crate::phase::Phase;
use crate::state::State;
use crate::topology::Topology;

/// Prints a cell as `x,y`.
struct At<T>(Cell, T);

impl<T: Topology> fmt::Display for At<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (x, y) = T::coordinates(self.0);
        push_number(f, x)?;
        f.write_char(',')?;
        push_number(f, y)
    }
}

/// Prints a coordinate without the general formatting of integers, because a check of the recorded games
/// prints hundreds of millions.
fn push_number(f: &mut fmt::Formatter<'_>, number: i8) -> fmt::Result {
    if number < 0 {
        f.write_char('-')?;
    }
    let digits = number.unsigned_abs();
    if digits >= 10 {
        f.write_char(char::from(b'0' + digits / 10))?;
    }
    f.write_char(char::from(b'0' + digits % 10))
}

fn at<T: Topology>(cell: Cell) -> At<T> {
    At(cell, T::default())
}

/// A seat as it is printed: counted from 1, and 0 for none.
fn seat_number(seat: Option<u8>) -> u8 {
    seat.map_or(0, |seat| seat + 1)
}

impl<T: Topology> fmt::Display for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outcome) = self.outcome {
            write!(f, "over w={} r={}", outcome.winner + 1, outcome.reason.as_str())?;
        } else {
            self.print_turn(f)?;
        }
        for seat in 0..usize::from(self.seats) {
            write!(f, "|h{}e{}t{}", self.hand[seat], self.eliminated[seat], self.territory[seat])?;
        }
        f.write_str("|S ")?;
        for (i, cell) in self.occupied.cells().enumerate() {
            write!(f, "{}{}:", separator(i), at::<T>(cell))?;
            for ring in self.stack(cell).rings() {
                f.write_char(char::from(b'1' + ring))?;
            }
        }
        self.print_owned(f, "|M ", &self.markers)?;
        self.print_owned(f, "|C ", &self.collapsed)?;
        if self.phase == Phase::Over {
            return Ok(());
        }
        let lps = self.lps;
        write!(f, "|L f={} m=", seat_number(lps.first))?;
        for seat in self.seat_range().filter(|seat| lps.seen >> seat & 1 != 0) {
            write!(f, "{}{}", seat + 1, if lps.real >> seat & 1 != 0 { '+' } else { '-' })?;
        }
        write!(f, " x={} n={}", seat_number(lps.alone), lps.rounds)
    }
}

fn separator(index: usize) -> &'static str {
    if index == 0 { "" } else { " " }
}

impl<T: Topology> State<T> {
    fn print_turn(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} p={}", self.phase.as_str(), self.seat + 1)?;
        if let Some(cell) = self.must_cell() {
            write!(f, " must={}", at::<T>(cell))?;
        }
        if let Some(cell) = self.attack_cell() {
            write!(f, " atk={}", at::<T>(cell))?;
        }
        let flags = [
            (self.due, " pend=1"),
            (self.acted && self.phase != Phase::Place, " acted=1"),
            (self.recovery && self.phase != Phase::Place, " rec=1"),
            (self.swap_available(), " swap=1"),
        ];
        flags.into_iter().filter(|flag| flag.0).try_for_each(|flag| f.write_str(flag.1))
    }

    fn print_owned(&self, f: &mut fmt::Formatter<'_>, title: &str, owned: &[T::Bits; 4]) -> fmt::Result {
        f.write_str(title)?;
        let all = owned[0] | owned[1] | owned[2] | owned[3];
        for (i, cell) in all.cells().enumerate() {
            let owner = owned.iter().position(|bits| bits.get(cell)).map(|seat| seat as u8);
            write!(f, "{}{}:{}", separator(i), at::<T>(cell), seat_number(owner))?;
        }
        Ok(())
    }

    /// The move as text; `?` if it has cells that this board does not have.
    pub fn move_text(&self, mv: Move) -> String {
        let mut text = String::new();
        self.write_move(&mut text, mv);
        text
    }

    /// Appends the move's text, without allocating if `out` has room.
    pub fn write_move(&self, out: &mut String, mv: Move) {
        if !mv.fits(T::CELLS) {
            out.push('?');
            return;
        }
        MovePrinter { state: self, mv, out }.print().expect("a string takes everything");
    }

    /// Reads a move in this position. The move is well formed but need not be legal; [`State::try_apply`]
    /// tells.
    ///
    /// # Errors
    /// [`MoveError`] if the text is no move, or names a region or stretch that this position does not have.
    pub fn parse_move(&self, text: &str) -> Result<Move, MoveError> {
        let malformed = || MoveError::Malformed { text: text.chars().take(60).collect() };
        let mv = self.read_move(text)?.ok_or_else(malformed)?;
        if self.move_text(mv) == text { Ok(mv) } else { Err(malformed()) }
    }

    fn read_move(&self, text: &str) -> Result<Option<Move>, MoveError> {
        if text.len() > MOVE_TEXT_MAX {
            return Err(MoveError::TooLong { bytes: text.len() });
        }
        let bare = MoveKind::ALL.into_iter().find(|&kind| BARE.contains(&(kind, text)));
        if let Some(kind) = bare {
            return Ok(Some(Move::bare(kind)));
        }
        let Some((name, rest)) = text.split_once(':') else {
            return Ok(None);
        };
        Ok(match name {
            "P" => rest.split_once('*').and_then(|(cell, count)| {
                let kind = match count {
                    "1" => MoveKind::Place1,
                    "2" => MoveKind::Place2,
                    "3" => MoveKind::Place3,
                    _ => return None,
                };
                Some(Move::at(kind, read_cell::<T>(cell)?))
            }),
            "M" => read_pair::<T>(rest, '>').map(|(from, to)| Move::pair(MoveKind::Move, from, to)),
            "C" => read_capture::<T>(MoveKind::Capture, rest),
            "K" => read_capture::<T>(MoveKind::Chain, rest),
            "R1" => read_slide::<T>(MoveKind::RecoverLine, rest),
            "RF" => read_slide::<T>(MoveKind::RecoverFallback, rest),
            "RS" => read_slide::<T>(MoveKind::RecoverStrike, rest),
            "R2" => match rest.split_once('[').and_then(|(pair, _)| read_pair::<T>(pair, '>')) {
                Some((from, to)) => {
                    let mv = Move::pair(MoveKind::RecoverStretch, from, to);
                    if self.stretch_named(mv).is_empty() {
                        return Err(MoveError::NoStretch);
                    }
                    Some(mv)
                }
                None => None,
            },
            "L" => read_ends::<T>(rest).map(|(from, to)| Move::pair(MoveKind::Line, from, to)),
            "O" => rest.split_once('=').and_then(|(line, part)| {
                let (from, to) = read_ends::<T>(line)?;
                if part == "all" {
                    return Some(Move::pair(MoveKind::LineAll, from, to));
                }
                let (first, _) = read_ends::<T>(part)?;
                Some(Move::triple(MoveKind::LineStretch, from, to, first))
            }),
            "EL" => read_cell::<T>(rest).map(|cell| Move::at(MoveKind::PayLine, cell)),
            "ET" => read_cell::<T>(rest).map(|cell| Move::at(MoveKind::PayTerritory, cell)),
            "ER" => read_cell::<T>(rest).map(|cell| Move::at(MoveKind::PayRecovery, cell)),
            "F" => read_cell::<T>(rest).map(|cell| Move::at(MoveKind::Forced, cell)),
            "T" => match rest.split(';').map(read_cell::<T>).collect::<Option<Vec<_>>>() {
                Some(cells) => Some(self.claim_of(set_of::<T>(&cells)).ok_or(MoveError::NoRegion)?),
                None => None,
            },
            _ => None,
        })
    }
}

/// Prints one move of a position.
struct MovePrinter<'a, T: Topology> {
    state: &'a State<T>,
    mv: Move,
    out: &'a mut String,
}

impl<T: Topology> MovePrinter<'_, T> {
    fn print(&mut self) -> fmt::Result {
        match self.mv.kind() {
            MoveKind::Place1 | MoveKind::Place2 | MoveKind::Place3 => {
                self.single("P")?;
                self.out.push_str(["*1", "*2", "*3"][self.mv.kind().placed() as usize - 1]);
                Ok(())
            }
            MoveKind::SkipPlacement => self.out.write_str("SP"),
            MoveKind::NoPlacement => self.out.write_str("NP"),
            MoveKind::Swap => self.out.write_str("SW"),
            MoveKind::Move => self.pair("M", '>'),
            MoveKind::Capture => self.capture("C"),
            MoveKind::SkipCapture => self.out.write_str("SC"),
            MoveKind::Chain => self.capture("K"),
            MoveKind::RecoverLine => self.slide("R1"),
            MoveKind::RecoverStretch => {
                self.pair("R2", '>')?;
                self.out.push('[');
                self.cells(self.state.stretch_named(self.mv))?;
                self.out.push(']');
                Ok(())
            }
            MoveKind::RecoverFallback => self.slide("RF"),
            MoveKind::RecoverStrike => self.slide("RS"),
            MoveKind::SkipRecovery => self.out.write_str("SR"),
            MoveKind::NoMovement => self.out.write_str("NM"),
            MoveKind::Line => self.pair("L", '-'),
            MoveKind::LineAll => {
                self.pair("O", '-')?;
                self.out.write_str("=all")
            }
            MoveKind::LineStretch => {
                self.pair("O", '-')?;
                let last = self.state.line_cells(self.mv).cells().last().unwrap_or(self.mv.aux());
                write!(self.out, "={}-{}", at::<T>(self.mv.aux()), at::<T>(last))
            }
            MoveKind::PayLine => self.single("EL"),
            MoveKind::NoLine => self.out.write_str("NL"),
            MoveKind::Territory => {
                self.out.push_str("T:");
                self.cells(self.state.region(self.mv))
            }
            MoveKind::PayTerritory => self.single("ET"),
            MoveKind::PayRecovery => self.single("ER"),
            MoveKind::SkipTerritory => self.out.write_str("ST"),
            MoveKind::NoTerritory => self.out.write_str("NT"),
            MoveKind::Forced => self.single("F"),
        }
    }

    fn single(&mut self, name: &str) -> fmt::Result {
        write!(self.out, "{name}:{}", at::<T>(self.mv.from()))
    }

    fn pair(&mut self, name: &str, sign: char) -> fmt::Result {
        write!(self.out, "{name}:{}{sign}{}", at::<T>(self.mv.from()), at::<T>(self.mv.to()))
    }

    fn slide(&mut self, name: &str) -> fmt::Result {
        let (from, to) = (at::<T>(self.mv.from()), at::<T>(self.mv.to()));
        write!(self.out, "{name}:{from}>{to}@{}", at::<T>(self.mv.aux()))
    }

    fn capture(&mut self, name: &str) -> fmt::Result {
        let (from, target) = (at::<T>(self.mv.from()), at::<T>(self.mv.aux()));
        write!(self.out, "{name}:{from}>{target}>{}", at::<T>(self.mv.to()))
    }

    fn cells(&mut self, cells: T::Bits) -> fmt::Result {
        for (i, cell) in cells.cells().enumerate() {
            if i > 0 {
                self.out.push(';');
            }
            write!(self.out, "{}", at::<T>(cell))?;
        }
        Ok(())
    }
}

/// The longest move text: a region of all cells of the largest board stays well below it.
const MOVE_TEXT_MAX: usize = 8 * 1024;

/// The moves whose text is their name alone.
const BARE: [(MoveKind, &str); 9] = [
    (MoveKind::SkipPlacement, "SP"),
    (MoveKind::NoPlacement, "NP"),
    (MoveKind::Swap, "SW"),
    (MoveKind::SkipCapture, "SC"),
    (MoveKind::SkipRecovery, "SR"),
    (MoveKind::NoMovement, "NM"),
    (MoveKind::NoLine, "NL"),
    (MoveKind::SkipTerritory, "ST"),
    (MoveKind::NoTerritory, "NT"),
];

/// Why a text is not a move of the position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// The text does not follow the notation, or names a cell that the board does not have.
    #[error("not a move: {text:?}")]
    Malformed {
        /// The first 60 characters of the text.
        text: String,
    },
    /// The text is longer than that of any move.
    #[error("a move text of {bytes} bytes")]
    TooLong {
        /// The length of the text.
        bytes: usize,
    },
    /// The cells are no region that the seat to move may claim.
    #[error("these cells are no region that may be claimed")]
    NoRegion,
    /// The slide forms no line that is longer than L.
    #[error("this slide collapses no stretch")]
    NoStretch,
}

/// Reads `x,y`.
pub(crate) fn read_cell<T: Topology>(text: &str) -> Option<Cell> {
    let (x, y) = text.split_once(',')?;
    T::cell(x.parse().ok()?, y.parse().ok()?)
}

fn read_pair<T: Topology>(text: &str, sign: char) -> Option<(Cell, Cell)> {
    let (from, to) = text.split_once(sign)?;
    Some((read_cell::<T>(from)?, read_cell::<T>(to)?))
}

/// Reads `a-b`, where the coordinates may have signs of their own.
fn read_ends<T: Topology>(text: &str) -> Option<(Cell, Cell)> {
    text.match_indices('-').find_map(|(at, _)| {
        let (from, to) = (&text[..at], &text[at + 1..]);
        Some((read_cell::<T>(from)?, read_cell::<T>(to)?))
    })
}

fn read_capture<T: Topology>(kind: MoveKind, text: &str) -> Option<Move> {
    let (from, rest) = text.split_once('>')?;
    let (target, to) = read_pair::<T>(rest, '>')?;
    Some(Move::triple(kind, read_cell::<T>(from)?, to, target))
}

fn read_slide<T: Topology>(kind: MoveKind, text: &str) -> Option<Move> {
    let (pair, payer) = text.split_once('@')?;
    let (from, to) = read_pair::<T>(pair, '>')?;
    Some(Move::triple(kind, from, to, read_cell::<T>(payer)?))
}
