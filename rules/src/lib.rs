//! The game RingRift: position, legal moves, outcome, notation.
//!
//! ```text
//!  text       notation   parse   trace            moves and positions as text; recorded games
//!                 |        |       |
//!  a step        turn ── outcome   playout        list, play, go on; who has won; random games
//!                 |
//!  a phase   movement  recovery  lines  territory what each phase lists and does
//!                 |
//!  position   state   phase   moves   symmetry    a position without heap; a move in eight bytes
//!                 |
//!  geometry  board  topology  bits  grid  stack   numbers of a board, rays, sets of cells, rings on a cell
//! ```
//!
//! Each row builds on the rows below it. [`State`] is one type; its methods stand with the phase that they
//! serve. The one arrow upward is that a refused move is printed.
//!
//! Reading order: `docs/rules.md` says what is played and numbers the findings that the code cites. Then read
//! `board`, `state` and `turn`, one phase (say `movement`), and the rest when you need it.
//!
//! Invariant: the crate is pure. It has no unsafe code, reads no clock (except [`playout::random_games`],
//! which measures), and while it plays it uses no heap beyond the caller's list of moves. A position is a
//! [`State`] of a board that is given as a type; [`with_board!`] goes from a [`Board`] value to that type.
//!
//! ```
//! use rules::{Hex8, Options, State};
//!
//! let mut state = State::<Hex8>::new(2, Options::default());
//! let mut legal = Vec::new();
//! while state.outcome().is_none() {
//!     state.legal(&mut legal);
//!     state.apply(legal[legal.len() / 2]);
//! }
//! ```

mod bits;
mod board;
mod grid;
mod lines;
mod movement;
mod moves;
mod notation;
mod outcome;
mod parse;
mod phase;
pub mod playout;
mod recovery;
mod stack;
mod state;
mod symmetry;
mod territory;
mod topology;
pub mod trace;
mod turn;

pub use bits::{Bitboard, Bits, Cells};
pub use board::{Board, Cell, Config, ConfigError, NONE_CELL, Options, SEATS_MAX, Victory};
pub use moves::{Move, MoveKind};
pub use notation::MoveError;
pub use outcome::{Outcome, Reason};
pub use parse::NotationError;
pub use phase::Phase;
pub use stack::{HEIGHT_MAX, Stack};
pub use state::{Ledger, Lps, State};
pub use symmetry::Symmetry;
pub use topology::{Hex8, Hexagonal, Square8, Square19, Tables, Topology};
pub use turn::IllegalMove;

/// This number changes whenever the same moves would lead to another game. Models and records carry it.
pub const RULES_VERSION: u32 = 1;

/// Evaluates an expression with a type parameter bound to the [`Topology`] of a [`Board`] value.
///
/// ```
/// use rules::{Board, Topology, with_board};
///
/// let board: Board = "hex8".parse()?;
/// assert_eq!(with_board!(board, T => T::CELLS), 61);
/// # Ok::<(), rules::ConfigError>(())
/// ```
#[macro_export]
macro_rules! with_board {
    ($board:expr, $t:ident => $body:expr) => {
        match $board {
            $crate::Board::Square8 => {
                type $t = $crate::Square8;
                $body
            }
            $crate::Board::Square19 => {
                type $t = $crate::Square19;
                $body
            }
            $crate::Board::Hex8 => {
                type $t = $crate::Hex8;
                $body
            }
            $crate::Board::Hexagonal => {
                type $t = $crate::Hexagonal;
                $body
            }
        }
    };
}
