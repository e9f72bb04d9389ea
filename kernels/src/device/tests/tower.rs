//! The fused tower of every width on odd graphs, a stem and a block
//! that pools, against the rounded reference.

use crate::device::array::{Array, Bf16};
use crate::device::kernel::WIDTHS;
use crate::device::ops::tower::NO_TENSOR;
use crate::device::ops::{ConvShape, Ops};
use crate::device::tests::conv::graph;
use crate::device::tests::emulated::Emulated;
use crate::device::tests::plain::{PlainConv, add_biases, dense, narrow, pool, relu, round, wide};
use crate::device::tests::{Exact, assert_close, assert_similar, bf16, f32s, numbers, under_schedules};
use crate::encoding::planes::{CHANNELS, GLOBALS};
use crate::encoding::taps::Taps;
use rules::Board;

/// Where the tensors of a stem and blocks begin, three for each layer,
/// and how long they are; see `cuda/tower.cu`.
struct Layers {
    starts: Vec<u32>,
    lens: Vec<usize>,
    total: usize,
}

fn layers(taps: usize, c: usize, pools: &[bool]) -> Layers {
    let mut layers = Layers { starts: Vec::new(), lens: Vec::new(), total: 0 };
    let mut add = |len: usize| {
        layers.starts.push(if len == 0 { NO_TENSOR } else { layers.total as u32 });
        layers.lens.push(len);
        layers.total += len;
    };
    for len in [taps * CHANNELS * c, c, GLOBALS * c] {
        add(len);
    }
    for &pools in pools {
        for len in [taps * c * c, c, if pools { 2 * c * c } else { 0 }, taps * c * c, c, 0] {
            add(len);
        }
    }
    layers
}

struct Case {
    layers: Layers,
    weights: Vec<f32>,
    planes: Vec<f32>,
    globals: Vec<f32>,
}

impl Case {
    /// Inputs and biases are `scale` times as large as they might be, and so are all activations.
    fn new(taps: &Taps, boards: usize, c: usize, pools: &[bool], scale: f32) -> Self {
        let layers = layers(taps.taps, c, pools);
        // As large as keeps activations near one.
        let deviation = (3.0 / (taps.taps * c) as f32).sqrt();
        let mut weights: Vec<f32> = numbers(layers.total, 1).iter().map(|w| w * deviation).collect();
        for (&start, &len) in layers.starts.iter().zip(&layers.lens).skip(1).step_by(3) {
            weights[start as usize..][..len].iter_mut().for_each(|bias| *bias *= scale);
        }
        let scaled = |values: Vec<f32>| values.into_iter().map(|v| v * scale).collect();
        Self {
            layers,
            weights,
            planes: scaled(numbers(boards * taps.cells * CHANNELS, 2)),
            globals: scaled(numbers(boards * GLOBALS, 3)),
        }
    }

    /// The trunk and what is pooled of it, by a device.
    fn run(&self, device: &Emulated, taps: &Taps, shape: ConvShape, c: usize) -> (Vec<f32>, Vec<f32>) {
        let (planes, globals) = (Exact::of(device, &bf16(&self.planes)), Exact::of(device, &self.globals));
        let (all16, all32) = (Exact::of(device, &bf16(&self.weights)), Exact::of(device, &self.weights));
        let layers = Array::from_slice(device, &self.layers.starts).unwrap();
        let sources = Array::from_slice(device, &taps.sources).unwrap();
        let x = Exact::<Bf16>::new(device, shape.rows() * c);
        let pooled = Exact::<f32>::new(device, shape.boards * 2 * c);
        let weights = (&all16.0, &all32.0);
        let out = (&x.0, &pooled.0);
        Ops(device).tower(&planes.0, &globals.0, weights, &layers, &sources, out, shape, c).unwrap();
        (f32s(&x.read(device)), pooled.read(device))
    }

    fn tensor(&self, i: usize) -> Vec<f64> {
        wide(&self.weights[self.layers.starts[i] as usize..][..self.layers.lens[i]])
    }

    fn rounded(&self, i: usize) -> Vec<f64> {
        let mut tensor = self.tensor(i);
        tensor.iter_mut().for_each(round);
        tensor
    }

    /// The trunk, its means and maxima.
    fn expected(&self, taps: &Taps, c: usize) -> (Vec<f32>, Vec<f32>) {
        let (conv, cells) = (PlainConv { taps, c }, taps.cells);
        let finish = |y: &mut Vec<f64>| {
            relu(y, None);
            y.iter_mut().for_each(round);
        };
        let mut x = conv.forward(&wide(&self.planes), CHANNELS, &self.rounded(0));
        let by_board = dense(&wide(&self.globals), GLOBALS, &self.tensor(2), None, c);
        add_biases(&mut x, &self.tensor(1), Some(&by_board), cells);
        finish(&mut x);
        for i in (3..self.layers.lens.len()).step_by(6) {
            let mut h = conv.forward(&x, c, &self.rounded(i));
            let by_board = (self.layers.lens[i + 2] > 0)
                .then(|| dense(&pool(&x, cells, c, None).1, 2 * c, &self.tensor(i + 2), None, c));
            add_biases(&mut h, &self.tensor(i + 1), by_board.as_deref(), cells);
            finish(&mut h);
            let mut y = conv.forward(&h, c, &self.rounded(i + 3));
            add_biases(&mut y, &self.tensor(i + 4), None, cells);
            y.iter_mut().zip(&x).for_each(|(y, x)| *y += x);
            finish(&mut y);
            x = y;
        }
        let pooled = narrow(&pool(&x, cells, c, None).1);
        (narrow(&x), pooled)
    }
}

fn check(taps: &Taps, boards: usize, c: usize, pools: &[bool], scale: f32) {
    let shape = ConvShape::new(taps, boards);
    let case = Case::new(taps, boards, c, pools, scale);
    // Exact for a scale that is a power of two.
    let unscaled = |values: Vec<f32>| values.into_iter().map(|v| v / scale).collect::<Vec<f32>>();
    let (want, want_pooled) = case.expected(taps, c);
    let (want, want_pooled) = (unscaled(want), unscaled(want_pooled));
    under_schedules(|device| {
        let what = format!("{boards} times {}, width {c}, scale {scale}, seed {}", taps.cells, device.seed());
        let (got, pooled) = case.run(device, taps, shape, c);
        let got = unscaled(got);
        // A tie of the rounding may fall on the other side.
        assert_close(&what, &got, &want, 0.004, 0.01);
        assert_similar(&what, &got, &want, 0.001);
        assert_close(&what, &unscaled(pooled), &want_pooled, 0.004, 0.01);
    });
}

#[test]
fn narrow_towers() {
    for (cells, boards, taps) in [(1, 1, 1), (31, 5, 3), (33, 3, 9), (61, 4, 7), (64, 1, 5)] {
        check(&graph(cells, taps), boards, 32, &[true, false], 1.0);
    }
}

/// A block of the wide ones has two boards, of the others four.
#[test]
fn wide_towers() {
    check(&graph(31, 3), 5, 64, &[false, true], 1.0);
    check(&graph(33, 3), 3, 96, &[true], 1.0);
    check(&graph(61, 3), 3, 128, &[true], 1.0);
}

#[test]
fn wide_towers_on_boards() {
    check(Taps::of(Board::Square8), 1, 64, &[true], 1.0);
    check(Taps::of(Board::Hex8), 1, 96, &[true], 1.0);
    check(Taps::of(Board::Hex8), 1, 128, &[true], 1.0);
}

#[test]
fn huge_and_tiny_numbers() {
    for scale in [2f32.powi(100), 2f32.powi(-100)] {
        for c in WIDTHS {
            check(&graph(31, 3), 3, c, &[true], scale);
        }
    }
}

/// What is no finite number on one board stays there, though blocks have several.
#[test]
fn an_infinite_plane_is_of_its_board_alone() {
    let (taps, boards) = (graph(33, 3), 3);
    let shape = ConvShape::new(&taps, boards);
    for (c, odd) in WIDTHS.into_iter().zip([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX]) {
        let mut case = Case::new(&taps, boards, c, &[true], 1.0);
        let finite = case.run(&Emulated::new(1), &taps, shape, c);
        case.planes[(taps.cells + 5) * CHANNELS..][..CHANNELS].fill(odd);
        under_schedules(|device| {
            let (x, pooled) = case.run(device, &taps, shape, c);
            for (got, of_finite) in [(&x, &finite.0), (&pooled, &finite.1)] {
                let of_board = got.len() / boards;
                for (board, (got, want)) in
                    got.chunks_exact(of_board).zip(of_finite.chunks_exact(of_board)).enumerate()
                {
                    let same = got.iter().zip(want).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert_eq!(same, board != 1, "{odd} on board 1, width {c}, board {board}");
                }
            }
        });
    }
}
