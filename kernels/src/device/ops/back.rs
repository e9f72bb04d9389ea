//! The launches that only training needs; see [`crate::device::ops`].

use crate::device::Device;
use crate::device::array::{Array, Bf16};
use crate::device::ops::{
    COUNT_MAX, Call, DENSE_SHARED_BYTES, DENSE_SIDE, HEAD_COLUMNS, Moves, Ops, POLICY_PARTIAL, Part, Shape,
};
use crate::device::targets::Targets;
use crate::encoding::action::{KINDS, PAIRS};
use crate::encoding::packed::{ACTION_WORDS, READS};
use crate::error::DeviceError;
use crate::network::architecture::{HEAD, KEY};
use rules::SEATS_MAX;

/// Blocks of `policy_back` that positions are divided among; a block takes one after the other, up to so many.
const POLICY_BLOCKS: usize = 512;
const POSITIONS_OF_BLOCK_MAX: usize = 16;
/// Rows that a block of `dense_weights` takes.
const DENSE_SPLIT_ROWS: usize = 256;
/// Numbers that a block of `gradient_norm` takes.
const NORM_PIECE: usize = 8192;

/// Positions of a block of `policy_back`. Every block leaves sums to be added up, so there are not as many as positions.
fn policy_share(boards: usize) -> usize {
    boards.div_ceil(POLICY_BLOCKS).clamp(1, POSITIONS_OF_BLOCK_MAX)
}

/// Blocks of `policy_back`.
pub(crate) fn policy_blocks(boards: usize) -> usize {
    boards.div_ceil(policy_share(boards))
}

/// Blocks of `policy_back`, at most, with up to so many boards.
pub(crate) fn policy_blocks_max(boards: usize) -> usize {
    boards.min(POLICY_BLOCKS).max(boards.div_ceil(POSITIONS_OF_BLOCK_MAX))
}

/// Numbers of partial sums that [`Ops::dense_weights`] leaves.
pub(crate) fn dense_partial_len((rows, inputs, outputs): (usize, usize, usize)) -> usize {
    rows.div_ceil(DENSE_SPLIT_ROWS) * inputs * outputs
}

/// Squares that `gradient_norm` leaves.
pub(crate) fn norm_blocks(count: usize) -> usize {
    count.div_ceil(NORM_PIECE)
}

/// What the optimiser changes.
pub(crate) struct State<'a, D: Device> {
    pub(crate) weights: &'a Array<D, f32>,
    pub(crate) weights16: &'a Array<D, Bf16>,
    pub(crate) average: &'a Array<D, f32>,
    pub(crate) first: &'a Array<D, f32>,
    pub(crate) second: &'a Array<D, f32>,
}

/// The numbers of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) rate: f32,
    pub(crate) weight_decay: f32,
    pub(crate) first_correction: f32,
    pub(crate) second_correction: f32,
    pub(crate) keep: f32,
}

impl<D: Device> Ops<'_, D> {
    /// `pool_back`.
    pub(crate) fn pool_back(
        &self,
        dpooled: &Array<D, f32>,
        (to_all, to_most): (&Array<D, f32>, &Array<D, f32>),
        shape: Shape,
        width: usize,
    ) -> Result<(), DeviceError> {
        let count = shape.boards * width;
        Call::new("pool_back")
            .array(dpooled, 2 * count)
            .array(to_all, count)
            .array(to_most, count)
            .int(shape.boards)
            .int(shape.cells)
            .int(width)
            .each(self.0, count)
    }

    /// `board_sums`.
    pub(crate) fn board_sums(
        &self,
        x: &Array<D, Bf16>,
        sums: &Array<D, f32>,
        shape: Shape,
        width: usize,
    ) -> Result<(), DeviceError> {
        assert!(width <= 128, "a thread for each of {width} channels");
        Call::new("board_sums")
            .array(x, shape.rows() * width)
            .array(sums, shape.boards * width)
            .int(shape.cells)
            .int(width)
            .launch(self.0, (shape.boards, 1), 128, 0)
    }

    /// `column_sums` of the first `columns` of `width`.
    pub(crate) fn column_sums(
        &self,
        x: &Array<D, f32>,
        sums: Part<'_, D, f32>,
        (rows, width, columns): (usize, usize, usize),
    ) -> Result<(), DeviceError> {
        assert!(columns <= width, "{columns} of {width}");
        Call::new("column_sums").array(x, rows * width).part(sums, columns).int(rows).int(width).launch(
            self.0,
            (columns, 1),
            128,
            16,
        )
    }

    /// `dense_back`.
    pub(crate) fn dense_back(
        &self,
        dy: &Array<D, f32>,
        w: Part<'_, D, f32>,
        mask: Option<&Array<D, f32>>,
        dx: &Array<D, f32>,
        (rows, inputs, outputs): (usize, usize, usize),
        add: bool,
    ) -> Result<(), DeviceError> {
        Call::new("dense_back")
            .array(dy, rows * outputs)
            .part(w, inputs * outputs)
            .optional(mask, rows * inputs)
            .array(dx, rows * inputs)
            .int(rows)
            .int(inputs)
            .int(outputs)
            .int(usize::from(add))
            .launch(self.0, (rows.div_ceil(DENSE_SIDE), inputs.div_ceil(DENSE_SIDE)), 128, DENSE_SHARED_BYTES)
    }

    /// `dense_weights` and `sum_partials`; without `x`, for a bias, `inputs` is 1. `partial` has room for
    /// [`dense_partial_len`].
    pub(crate) fn dense_weights(
        &self,
        x: Option<&Array<D, f32>>,
        dy: &Array<D, f32>,
        partial: &Array<D, f32>,
        dw: Part<'_, D, f32>,
        (rows, inputs, outputs): (usize, usize, usize),
    ) -> Result<(), DeviceError> {
        assert!(x.is_some() || inputs == 1, "{inputs} inputs of a bias");
        let (count, splits) = (inputs * outputs, rows.div_ceil(DENSE_SPLIT_ROWS));
        let pieces = inputs.div_ceil(DENSE_SIDE) * outputs.div_ceil(DENSE_SIDE);
        Call::new("dense_weights")
            .optional(x, rows * inputs)
            .array(dy, rows * outputs)
            .array(partial, splits * count)
            .int(rows)
            .int(inputs)
            .int(outputs)
            .int(DENSE_SPLIT_ROWS)
            .launch(self.0, (pieces, splits), 128, DENSE_SHARED_BYTES)?;
        self.sum_partials(partial, dw, splits, (count, outputs, outputs))
    }

    /// `policy_losses`: logits and values become derivatives.
    #[allow(clippy::too_many_arguments, reason = "as many as the kernel has")]
    pub(crate) fn losses(
        &self,
        logits: &Array<D, f32>,
        moves: &Moves<'_, D>,
        targets: &Targets<D>,
        values: &Array<D, f32>,
        losses: &Array<D, f32>,
        boards: usize,
        (per_policy, per_value): (f32, f32),
    ) -> Result<(), DeviceError> {
        assert!(moves.count.max(targets.index.len()) <= COUNT_MAX, "{} moves", moves.count);
        Call::new("policy_losses")
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
            .launch(self.0, (boards.div_ceil(4), 1), 128, 0)
    }

    /// `policy_back`; `partial` has room for [`policy_blocks`] times [`POLICY_PARTIAL`].
    #[allow(clippy::too_many_arguments, reason = "as many as the kernel has")]
    pub(crate) fn policy_back(
        &self,
        head: &Array<D, f32>,
        pairs: Part<'_, D, f32>,
        moves: &Moves<'_, D>,
        dlogits: &Array<D, f32>,
        (sums, dhead): (&Array<D, f32>, &Array<D, Bf16>),
        dkinds: &Array<D, f32>,
        partial: &Array<D, f32>,
        shape: Shape,
    ) -> Result<(), DeviceError> {
        assert!(moves.count.max(moves.many.len()) <= COUNT_MAX, "{} moves", moves.count);
        let (cells, blocks) = (shape.rows() * HEAD_COLUMNS, policy_blocks(shape.boards));
        Call::new("policy_back")
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
            .int(policy_share(shape.boards))
            .launch(self.0, (blocks, 1), 32, 4 * (POLICY_PARTIAL + KINDS))
    }

    /// `sum_partials`.
    pub(crate) fn sum_partials(
        &self,
        partial: &Array<D, f32>,
        out: Part<'_, D, f32>,
        splits: usize,
        (count, n, columns): (usize, usize, usize),
    ) -> Result<(), DeviceError> {
        assert!(columns <= n && n > 0 && count % n == 0, "{columns} of {n} columns of {count}");
        Call::new("sum_partials")
            .array(partial, splits * count)
            .part(out, count / n * columns)
            .int(splits)
            .int(count)
            .int(n)
            .int(columns)
            .each(self.0, count)
    }

    /// `gradient_norm` and `gradient_scale`.
    pub(crate) fn scale(
        &self,
        gradient: &Array<D, f32>,
        squares: &Array<D, f64>,
        scale: &Array<D, f32>,
        clip: f32,
    ) -> Result<(), DeviceError> {
        let (count, blocks) = (gradient.len(), norm_blocks(gradient.len()));
        assert!(count > 0, "no gradient");
        Call::new("gradient_norm").array(gradient, count).array(squares, blocks).int(count).launch(
            self.0,
            (blocks, 1),
            128,
            32,
        )?;
        Call::new("gradient_scale").array(squares, blocks).array(scale, 2).int(blocks).float(clip).launch(
            self.0,
            (1, 1),
            128,
            32,
        )
    }

    /// `adamw`.
    pub(crate) fn adamw(
        &self,
        state: &State<'_, D>,
        gradient: &Array<D, f32>,
        decays: &Array<D, u8>,
        scale: &Array<D, f32>,
        rates: Rates,
    ) -> Result<(), DeviceError> {
        let count = gradient.len();
        Call::new("adamw")
            .array(state.weights, count)
            .array(state.average, count)
            .array(state.first, count)
            .array(state.second, count)
            .array(gradient, count)
            .array(decays, count)
            .array(scale, 2)
            .array(state.weights16, count)
            .int(count)
            .float(rates.rate)
            .float(rates.weight_decay)
            .float(rates.first_correction)
            .float(rates.second_correction)
            .float(rates.keep)
            .each(self.0, count)
    }

    /// `pack_head`.
    pub(crate) fn pack_head(
        &self,
        w: Part<'_, D, f32>,
        bias: Part<'_, D, f32>,
        head16: &Array<D, Bf16>,
        head_bias: &Array<D, f32>,
        width: usize,
    ) -> Result<(), DeviceError> {
        let count = width * HEAD_COLUMNS;
        Call::new("pack_head")
            .part(w, width * HEAD)
            .part(bias, HEAD)
            .array(head16, count)
            .array(head_bias, HEAD_COLUMNS)
            .int(width)
            .int(HEAD)
            .each(self.0, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_the_positions_and_have_room() {
        let mut room = 0;
        for boards in 1..=16_384 {
            let (share, blocks) = (policy_share(boards), policy_blocks(boards));
            assert!(share * blocks >= boards && share * (blocks - 1) < boards, "{boards}");
            assert!(blocks <= policy_blocks_max(boards) && room <= policy_blocks_max(boards), "{boards}");
            room = policy_blocks_max(boards);
        }
    }
}
