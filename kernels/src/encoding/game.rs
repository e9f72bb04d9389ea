//! A game as the rules on a device have it: a position packed word by word, for `cuda/rules/state.cuh`.

use super::packed::packed_stack;
use rules::{Bits, Cell, NONE_CELL, Phase, Reason, SEATS_MAX, State, Topology};

/// Words before the sets of cells.
const COUNTERS: usize = 44;

/// Rows of a board, which are also its most columns.
fn rows<T: Topology>() -> usize {
    let (low, high) = (T::coordinates(0).0, T::coordinates(T::CELLS as Cell - 1).0);
    usize::from(high.abs_diff(low)) + 1
}

/// Words of a packed position.
pub(crate) fn game_words<T: Topology>() -> usize {
    COUNTERS + 3 * SEATS_MAX * rows::<T>() + 2 * T::CELLS
}

/// Shared memory of a warp: what `Table<B>` takes.
pub(crate) fn table_bytes<T: Topology>() -> usize {
    let scratch = 2 * 4 * (rows::<T>() + 2) + 2 * 2 * T::CELLS;
    (4 * game_words::<T>() + scratch).next_multiple_of(8)
}

/// Appends a position as `Game<B>` has it.
pub(crate) fn pack_game<T: Topology>(state: &State<T>, out: &mut Vec<u32>) {
    let start = out.len();
    pack_counters(state, out);
    debug_assert_eq!(out.len() - start, COUNTERS);
    for seat in 0..SEATS_MAX as u8 {
        pack_set::<T>(state.controlled_bits(seat), out);
    }
    for seat in 0..SEATS_MAX as u8 {
        pack_set::<T>(state.marker_bits(seat), out);
    }
    for seat in 0..SEATS_MAX as u8 {
        pack_set::<T>(state.collapsed_bits(seat), out);
    }
    for cell in 0..T::CELLS as Cell {
        let stack = packed_stack(state, cell);
        out.extend([stack as u32, (stack >> 32) as u32]);
    }
    debug_assert_eq!(out.len() - start, game_words::<T>());
}

fn pack_counters<T: Topology>(state: &State<T>, out: &mut Vec<u32>) {
    let seats = 0..SEATS_MAX as u8;
    let signed = |number: i16| i32::from(number) as u32;
    let seat = |seat: Option<u8>| seat.map_or(u32::MAX, u32::from);
    let cell = |cell: Option<Cell>| u32::from(cell.unwrap_or(NONE_CELL));
    let (lps, outcome, options) = (state.lps(), state.outcome(), state.options());
    out.extend(seats.clone().map(|seat| signed(state.ledger(seat).hand)));
    out.extend(seats.clone().map(|seat| signed(state.ledger(seat).eliminated)));
    out.extend(seats.clone().map(|seat| u32::from(state.on_board(seat))));
    out.extend(seats.clone().map(|seat| u32::from(state.territory(seat))));
    out.extend(seats.map(|seat| state.ledger(seat).lost_at.unwrap_or(u32::MAX)));
    out.extend([
        state.ply(),
        u32::from(state.seats()),
        u32::from(options.victory == rules::Victory::TurnEnd),
        u32::from(state.seat()),
        Phase::ALL.iter().position(|&phase| phase == state.phase()).unwrap_or(0) as u32,
        cell(state.must_cell()),
        cell(state.attack_cell()),
        u32::from(state.payment_due()),
        u32::from(state.acted()),
        u32::from(state.recovery_turn()),
        u32::from(state.swap_open()),
        u32::from(state.swapped()),
        seat(lps.first),
        u32::from(lps.seen),
        u32::from(lps.real),
        seat(lps.alone),
        u32::from(lps.rounds),
        outcome.map_or(0, |outcome| u32::from(outcome.winner)),
        outcome.map_or(0, |outcome| reason_index(outcome.reason)),
    ]);
    out.extend(outcome.map_or([0; SEATS_MAX], |outcome| outcome.ranks.map(u32::from)));
    out.push(0);
}

/// A set of cells as a word a row.
fn pack_set<T: Topology>(set: T::Bits, out: &mut Vec<u32>) {
    let (at, low) = (out.len(), T::coordinates(0).0);
    out.resize(at + rows::<T>(), 0);
    for cell in set.cells() {
        let (x, y) = T::coordinates(cell);
        out[at + usize::from(x.abs_diff(low))] |= 1 << y.abs_diff(low);
    }
}

/// The device's number of a reason.
pub(crate) fn reason_index(reason: Reason) -> u32 {
    Reason::ALL.iter().position(|&known| known == reason).unwrap_or(0) as u32
}
