//! Backward through the whole network: the derivative of the loss by every weight.

use crate::encoding::action::KINDS;
use crate::encoding::batch::Batch;
use crate::encoding::planes::{CHANNELS, GLOBALS};
use crate::network::architecture::{HEAD, Span, VALUE_HIDDEN};
use crate::network::conv::{self, Conv};
use crate::network::forward::Workspace;
use crate::network::real::{MatrixView, Real, matmul};
use crate::training::gradient::Gradient;
use crate::training::losses::LossSums;
use rules::SEATS_MAX;

impl<F: Real> Gradient<F> {
    /// The derivative of the mean loss over a batch, into `self.weights`; returns the losses.
    pub(crate) fn of_batch(&mut self, space: &mut Workspace<F>, weights: &[F], batch: &Batch) -> LossSums {
        self.weights.fill(F::default());
        let c = space.architecture.width();
        for block in &space.layout.blocks {
            for span in [block.w1, block.w2] {
                let out = span.of_mut(&mut self.transposed);
                conv::transpose(space.taps, span.of(weights), c, c, out);
            }
        }
        let share = |count: usize| F::ONE / F::of(count.max(1) as f32);
        let (per_policy, per_value) = (share(batch.policies()), share(batch.len()));
        let mut sums = LossSums::default();
        for chunk in space.chunks(batch.len()) {
            space.forward(weights, batch, chunk.clone());
            let one = space.losses(weights, batch, &chunk, Some((self, per_policy, per_value)));
            space.backward(weights, chunk.len(), self);
            sums = sums + one;
        }
        sums
    }
}

impl<F: Real> Workspace<F> {
    /// After [`Self::losses`] with a gradient: adds the derivative by every weight.
    pub(crate) fn backward(&mut self, weights: &[F], n: usize, gradient: &mut Gradient<F>) {
        let (c, cells) = (self.architecture.width(), self.taps.cells);
        let rows = n * cells;
        self.backward_heads(weights, n, gradient);
        let Self { layout, gathered, input, globals, x, h, pooled, .. } = self;
        let Gradient { weights: dw, transposed, dx, dh, dpooled, .. } = gradient;
        let mut conv = Conv { taps: self.taps, rows, gathered };
        let (dx, dh) = (&mut dx[..rows * c], &mut dh[..rows * c]);
        for (i, block) in layout.blocks.iter().enumerate().rev() {
            let (x, y, h) = (&x[i][..rows * c], &x[i + 1][..rows * c], &h[i][..rows * c]);
            conv::backward_relu(dx, y);
            conv::add_column_sums(dx, block.b2.of_mut(dw));
            conv.backward_weights(h, c, dx, c, block.w2.of_mut(dw));
            conv.forward(dx, c, block.w2.of(transposed), c, dh, false);
            conv::backward_relu(dh, h);
            conv::add_column_sums(dh, block.b1.of_mut(dw));
            conv.backward_weights(x, c, dh, c, block.w1.of_mut(dw));
            conv.forward(dh, c, block.w1.of(transposed), c, dx, true);
            if block.pool.len > 0 {
                let by_board = &mut self.by_board[..n * c];
                by_board.fill(F::default());
                for (dh, sum) in dh.chunks_exact(cells * c).zip(by_board.chunks_exact_mut(c)) {
                    conv::add_column_sums(dh, sum);
                }
                dense_backward(dw, block.pool, &pooled[i], by_board, (n, 2 * c, c));
                let dpooled = &mut dpooled[..n * 2 * c];
                let w = MatrixView::new(block.pool.of(weights), 2 * c, c);
                matmul(dpooled, false, MatrixView::new(by_board, n, c), w.t());
                conv::backward_pool(x, &pooled[i], dpooled, cells, c, dx);
            }
        }
        conv::backward_relu(dx, &x[0][..rows * c]);
        conv::add_column_sums(dx, layout.stem_b.of_mut(dw));
        conv.backward_weights(input, CHANNELS, dx, c, layout.stem_w.of_mut(dw));
        let by_board = &mut self.by_board[..n * c];
        by_board.fill(F::default());
        for (dx, sum) in dx.chunks_exact(cells * c).zip(by_board.chunks_exact_mut(c)) {
            conv::add_column_sums(dx, sum);
        }
        dense_backward(dw, layout.stem_globals, globals, by_board, (n, GLOBALS, c));
    }

    fn backward_heads(&mut self, weights: &[F], n: usize, gradient: &mut Gradient<F>) {
        let (c, cells, last) = (self.architecture.width(), self.taps.cells, self.x.len() - 1);
        let rows = n * cells;
        let (layout, x, pooled) = (&self.layout, &self.x[last][..rows * c], &self.pooled[last]);
        let Gradient { weights: dw, head, kinds, value, dx, dpooled, hidden, .. } = gradient;
        let (head, kinds, value) = (&head[..rows * HEAD], &kinds[..n * KINDS], &value[..n * SEATS_MAX]);
        let (dx, dpooled) = (&mut dx[..rows * c], &mut dpooled[..n * 2 * c]);

        let dhidden = &mut hidden[..n * VALUE_HIDDEN];
        dense_backward(dw, layout.value_w2, &self.hidden, value, (n, VALUE_HIDDEN, SEATS_MAX));
        conv::add_column_sums(value, layout.value_b2.of_mut(dw));
        let w = MatrixView::new(layout.value_w2.of(weights), VALUE_HIDDEN, SEATS_MAX);
        matmul(dhidden, false, MatrixView::new(value, n, SEATS_MAX), w.t());
        conv::backward_relu(dhidden, &self.hidden);
        dense_backward(dw, layout.value_w1, pooled, dhidden, (n, 2 * c, VALUE_HIDDEN));
        conv::add_column_sums(dhidden, layout.value_b1.of_mut(dw));
        let w = MatrixView::new(layout.value_w1.of(weights), 2 * c, VALUE_HIDDEN);
        matmul(dpooled, false, MatrixView::new(dhidden, n, VALUE_HIDDEN), w.t());

        dense_backward(dw, layout.policy_kinds_w, pooled, kinds, (n, 2 * c, KINDS));
        conv::add_column_sums(kinds, layout.policy_kinds_b.of_mut(dw));
        let w = MatrixView::new(layout.policy_kinds_w.of(weights), 2 * c, KINDS);
        matmul(dpooled, true, MatrixView::new(kinds, n, KINDS), w.t());

        dense_backward(dw, layout.policy_w, x, head, (rows, c, HEAD));
        conv::add_column_sums(head, layout.policy_b.of_mut(dw));
        let w = MatrixView::new(layout.policy_w.of(weights), c, HEAD);
        matmul(dx, false, MatrixView::new(head, rows, HEAD), w.t());
        conv::backward_pool(x, pooled, dpooled, cells, c, dx);
    }
}

/// The derivative of [`dense`] by `w`, added. `sizes`: rows, inputs, outputs.
fn dense_backward<F: Real>(dw: &mut [F], span: Span, x: &[F], dy: &[F], sizes: (usize, usize, usize)) {
    let (rows, inputs, outputs) = sizes;
    matmul(span.of_mut(dw), true, MatrixView::new(x, rows, inputs).t(), MatrixView::new(dy, rows, outputs));
}
