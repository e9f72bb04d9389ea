//! Forward through the whole network on the CPU, a few boards at a time. The way back stands in `training`.
//!
//! A chunk is as many boards as keep the activations in the cache. Evaluation and training both go through a
//! batch chunk by chunk; training adds up the chunks' gradients.
//!
//! Invariant: what is computed for a position does not depend, to the last bit, on the positions beside it.

use crate::encoding::action::KINDS;
use crate::encoding::batch::Batch;
use crate::encoding::planes::{CHANNELS, GLOBALS};
use crate::encoding::taps::Taps;
use crate::network::architecture::{Architecture, HEAD, Layout, VALUE_HIDDEN};
use crate::network::conv::{self, Conv};
use crate::network::heads::{Policy, kinds_of, softmax};
use crate::network::real::{MatrixView, Real, matmul};
use rules::{Board, SEATS_MAX};
use std::ops::Range;

/// Rows of a chunk, unless a single board has more.
const CHUNK_ROWS: usize = 1024;

/// Least rows of a product: for a single row, the crate `gemm` adds up in another order. A row more is what
/// an earlier pass left there.
const ROWS_MIN: usize = 2;

/// The memory that a pass needs, for one architecture and board.
pub(crate) struct Workspace<F> {
    pub(crate) architecture: Architecture,
    pub(crate) layout: Layout,
    pub(crate) taps: &'static Taps,
    boards_max: usize,
    pub(crate) gathered: Vec<F>,
    pub(crate) input: Vec<F>,
    pub(crate) globals: Vec<F>,
    /// A bias for each board and channel.
    pub(crate) by_board: Vec<F>,
    /// The trunk before each block and after the last.
    pub(crate) x: Vec<Vec<F>>,
    /// The activations inside each block.
    pub(crate) h: Vec<Vec<F>>,
    /// The trunk pooled: before each pooling block, and after the last.
    pub(crate) pooled: Vec<Vec<F>>,
    pub(crate) head: Vec<F>,
    pub(crate) kinds: Vec<F>,
    pub(crate) hidden: Vec<F>,
    pub(crate) value: Vec<F>,
    /// The logits of the position at hand, for the losses.
    pub(crate) logits: Vec<F>,
}

impl<F: Real> Workspace<F> {
    pub(crate) fn new(architecture: Architecture, board: Board) -> Self {
        assert!(architecture.fits(board), "{architecture} does not play on {board}");
        let taps = Taps::of(board);
        let boards_max = (CHUNK_ROWS / taps.cells).max(ROWS_MIN);
        let (c, blocks) = (architecture.width(), architecture.blocks as usize);
        let rows = boards_max * taps.cells;
        let zeros = |len: usize| vec![F::default(); len];
        Self {
            architecture,
            layout: Layout::new(architecture),
            taps,
            boards_max,
            gathered: Vec::new(),
            input: zeros(rows * CHANNELS),
            globals: zeros(boards_max * GLOBALS),
            by_board: zeros(boards_max * c),
            x: vec![zeros(rows * c); blocks + 1],
            h: vec![zeros(rows * c); blocks],
            pooled: vec![zeros(boards_max * 2 * c); blocks + 1],
            head: zeros(rows * HEAD),
            kinds: zeros(boards_max * KINDS),
            hidden: zeros(boards_max * VALUE_HIDDEN),
            value: zeros(boards_max * SEATS_MAX),
            logits: Vec::new(),
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn is_for(&self, architecture: Architecture, board: Board) -> bool {
        self.architecture == architecture && std::ptr::eq(self.taps, Taps::of(board))
    }

    /// The positions of a batch in chunks.
    pub(crate) fn chunks(&self, positions: usize) -> impl Iterator<Item = Range<usize>> + use<F> {
        let step = self.boards_max;
        (0..positions).step_by(step).map(move |start| start..(start + step).min(positions))
    }

    /// Runs the network on a chunk of a batch.
    pub(crate) fn forward(&mut self, weights: &[F], batch: &Batch, chunk: Range<usize>) {
        let (c, cells, n) = (self.architecture.width(), self.taps.cells, chunk.len());
        let rows = n * cells;
        let Self { layout, gathered, input, globals, by_board, x, h, pooled, .. } = self;
        copy(input, &batch.planes[chunk.start * cells * CHANNELS..][..rows * CHANNELS]);
        copy(globals, &batch.globals[chunk.start * GLOBALS..][..n * GLOBALS]);
        let mut conv = Conv { taps: self.taps, rows, gathered };

        let y = &mut x[0][..rows * c];
        conv.forward(input, CHANNELS, layout.stem_w.of(weights), c, y, false);
        dense(by_board, globals, n, GLOBALS, layout.stem_globals.of(weights), c);
        conv::add_biases_relu(y, cells, layout.stem_b.of(weights), by_board);

        for (i, block) in layout.blocks.iter().enumerate() {
            let (before, after) = x.split_at_mut(i + 1);
            let (x, y, h) = (&before[i][..rows * c], &mut after[0][..rows * c], &mut h[i][..rows * c]);
            conv.forward(x, c, block.w1.of(weights), c, h, false);
            if block.pool.len > 0 {
                conv::pool(x, cells, c, &mut pooled[i]);
                dense(by_board, &pooled[i], n, 2 * c, block.pool.of(weights), c);
                conv::add_biases_relu(h, cells, block.b1.of(weights), by_board);
            } else {
                conv::add_bias_relu(h, block.b1.of(weights));
            }
            conv.forward(h, c, block.w2.of(weights), c, y, false);
            conv::add_residual_relu(y, block.b2.of(weights), x);
        }
        self.forward_heads(weights, rows, n);
    }

    fn forward_heads(&mut self, weights: &[F], rows: usize, n: usize) {
        let (c, cells, last) = (self.architecture.width(), self.taps.cells, self.x.len() - 1);
        let Self { layout, x, pooled, head, kinds, hidden, value, .. } = self;
        let (x, pooled) = (&x[last][..rows * c], &mut pooled[last]);
        conv::pool(x, cells, c, pooled);
        dense(head, x, rows, c, layout.policy_w.of(weights), HEAD);
        conv::add_bias(&mut head[..rows * HEAD], layout.policy_b.of(weights));
        dense(kinds, pooled, n, 2 * c, layout.policy_kinds_w.of(weights), KINDS);
        conv::add_bias(&mut kinds[..n * KINDS], layout.policy_kinds_b.of(weights));
        dense(hidden, pooled, n, 2 * c, layout.value_w1.of(weights), VALUE_HIDDEN);
        conv::add_bias_relu(&mut hidden[..n * VALUE_HIDDEN], layout.value_b1.of(weights));
        dense(value, hidden, n, VALUE_HIDDEN, layout.value_w2.of(weights), SEATS_MAX);
        conv::add_bias(&mut value[..n * SEATS_MAX], layout.value_b2.of(weights));
    }

    pub(crate) fn policy<'a>(&'a self, weights: &'a [F], i: usize) -> Policy<'a, F> {
        let cells = self.taps.cells * HEAD;
        Policy {
            layout: &self.layout,
            weights,
            cells: &self.head[i * cells..][..cells],
            kinds: &self.kinds[kinds_of(i)],
        }
    }

    /// After [`Self::forward`]: the logits of the legal moves of the chunk's i-th position.
    pub(crate) fn logits<'a>(
        &'a self,
        weights: &'a [F],
        batch: &'a Batch,
        chunk: &Range<usize>,
        i: usize,
    ) -> impl Iterator<Item = F> + 'a {
        let policy = self.policy(weights, i);
        let actions = &batch.actions;
        actions.actions[actions.range(chunk.start + i)].iter().map(move |a| policy.logit(actions, a))
    }

    /// After [`Self::forward`]: how likely each relative seat wins.
    pub(crate) fn value(&self, i: usize, seats: u8) -> [F; SEATS_MAX] {
        let mut value = [F::default(); SEATS_MAX];
        value.copy_from_slice(&self.value[i * SEATS_MAX..][..SEATS_MAX]);
        let (seated, rest) = value.split_at_mut(usize::from(seats));
        softmax(seated);
        rest.fill(F::default());
        value
    }
}

fn copy<F: Real>(out: &mut [F], values: &[f32]) {
    for (out, &value) in out.iter_mut().zip(values) {
        *out = F::of(value);
    }
}

/// `out = x * w`; `x: [rows, inputs]`, `w: [inputs, outputs]`.
fn dense<F: Real>(out: &mut [F], x: &[F], rows: usize, inputs: usize, w: &[F], outputs: usize) {
    let rows = rows.max(ROWS_MIN);
    matmul(out, false, MatrixView::new(x, rows, inputs), MatrixView::new(w, inputs, outputs));
}
