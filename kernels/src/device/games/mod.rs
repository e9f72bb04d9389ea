//! Games on a device: positions packed for `cuda/rules/state.cuh`, and the launches of `cuda/legal.cu` and
//! `cuda/playout.cu`.

pub(crate) mod playouts;
pub(crate) mod wave;
pub(crate) mod wave_games;

use crate::device::array::Array;
use crate::device::ops::Call;
use crate::device::{Device, KernelName};
use crate::error::DeviceError;
use rules::{Bits, Board, Cell, NONE_CELL, Phase, Reason, SEATS_MAX, State, Topology};

/// What lists legal moves, by board; see [`of_board`].
pub(crate) const LEGAL: [KernelName; 4] =
    ["legal_hex8", "legal_square8", "legal_square19", "legal_hexagonal"];
/// What plays a move, by board.
pub(crate) const APPLY: [KernelName; 4] =
    ["apply_hex8", "apply_square8", "apply_square19", "apply_hexagonal"];
/// What plays random games, by board.
pub(crate) const PLAYOUT: [KernelName; 4] =
    ["playout_hex8", "playout_square8", "playout_square19", "playout_hexagonal"];
/// What plays games with the search, by board.
pub(crate) const WAVE: [KernelName; 4] = ["wave_hex8", "wave_square8", "wave_square19", "wave_hexagonal"];

/// Games of a block: one a warp.
const WARPS: usize = 4;
/// Blocks of a launch at most; their warps take more games one after the other.
pub(crate) const BLOCKS_MAX: usize = 1 << 14;
/// Words before the sets of cells.
const COUNTERS: usize = 44;
/// Words that a playout leaves of each game.
pub(crate) const RESULT: usize = 4;

/// Rows of a board, which are also its most columns.
fn rows<T: Topology>() -> usize {
    let (low, high) = (T::coordinates(0).0, T::coordinates(T::CELLS as Cell - 1).0);
    usize::from(high.abs_diff(low)) + 1
}

/// Words of a packed position.
pub(crate) fn words<T: Topology>() -> usize {
    COUNTERS + 3 * SEATS_MAX * rows::<T>() + 2 * T::CELLS
}

/// Shared memory of a warp: what `Table<B>` takes.
pub(crate) fn table_bytes<T: Topology>() -> usize {
    let scratch = 2 * 4 * (rows::<T>() + 2) + 2 * 2 * T::CELLS;
    (4 * words::<T>() + scratch).next_multiple_of(8)
}

/// Appends a position as `Game<B>` has it.
pub(crate) fn pack<T: Topology>(state: &State<T>, out: &mut Vec<u32>) {
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
        let stack = crate::encoding::packed::packed_stack(state, cell);
        out.extend([stack as u32, (stack >> 32) as u32]);
    }
    debug_assert_eq!(out.len() - start, words::<T>());
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

/// Picks a kernel by board: hex8, square8, square19, hexagonal.
pub(crate) fn of_board(board: Board, kernels: [KernelName; 4]) -> KernelName {
    let [hex8, square8, square19, hexagonal] = kernels;
    match board {
        Board::Hex8 => hex8,
        Board::Square8 => square8,
        Board::Square19 => square19,
        Board::Hexagonal => hexagonal,
    }
}

/// From where and how random games are played.
pub(crate) struct Playouts<'a, D: Device> {
    /// Packed positions; game i starts from the (i % `start_count`)-th.
    pub(crate) starts: &'a Array<D, u32>,
    pub(crate) start_count: usize,
    pub(crate) games: usize,
    pub(crate) seed: u64,
    /// Number of the first game, for its choices.
    pub(crate) first: u32,
    /// A game that goes on after so many steps is left unfinished.
    pub(crate) steps_max: u32,
}

/// Launches the rules on a device.
pub(crate) struct Rules<'a, D: Device>(pub(crate) &'a D);

impl<D: Device> Rules<'_, D> {
    fn run<T: Topology>(&self, call: Call, games: usize) -> Result<(), DeviceError> {
        let blocks = games.div_ceil(WARPS).min(BLOCKS_MAX);
        call.int(blocks).launch(self.0, (blocks, 1), 32 * WARPS as u32, WARPS * table_bytes::<T>())
    }

    /// Lists the legal moves of packed positions: `codes` has `room` for each, `numbers` says how many there are.
    pub(crate) fn legal<T: Topology>(
        &self,
        games: &Array<D, u32>,
        codes: &Array<D, u32>,
        numbers: &Array<D, u32>,
        (count, room): (usize, usize),
    ) -> Result<(), DeviceError> {
        let call = Call::new(of_board(T::BOARD, LEGAL))
            .array(games, count * words::<T>())
            .array(codes, count * room)
            .array(numbers, count)
            .int(count)
            .int(room);
        self.run::<T>(call, count)
    }

    /// Plays a legal move in each of so many packed positions.
    pub(crate) fn apply<T: Topology>(
        &self,
        games: &Array<D, u32>,
        codes: &Array<D, u32>,
        count: usize,
    ) -> Result<(), DeviceError> {
        let call = Call::new(of_board(T::BOARD, APPLY))
            .array(games, count * words::<T>())
            .array(codes, count)
            .int(count);
        self.run::<T>(call, count)
    }

    /// Plays random games: `results` has [`RESULT`] words of each, `ends` the packed positions they ended in.
    pub(crate) fn playouts<T: Topology>(
        &self,
        playouts: &Playouts<'_, D>,
        results: &Array<D, u32>,
        ends: Option<&Array<D, u32>>,
    ) -> Result<(), DeviceError> {
        assert!(playouts.start_count > 0, "games start somewhere");
        let call = Call::new(of_board(T::BOARD, PLAYOUT))
            .array(playouts.starts, playouts.start_count * words::<T>())
            .int(playouts.start_count)
            .array(results, playouts.games * RESULT)
            .optional(ends, playouts.games * words::<T>())
            .int(playouts.games)
            .word(playouts.seed as u32)
            .word((playouts.seed >> 32) as u32)
            .word(playouts.first)
            .word(playouts.steps_max.min(i32::MAX as u32));
        self.run::<T>(call, playouts.games)
    }
}
