//! Positions as a device takes them: packed, to be expanded there. See `cuda/expand.cu` and `cuda/policy.cu`.

use crate::encoding::action::{Action, Actions, KINDS, reads};
use crate::encoding::planes::{flags, phase_index};
use crate::encoding::target::normalised;
use rules::{Board, Cell, Move, MoveKind, NONE_CELL, State, Topology};

/// 16-bit numbers of the header of a position.
pub(crate) const HEADER: usize = 32;
/// 32-bit words that describe a legal move.
pub(crate) const ACTION_WORDS: usize = 4;
/// Bytes that say what the policy head reads for a kind of move.
pub(crate) const READS: usize = 6;

/// Packed positions of one board, with their legal moves. Reused: clearing keeps the memory.
///
/// Kernels trust these: cells are of the board or [`NONE_CELL`] where a kind reads none, kinds and rays are
/// within their tables, further cells within `many`, ends rise, targets name legal moves, and winners sit at
/// the table.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    pub(crate) board: Board,
    pub(crate) stacks: Vec<u64>,
    pub(crate) ground: Vec<u8>,
    pub(crate) headers: Vec<u16>,
    pub(crate) seats: Vec<u8>,
    pub(crate) movers: Vec<u8>,
    pub(crate) actions: Vec<u32>,
    /// Where each position's actions end.
    pub(crate) ends: Vec<u32>,
    /// Cells of lines and regions.
    pub(crate) many: Vec<u16>,
    /// The seat that won, counted from the mover; of all positions, or of none.
    pub(crate) winners: Vec<u8>,
    pub(crate) target_index: Vec<u32>,
    pub(crate) target_weight: Vec<f32>,
    pub(crate) target_ends: Vec<u32>,
    described: Actions,
}

impl Positions {
    /// An empty batch for a board.
    pub(crate) fn new(board: Board) -> Self {
        Self {
            board,
            stacks: Vec::new(),
            ground: Vec::new(),
            headers: Vec::new(),
            seats: Vec::new(),
            movers: Vec::new(),
            actions: Vec::new(),
            ends: Vec::new(),
            many: Vec::new(),
            winners: Vec::new(),
            target_index: Vec::new(),
            target_weight: Vec::new(),
            target_ends: Vec::new(),
            described: Actions::default(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.stacks.clear();
        self.ground.clear();
        self.headers.clear();
        self.seats.clear();
        self.movers.clear();
        self.actions.clear();
        self.ends.clear();
        self.many.clear();
        self.winners.clear();
        self.target_index.clear();
        self.target_weight.clear();
        self.target_ends.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Number of legal moves of all positions.
    pub(crate) fn moves(&self) -> usize {
        self.actions.len() / ACTION_WORDS
    }

    /// Adds a position.
    ///
    /// # Panics
    /// For a position of another board.
    pub(crate) fn push<T: Topology>(&mut self, state: &State<T>, legal: &[Move]) {
        assert_eq!(T::BOARD, self.board, "positions have one board");
        for cell in 0..T::CELLS as Cell {
            self.stacks.push(packed_stack(state, cell));
            let marker = state.marker(cell).map(|seat| 1 + seat);
            let ground = marker.or_else(|| state.collapsed(cell).map(|seat| 5 + seat));
            self.ground.push(ground.unwrap_or(0));
        }
        self.headers.extend(header(state));
        self.seats.push(state.seats());
        self.movers.push(state.seat());
        self.described.clear();
        self.described.push(state, legal);
        let before = self.many.len() as u32;
        self.many.extend(&self.described.cells);
        self.actions.extend(self.described.actions.iter().flat_map(|action| words(action, before)));
        self.ends.push(self.moves() as u32);
    }

    /// Adds the target of the position that was pushed last, which has `legal` moves: its policy, and the
    /// seat that won, counted from the mover.
    pub(crate) fn push_target(&mut self, legal: usize, policy: &[(u16, f32)], winner: u8) {
        self.winners.push(winner);
        for (index, weight) in normalised(policy, legal) {
            self.target_index.push(u32::from(index));
            self.target_weight.push(weight);
        }
        self.target_ends.push(self.target_index.len() as u32);
        assert_eq!(self.winners.len(), self.len(), "all positions have targets, or none");
    }

    /// Number of positions with a policy target.
    pub(crate) fn policies(&self) -> usize {
        let starts = std::iter::once(&0).chain(&self.target_ends);
        starts.zip(&self.target_ends).filter(|(start, end)| start < end).count()
    }
}

/// A stack as one word: two bits for each ring from the bottom, the height from bit 58 on.
pub(crate) fn packed_stack<T: Topology>(state: &State<T>, cell: Cell) -> u64 {
    let stack = state.stack(cell);
    let height = stack.height();
    (0..height).fold(u64::from(height) << 58, |word, i| word | u64::from(stack.ring(i)) << (2 * i))
}

pub(crate) fn header<T: Topology>(state: &State<T>) -> [u16; HEADER] {
    let (config, lps) = (state.config(), state.lps());
    let mut header = [0; HEADER];
    header[0] = u16::from(state.seats());
    header[1] = u16::from(state.seat());
    header[2] = phase_index(state.phase()) as u16;
    header[3] = state.must_cell().unwrap_or(NONE_CELL);
    header[4] = state.attack_cell().unwrap_or(NONE_CELL);
    header[5] = flags(state).into_iter().enumerate().map(|(i, flag)| u16::from(flag) << i).sum();
    header[6] = lps.alone.map_or(0, |seat| u16::from(seat) + 1);
    header[7] = lps.rounds;
    for seat in 0..state.seats() {
        let at = usize::from(seat);
        header[8 + at] = state.hand(seat);
        header[12 + at] = state.eliminated(seat);
        header[16 + at] = state.territory(seat);
    }
    header[20] = T::BOARD.supply();
    header[21] = config.elimination_threshold();
    header[22] = config.territory_minimum();
    header[23] = u16::from(config.line_length() == 3);
    header
}

pub(crate) fn words(action: &Action, many_before: u32) -> [u32; ACTION_WORDS] {
    let pair = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
    let [from, to, aux] = action.cells;
    let (start, end) = action.many;
    [
        pair(action.kind as u16, action.ray),
        pair(from, to),
        pair(aux, (end - start) as u16),
        many_before + start,
    ]
}

/// What each kind of move reads, `[KINDS, READS]`.
pub(crate) fn reads_table() -> [u8; KINDS * READS] {
    let mut table = [0; KINDS * READS];
    for (kind, row) in MoveKind::ALL.into_iter().zip(table.chunks_exact_mut(READS)) {
        let reads = reads(kind);
        let [a, b, c] = reads.planes;
        row.copy_from_slice(&[reads.pair, a, b, c, reads.mean, reads.sum]);
    }
    table
}
