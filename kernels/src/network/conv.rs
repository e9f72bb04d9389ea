//! The operations of the trunk over rows of cells: neighbour convolution, bias and
//! ReLU, pooling; each with its derivative.
//!
//! Activations are `[boards * cells, channels]`, row-major. A convolution lays each cell's neighbourhood side
//! by side and multiplies; it does so for a few hundred rows at a time, which stay in the cache.
//!
//! Invariant: what [`Conv::forward`] gives for a board does not depend, to the last bit, on the boards beside
//! it.

use crate::encoding::taps::Taps;
use crate::network::real::{MatrixView, Real, matmul};
use std::ops::Range;

/// Elements of the gathered neighbourhoods: 256 KiB of f32.
const GATHERED: usize = 1 << 16;
/// The most summands that `gemm` always adds up in one go.
const UNSPLIT: usize = 512;
/// Up to so many rows and columns, `gemm` splits a longer sum in another way than above.
const NARROW: usize = 64;

/// What a convolution needs to know besides its operands.
pub(crate) struct Conv<'a, F> {
    pub(crate) taps: &'static Taps,
    pub(crate) rows: usize,
    pub(crate) gathered: &'a mut Vec<F>,
}

impl<F: Real> Conv<'_, F> {
    /// The rows in pieces that are multiplied one after the other. A piece has either whole boards, or a part
    /// of one board that is the same part of every board. That matters because the crate `gemm` adds up in
    /// another order for a single row and, above [`UNSPLIT`] summands, for up to [`NARROW`] rows and columns.
    fn pieces(&self, width: usize, outputs: usize) -> impl Iterator<Item = Range<usize>> + use<F> {
        let (rows, cells, wide) = (self.rows, self.taps.cells, self.taps.taps * width);
        let step = (GATHERED / wide).max(32);
        let alone = step < cells || (wide > UNSPLIT && outputs <= NARROW);
        let (run, step) = if alone { (cells, step.min(cells)) } else { (rows, step / cells * cells) };
        (0..rows).step_by(run.max(1)).flat_map(move |first| {
            let end = (first + run).min(rows);
            (first..end).step_by(step).map(move |start| start..(start + step).min(end))
        })
    }

    fn gather(&mut self, x: &[F], width: usize, rows: Range<usize>) -> usize {
        let wide = self.taps.taps * width;
        if self.gathered.len() < rows.len() * wide {
            self.gathered.resize(rows.len() * wide, F::default());
        }
        self.taps.gather(x, width, rows, self.gathered);
        wide
    }

    /// `y[row] = sum over taps t of x[t of row] * w[t]`; `x: [rows, inputs]`, `w: [taps * inputs, outputs]`.
    pub(crate) fn forward(
        &mut self,
        x: &[F],
        inputs: usize,
        w: &[F],
        outputs: usize,
        y: &mut [F],
        add: bool,
    ) {
        for piece in self.pieces(inputs, outputs) {
            let wide = self.gather(x, inputs, piece.clone());
            let out = &mut y[piece.start * outputs..piece.end * outputs];
            let gathered = MatrixView::new(self.gathered.as_slice(), piece.len(), wide);
            matmul(out, add, gathered, MatrixView::new(w, wide, outputs));
        }
    }

    /// The derivative of [`Self::forward`] by `w`, added to `dw`.
    pub(crate) fn backward_weights(
        &mut self,
        x: &[F],
        inputs: usize,
        dy: &[F],
        outputs: usize,
        dw: &mut [F],
    ) {
        for piece in self.pieces(inputs, outputs) {
            let wide = self.gather(x, inputs, piece.clone());
            let dy = MatrixView::new(&dy[piece.start * outputs..], piece.len(), outputs);
            matmul(dw, true, MatrixView::new(self.gathered.as_slice(), piece.len(), wide).t(), dy);
        }
    }
}

/// The weights with which [`Conv::forward`] on `dy` gives the
/// derivative by `x`: transposed, with mirrored taps.
pub(crate) fn transpose<F: Real>(taps: &Taps, w: &[F], inputs: usize, outputs: usize, out: &mut [F]) {
    for tap in 0..taps.taps {
        let w = &w[taps.mirror(tap) * inputs * outputs..][..inputs * outputs];
        let out = &mut out[tap * inputs * outputs..][..inputs * outputs];
        for (o, row) in out.chunks_exact_mut(inputs).enumerate() {
            for (i, value) in row.iter_mut().enumerate() {
                *value = w[i * outputs + o];
            }
        }
    }
}

/// Adds a bias to every row.
pub(crate) fn add_bias<F: Real>(y: &mut [F], bias: &[F]) {
    for row in y.chunks_exact_mut(bias.len()) {
        for (y, &b) in row.iter_mut().zip(bias) {
            *y += b;
        }
    }
}

/// Adds a bias to every row and a bias of its board, then applies the ReLU.
pub(crate) fn add_biases_relu<F: Real>(y: &mut [F], cells: usize, bias: &[F], by_board: &[F]) {
    let width = bias.len();
    for (board, of_board) in y.chunks_exact_mut(cells * width).zip(by_board.chunks_exact(width)) {
        for row in board.chunks_exact_mut(width) {
            for ((y, &b), &c) in row.iter_mut().zip(bias).zip(of_board) {
                *y = (*y + b + c).relu();
            }
        }
    }
}

/// Adds a bias to every row, then applies the ReLU.
pub(crate) fn add_bias_relu<F: Real>(y: &mut [F], bias: &[F]) {
    for row in y.chunks_exact_mut(bias.len()) {
        for (y, &b) in row.iter_mut().zip(bias) {
            *y = (*y + b).relu();
        }
    }
}

/// Adds a bias and the input of the residual block, then applies the ReLU.
pub(crate) fn add_residual_relu<F: Real>(y: &mut [F], bias: &[F], x: &[F]) {
    for (row, x) in y.chunks_exact_mut(bias.len()).zip(x.chunks_exact(bias.len())) {
        for ((y, &b), &x) in row.iter_mut().zip(bias).zip(x) {
            *y = (*y + b + x).relu();
        }
    }
}

/// The derivative of a ReLU: `dy` where its result `y` is above zero.
pub(crate) fn backward_relu<F: Real>(dy: &mut [F], y: &[F]) {
    for (dy, &y) in dy.iter_mut().zip(y) {
        *dy = if y > F::default() { *dy } else { F::default() };
    }
}

/// Adds the sum over rows to `out`.
pub(crate) fn add_column_sums<F: Real>(dy: &[F], out: &mut [F]) {
    for row in dy.chunks_exact(out.len()) {
        for (out, &dy) in out.iter_mut().zip(row) {
            *out += dy;
        }
    }
}

/// For each board mean and maximum over its cells: `[boards, 2 * width]`.
pub(crate) fn pool<F: Real>(x: &[F], cells: usize, width: usize, out: &mut [F]) {
    let share = F::ONE / F::of(cells as f32);
    for (board, out) in x.chunks_exact(cells * width).zip(out.chunks_exact_mut(2 * width)) {
        let (mean, most) = out.split_at_mut(width);
        mean.copy_from_slice(&board[..width]);
        most.copy_from_slice(&board[..width]);
        for row in board.chunks_exact(width).skip(1) {
            for ((mean, most), &x) in mean.iter_mut().zip(most.iter_mut()).zip(row) {
                *mean += x;
                *most = if x > *most { x } else { *most };
            }
        }
        mean.iter_mut().for_each(|mean| *mean = *mean * share);
    }
}

/// The derivative of [`pool`], added to `dx`; a maximum belongs to the first cell that has it.
pub(crate) fn backward_pool<F: Real>(
    x: &[F],
    pooled: &[F],
    dpooled: &[F],
    cells: usize,
    width: usize,
    dx: &mut [F],
) {
    let share = F::ONE / F::of(cells as f32);
    let boards = x.chunks_exact(cells * width).zip(dx.chunks_exact_mut(cells * width));
    let pools = pooled.chunks_exact(2 * width).zip(dpooled.chunks_exact(2 * width));
    for ((x, dx), (pooled, dpooled)) in boards.zip(pools) {
        let (dmean, dmost) = dpooled.split_at(width);
        for row in dx.chunks_exact_mut(width) {
            for (dx, &d) in row.iter_mut().zip(dmean) {
                *dx += d * share;
            }
        }
        for channel in 0..width {
            let most = pooled[width + channel];
            if let Some(cell) = (0..cells).find(|cell| x[cell * width + channel] == most) {
                dx[cell * width + channel] += dmost[channel];
            }
        }
    }
}
