//! The rules on a device: legal moves, single moves and random games;
//! see `cuda/legal.cu` and `cuda/playout.cu`.

use super::Ops;
use super::call::Call;
use crate::device::Device;
use crate::device::array::Array;
use crate::device::kernel::kernels;
use crate::encoding::game::{game_words, table_bytes};
use crate::error::DeviceError;
use rules::Topology;

kernels! {
    LEGAL = Boards("legal");
    APPLY = Boards("apply");
    PLAYOUT = Boards("playout");
}

/// Games of a block: one a warp.
const WARPS: usize = 4;
/// The most blocks of a launch; their warps take more games one after the other.
pub(super) const BLOCKS_MAX: usize = 1 << 14;
/// Words that a random game leaves.
pub(crate) const RESULT: usize = 4;
/// Why a launch has no cost: what a game takes shows only when it is played.
pub(super) const PLAYED: &str = "games are predicted by their steps";

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

impl<D: Device> Ops<'_, D> {
    fn play<T: Topology>(&self, call: Call, games: usize) -> Result<(), DeviceError> {
        let blocks = games.div_ceil(WARPS).min(BLOCKS_MAX);
        let shared = WARPS * table_bytes::<T>();
        call.int(blocks).uncounted(PLAYED).launch(self.0, (blocks, 1), 32 * WARPS as u32, shared)
    }

    /// Lists the legal moves of packed positions: `codes` has `room` for
    /// each, `numbers` says how many there are.
    pub(crate) fn legal<T: Topology>(
        &self,
        games: &Array<D, u32>,
        codes: &Array<D, u32>,
        numbers: &Array<D, u32>,
        (count, room): (usize, usize),
    ) -> Result<(), DeviceError> {
        let call = Call::new(LEGAL.of(T::BOARD))
            .array(games, count * game_words::<T>())
            .array(codes, count * room)
            .array(numbers, count)
            .int(count)
            .int(room);
        self.play::<T>(call, count)
    }

    /// Plays a legal move in each of so many packed positions.
    pub(crate) fn apply<T: Topology>(
        &self,
        games: &Array<D, u32>,
        codes: &Array<D, u32>,
        count: usize,
    ) -> Result<(), DeviceError> {
        let call = Call::new(APPLY.of(T::BOARD))
            .array(games, count * game_words::<T>())
            .array(codes, count)
            .int(count);
        self.play::<T>(call, count)
    }

    /// Plays random games: `results` has [`RESULT`] words of each, `ends` the packed positions they ended in.
    pub(crate) fn playouts<T: Topology>(
        &self,
        playouts: &Playouts<'_, D>,
        results: &Array<D, u32>,
        ends: Option<&Array<D, u32>>,
    ) -> Result<(), DeviceError> {
        assert!(playouts.start_count > 0, "games start somewhere");
        let call = Call::new(PLAYOUT.of(T::BOARD))
            .array(playouts.starts, playouts.start_count * game_words::<T>())
            .int(playouts.start_count)
            .array(results, playouts.games * RESULT)
            .optional(ends, playouts.games * game_words::<T>())
            .int(playouts.games)
            .word(playouts.seed as u32)
            .word((playouts.seed >> 32) as u32)
            .word(playouts.first)
            .word(playouts.steps_max.min(i32::MAX as u32));
        self.play::<T>(call, playouts.games)
    }
}
