//! The network in plain loops over f64, rounded to bf16 exactly where a device rounds:
//! the convolutions' weights, the trunk before and inside every block, and the
//! derivatives by those and by the policy head's cells.
//!
//! With bf16, some ReLUs and some maxima of the pooling fall on another side than in f32, and a derivative
//! changes by more than rounding. So the sides can be taken from another pass, which tells the two apart.

use crate::device::tests::plain::{
    PlainConv, add_biases, board_sums, dense, dense_back, dense_weights, mask, pool, pool_back, relu, round,
    sums_of, wide,
};
use crate::encoding::action::KINDS;
use crate::encoding::batch::Batch;
use crate::encoding::planes::{CHANNELS, GLOBALS};
use crate::encoding::taps::Taps;
use crate::network::architecture::{Architecture, HEAD, Layout, Span, VALUE_HIDDEN};
use crate::network::forward::Workspace;
use crate::training::gradient::Gradient;
use crate::training::losses::LossSums;
use crate::training::train::Loss;
use rules::SEATS_MAX;

/// Which ReLUs let their input through, and which cells have the maxima.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sides {
    x: Vec<Vec<bool>>,
    h: Vec<Vec<bool>>,
    hidden: Vec<bool>,
    most: Vec<Vec<usize>>,
}

impl Sides {
    /// How many there are, and how many of them are others.
    pub(super) fn differing(&self, other: &Self) -> (usize, usize) {
        fn of<T: PartialEq>(a: &[T], b: &[T]) -> (usize, usize) {
            assert_eq!(a.len(), b.len());
            (a.len(), a.iter().zip(b).filter(|(a, b)| a != b).count())
        }
        let layers = self.x.iter().chain(&self.h).zip(other.x.iter().chain(&other.h)).map(|(a, b)| of(a, b));
        let most = self.most.iter().zip(&other.most).map(|(a, b)| of(a, b));
        layers
            .chain(most)
            .chain([of(&self.hidden, &other.hidden)])
            .fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
    }
}

/// What a pass forward and backward leaves.
pub(super) struct Pass {
    pub(super) loss: Loss,
    /// The derivative by every weight.
    pub(super) gradient: Vec<f64>,
    pub(super) sides: Sides,
    /// The trunk at the end.
    pub(super) x: Vec<f64>,
    /// Of every legal move.
    pub(super) logits: Vec<f64>,
    /// Logits of the seats.
    pub(super) value: Vec<f64>,
}

/// A network on batches of a board.
pub(super) struct Rounded<'a> {
    pub(super) architecture: Architecture,
    pub(super) weights: &'a [f32],
    /// Whether anything is rounded at all.
    pub(super) rounds: bool,
}

/// Activations, and where they came from.
struct Trunk {
    x: Vec<Vec<f64>>,
    h: Vec<Vec<f64>>,
    pooled: Vec<Vec<f64>>,
}

impl Rounded<'_> {
    fn round(&self, mut values: Vec<f64>) -> Vec<f64> {
        if self.rounds {
            values.iter_mut().for_each(round);
        }
        values
    }

    fn wide(&self, span: Span) -> Vec<f64> {
        span.of(self.weights).iter().map(|&w| f64::from(w)).collect()
    }

    /// Losses and derivatives of a batch. `forced`: the sides to take, else those that the values fall on.
    pub(super) fn pass(&self, batch: &Batch, forced: Option<&Sides>) -> Pass {
        let (layout, taps, c) =
            (Layout::new(self.architecture), Taps::of(batch.board), self.architecture.width());
        let (n, cells) = (batch.len(), taps.cells);
        let mut sides = Sides::default();
        let trunk = self.forward(&layout, taps, batch, forced, &mut sides);

        let last = layout.blocks.len();
        let (x, pooled) = (&trunk.x[last], &trunk.pooled[last]);
        let (w, b) = (self.round(self.wide(layout.policy_w)), self.wide(layout.policy_b));
        let head = dense(x, c, &w, Some(&b), HEAD);
        let (kw, kb) = (self.wide(layout.policy_kinds_w), self.wide(layout.policy_kinds_b));
        let kinds = dense(pooled, 2 * c, &kw, Some(&kb), KINDS);
        let (w1, b1) = (self.wide(layout.value_w1), self.wide(layout.value_b1));
        let mut hidden = dense(pooled, 2 * c, &w1, Some(&b1), VALUE_HIDDEN);
        sides.hidden = relu(&mut hidden, forced.map(|f| f.hidden.as_slice()));
        let (w2, b2) = (self.wide(layout.value_w2), self.wide(layout.value_b2));
        let value = dense(&hidden, VALUE_HIDDEN, &w2, Some(&b2), SEATS_MAX);

        // Losses are not rounded: those of the CPU, in f64, chunk by chunk.
        let mut gradient = vec![0.0; layout.total];
        let (mut dhead, mut dkinds, mut dvalue, mut logits) = (vec![], vec![], vec![], vec![]);
        let weights: Vec<f64> = self.weights.iter().map(|&w| f64::from(w)).collect();
        let mut space = Workspace::<f64>::new(self.architecture, batch.board);
        let mut heads = Gradient::new(&space);
        let mut sums = LossSums::default();
        let share = |count: usize| 1.0 / count.max(1) as f64;
        for chunk in space.chunks(n) {
            let part = |from: &[f64], width: usize| from[chunk.start * width..chunk.end * width].to_vec();
            let len = chunk.len();
            space.head[..len * cells * HEAD].copy_from_slice(&part(&head, cells * HEAD));
            space.kinds[..len * KINDS].copy_from_slice(&part(&kinds, KINDS));
            space.value[..len * SEATS_MAX].copy_from_slice(&part(&value, SEATS_MAX));
            (0..len).for_each(|i| logits.extend(space.logits(&weights, batch, &chunk, i)));
            let per = (share(batch.policies()), share(n));
            sums = sums + space.losses(&weights, batch, &chunk, Some((&mut heads, per.0, per.1)));
            dhead.extend_from_slice(&heads.head[..len * cells * HEAD]);
            dkinds.extend_from_slice(&heads.kinds[..len * KINDS]);
            dvalue.extend_from_slice(&heads.value[..len * SEATS_MAX]);
        }
        for span in [layout.policy_pairs, layout.policy_rays] {
            span.of_mut(&mut gradient).copy_from_slice(span.of(&heads.weights));
        }

        let mut put = |span: Span, values: Vec<f64>| span.of_mut(&mut gradient).copy_from_slice(&values);
        put(layout.value_w2, dense_weights(&hidden, VALUE_HIDDEN, &dvalue, SEATS_MAX));
        put(layout.value_b2, sums_of(&dvalue, SEATS_MAX));
        let mut dhidden = dense_back(&dvalue, SEATS_MAX, &w2, VALUE_HIDDEN);
        mask(&mut dhidden, &sides.hidden);
        put(layout.value_w1, dense_weights(pooled, 2 * c, &dhidden, VALUE_HIDDEN));
        put(layout.value_b1, sums_of(&dhidden, VALUE_HIDDEN));
        put(layout.policy_kinds_w, dense_weights(pooled, 2 * c, &dkinds, KINDS));
        put(layout.policy_kinds_b, sums_of(&dkinds, KINDS));
        let by_kinds = dense_back(&dkinds, KINDS, &kw, 2 * c);
        let by_hidden = dense_back(&dhidden, VALUE_HIDDEN, &w1, 2 * c);
        let dpooled: Vec<f64> = by_kinds.iter().zip(&by_hidden).map(|(a, b)| a + b).collect();

        let dhead = self.round(dhead);
        put(layout.policy_w, dense_weights(x, c, &dhead, HEAD));
        put(layout.policy_b, sums_of(&dhead, HEAD));
        let mut g = dense_back(&dhead, HEAD, &w, c);
        pool_back(&dpooled, &sides.most[last], cells, c, &mut g);
        mask(&mut g, &sides.x[last]);
        let mut g = self.round(g);

        let conv = PlainConv { taps, c };
        for (i, block) in layout.blocks.iter().enumerate().rev() {
            let (x, h) = (&trunk.x[i], &trunk.h[i]);
            put(block.b2, sums_of(&g, c));
            put(block.w2, conv.weights(h, c, &g));
            let mut dh = conv.back(&g, &self.round(self.wide(block.w2)));
            mask(&mut dh, &sides.h[i]);
            let dh = self.round(dh);
            put(block.b1, sums_of(&dh, c));
            put(block.w1, conv.weights(x, c, &dh));
            let mut before = conv.back(&dh, &self.round(self.wide(block.w1)));
            before.iter_mut().zip(&g).for_each(|(d, &g)| *d += g);
            if block.pool.len > 0 {
                let by_board = board_sums(&dh, cells, c);
                put(block.pool, dense_weights(&trunk.pooled[i], 2 * c, &by_board, c));
                let dpooled = dense_back(&by_board, c, &self.wide(block.pool), 2 * c);
                pool_back(&dpooled, &sides.most[i], cells, c, &mut before);
            }
            mask(&mut before, &sides.x[i]);
            g = self.round(before);
        }
        put(layout.stem_b, sums_of(&g, c));
        put(layout.stem_w, conv.weights(&wide(&batch.planes), CHANNELS, &g));
        put(layout.stem_globals, dense_weights(&wide(&batch.globals), GLOBALS, &board_sums(&g, cells, c), c));
        Pass { loss: Loss::of(sums), gradient, sides, x: trunk.x[last].clone(), logits, value }
    }

    fn forward(
        &self,
        layout: &Layout,
        taps: &'static Taps,
        batch: &Batch,
        forced: Option<&Sides>,
        sides: &mut Sides,
    ) -> Trunk {
        let (c, cells) = (self.architecture.width(), taps.cells);
        let conv = PlainConv { taps, c };
        let (mut xs, mut hs, mut pools) = (Vec::new(), Vec::new(), Vec::new());
        let mut x = conv.forward(&wide(&batch.planes), CHANNELS, &self.round(self.wide(layout.stem_w)));
        let by_board = dense(&wide(&batch.globals), GLOBALS, &self.wide(layout.stem_globals), None, c);
        add_biases(&mut x, &self.wide(layout.stem_b), Some(&by_board), cells);
        sides.x.push(relu(&mut x, forced.map(|f| f.x[0].as_slice())));
        let mut x = self.round(x);
        for (i, block) in layout.blocks.iter().enumerate() {
            let (most, pooled) = match block.pool.len {
                0 => Default::default(),
                _ => pool(&x, cells, c, forced.map(|f| f.most[i].as_slice())),
            };
            let mut h = conv.forward(&x, c, &self.round(self.wide(block.w1)));
            let by_board =
                (block.pool.len > 0).then(|| dense(&pooled, 2 * c, &self.wide(block.pool), None, c));
            add_biases(&mut h, &self.wide(block.b1), by_board.as_deref(), cells);
            sides.h.push(relu(&mut h, forced.map(|f| f.h[i].as_slice())));
            let h = self.round(h);
            let mut y = conv.forward(&h, c, &self.round(self.wide(block.w2)));
            add_biases(&mut y, &self.wide(block.b2), None, cells);
            y.iter_mut().zip(&x).for_each(|(y, &x)| *y += x);
            sides.x.push(relu(&mut y, forced.map(|f| f.x[i + 1].as_slice())));
            sides.most.push(most);
            xs.push(x);
            hs.push(h);
            pools.push(pooled);
            x = self.round(y);
        }
        let (most, pooled) = pool(&x, cells, c, forced.map(|f| f.most[layout.blocks.len()].as_slice()));
        sides.most.push(most);
        xs.push(x);
        pools.push(pooled);
        Trunk { x: xs, h: hs, pooled: pools }
    }
}
