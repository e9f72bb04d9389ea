//! The logits of legal moves, the losses, and the derivatives of both; see `cuda/policy.cu`.

use super::call::{ArrayPart, COUNT_MAX, Call};
use super::{ConvShape, HEAD_COLUMNS, Ops};
use crate::device::Device;
use crate::device::array::{Array, Bf16};
use crate::device::cost::{AHEAD, CACHE, NEAR, SHUFFLE, Workload};
use crate::device::kernel::kernels;
use crate::device::targets::Targets;
use crate::encoding::action::{KINDS, PAIRS, RAYS};
use crate::encoding::packed::{ACTION_WORDS, READS};
use crate::error::DeviceError;
use crate::network::architecture::KEY;
use rules::SEATS_MAX;

kernels! {
    LOGITS = One("policy_logits");
    LOSSES = One("policy_losses");
    POLICY_BACK = One("policy_back");
}

/// Threads of a block of the first two kernels, a warp for each position.
const THREADS: u32 = 128;
const POSITIONS_OF_BLOCK: usize = 4;
/// Sums that a block of `policy_back` leaves.
pub(crate) const POLICY_PARTIAL: usize = PAIRS * KEY + RAYS;
/// Blocks of `policy_back` that positions are divided among; a block
/// takes one after the other, up to so many.
const BACK_BLOCKS: usize = 512;
const BACK_POSITIONS_MAX: usize = 16;

/// Positions of a block of `policy_back`. Every block leaves sums to be
/// added up, so there are fewer than positions.
fn back_share(boards: usize) -> usize {
    boards.div_ceil(BACK_BLOCKS).clamp(1, BACK_POSITIONS_MAX)
}

/// Blocks of `policy_back`.
pub(crate) fn policy_blocks(boards: usize) -> usize {
    boards.div_ceil(back_share(boards))
}

/// The most blocks of `policy_back` with up to so many boards.
pub(crate) fn policy_blocks_max(boards: usize) -> usize {
    boards.min(BACK_BLOCKS).max(boards.div_ceil(BACK_POSITIONS_MAX))
}

/// The legal moves of positions, on the device.
pub(crate) struct MoveArrays<'a, D: Device> {
    pub(crate) reads: &'a Array<D, u8>,
    pub(crate) actions: &'a Array<D, u32>,
    pub(crate) many: &'a Array<D, u16>,
    pub(crate) ends: &'a Array<D, u32>,
    /// How many moves there are.
    pub(crate) count: usize,
}

impl<D: Device> MoveArrays<'_, D> {
    /// # Panics
    /// If there are more than kernels count.
    fn check(&self) {
        assert!(self.count.max(self.many.len()) <= COUNT_MAX, "{} moves", self.count);
    }

    /// Moves of all positions, and of one of `boards` positions on average.
    fn counts(&self, boards: usize) -> (f64, f64) {
        let count = self.count as f64;
        (count, count / boards as f64)
    }
}

impl<D: Device> Ops<'_, D> {
    /// A logit for each legal move.
    pub(crate) fn logits(
        &self,
        head: &Array<D, f32>,
        kinds: &Array<D, f32>,
        (weights, pairs, rays): (&Array<D, f32>, usize, usize),
        moves: &MoveArrays<'_, D>,
        logits: &Array<D, f32>,
        shape: ConvShape,
    ) -> Result<(), DeviceError> {
        moves.check();
        Call::new(LOGITS.name())
            .array(head, shape.rows() * HEAD_COLUMNS)
            .array(kinds, shape.boards * KINDS)
            .part((weights, pairs), PAIRS * KEY)
            .part((weights, rays), RAYS)
            .array(moves.reads, KINDS * READS)
            .array(moves.actions, moves.count * ACTION_WORDS)
            .array(moves.many, moves.many.len())
            .array(moves.ends, shape.boards)
            .array(logits, moves.count)
            .int(shape.boards)
            .int(shape.cells)
            .int(KINDS)
            .costs(|_| {
                let (moves, of_position) = moves.counts(shape.boards);
                let (boards, cells) = (shape.boards as f64, shape.cells as f64);
                Workload {
                    memory_bytes: moves * 20.0 + boards * cells * 96.0 * 4.0,
                    cache_bytes: moves * 400.0,
                    lines: moves * 20.0,
                    // A move's description, then what it names, then the sum
                    // over the lanes; one move after the other.
                    chain: of_position * (CACHE + CACHE + 5.0 * SHUFFLE + 100.0),
                    ..Workload::default()
                }
            })
            .launch(self.0, (shape.boards.div_ceil(POSITIONS_OF_BLOCK), 1), THREADS, 0)
    }

    /// The losses; logits and values become the derivatives by them.
    #[allow(clippy::too_many_arguments, reason = "as many as the kernel has")]
    pub(crate) fn losses(
        &self,
        logits: &Array<D, f32>,
        moves: &MoveArrays<'_, D>,
        targets: &Targets<D>,
        values: &Array<D, f32>,
        losses: &Array<D, f32>,
        boards: usize,
        (per_policy, per_value): (f32, f32),
    ) -> Result<(), DeviceError> {
        assert!(moves.count.max(targets.index.len()) <= COUNT_MAX, "{} moves", moves.count);
        Call::new(LOSSES.name())
            .array(logits, moves.count)
            .array(moves.ends, boards)
            .array(&targets.index, targets.index.len())
            .array(&targets.weight, targets.index.len())
            .array(&targets.ends, boards)
            .array(values, boards * SEATS_MAX)
            .array(&targets.seats, boards)
            .array(&targets.winners, boards)
            .array(losses, boards * 2)
            .int(boards)
            .float(per_policy)
            .float(per_value)
            .costs(|_| {
                let (moves, of_position) = moves.counts(boards);
                Workload {
                    memory_bytes: moves * 8.0,
                    cache_bytes: moves * 20.0,
                    chain: (of_position / 32.0).ceil() * 4.0 * CACHE + 2000.0,
                    ..Workload::default()
                }
            })
            .launch(self.0, (boards.div_ceil(POSITIONS_OF_BLOCK), 1), THREADS, 0)
    }

    /// The derivatives by what logits are computed from; `partial` has room for
    /// [`policy_blocks`] times [`POLICY_PARTIAL`].
    #[allow(clippy::too_many_arguments, reason = "as many as the kernel has")]
    pub(crate) fn policy_back(
        &self,
        head: &Array<D, f32>,
        pairs: ArrayPart<'_, D, f32>,
        moves: &MoveArrays<'_, D>,
        dlogits: &Array<D, f32>,
        (sums, dhead): (&Array<D, f32>, &Array<D, Bf16>),
        dkinds: &Array<D, f32>,
        partial: &Array<D, f32>,
        shape: ConvShape,
    ) -> Result<(), DeviceError> {
        moves.check();
        let (cells, blocks) = (shape.rows() * HEAD_COLUMNS, policy_blocks(shape.boards));
        let share = back_share(shape.boards);
        Call::new(POLICY_BACK.name())
            .array(head, cells)
            .part(pairs, PAIRS * KEY)
            .array(moves.reads, KINDS * READS)
            .array(moves.actions, moves.count * ACTION_WORDS)
            .array(moves.many, moves.many.len())
            .array(moves.ends, shape.boards)
            .array(dlogits, moves.count)
            .array(sums, cells)
            .array(dhead, cells)
            .array(dkinds, shape.boards * KINDS)
            .array(partial, blocks * POLICY_PARTIAL)
            .int(shape.boards)
            .int(shape.cells)
            .int(KINDS)
            .int(share)
            .costs(|_| back_work(moves.counts(shape.boards), shape, share))
            .launch(self.0, (blocks, 1), 32, 4 * (POLICY_PARTIAL + KINDS))
    }
}

/// Of all moves and those of a position, and of the positions that a block takes.
fn back_work((moves, of_position): (f64, f64), shape: ConvShape, share: usize) -> Workload {
    let (boards, cells, share) = (shape.boards as f64, shape.cells as f64, share as f64);
    Workload {
        memory_bytes: moves * 20.0 + boards * cells * 96.0 * (4.0 + 4.0 + 2.0),
        cache_bytes: moves * 800.0 + boards * cells * 96.0 * 14.0,
        lines: moves * 30.0 + boards * cells * 3.0 * 4.0,
        // As for the logits; and what is read is added to and written back before the next move.
        chain: share * (of_position * (3.0 * CACHE + 200.0) + cells * 3.0 * (NEAR + CACHE / AHEAD)),
        ..Workload::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_positions_and_have_room() {
        let mut room = 0;
        for boards in 1..=16_384 {
            let (share, blocks) = (back_share(boards), policy_blocks(boards));
            assert!(share * blocks >= boards && share * (blocks - 1) < boards, "{boards}");
            assert!(blocks <= policy_blocks_max(boards) && room <= policy_blocks_max(boards), "{boards}");
            room = policy_blocks_max(boards);
        }
    }
}
