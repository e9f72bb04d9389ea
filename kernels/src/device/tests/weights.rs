//! Derivatives by weights of the largest and the smallest numbers, and of what is none.

use crate::device::array::Array;
use crate::device::kernel::WIDTHS;
use crate::device::ops::weights_back::partial_len;
use crate::device::ops::{ConvShape, Ops};
use crate::device::tests::conv::graph;
use crate::device::tests::emulated::Emulated;
use crate::device::tests::plain::{PlainConv, wide};
use crate::device::tests::{Exact, bf16, numbers, under_schedules};
use crate::encoding::taps::Taps;

/// Inputs of every convolution here, and how many boards there are.
const K: usize = 16;
const BOARDS: usize = 4;

struct Case {
    taps: Taps,
    shape: ConvShape,
    n: usize,
    x: Vec<f32>,
    dy: Vec<f32>,
}

impl Case {
    /// Numbers between -1 and 1 times the scales, of which every sum is exact in f32.
    fn new(n: usize, (of_x, of_dy): (f32, f32)) -> Self {
        let taps = graph(33, 3);
        let shape = ConvShape::new(&taps, BOARDS);
        let scaled = |len, seed, scale: f32| numbers(len, seed).iter().map(|v| v * scale).collect();
        let (x, dy) = (scaled(shape.rows() * K, 1, of_x), scaled(shape.rows() * n, 2, of_dy));
        Self { taps, shape, n, x, dy }
    }

    /// By definition, `[taps, K, n]`.
    fn expected(&self) -> Vec<f32> {
        let dw = PlainConv { taps: &self.taps, c: self.n }.weights(&wide(&self.x), K, &wide(&self.dy));
        dw.into_iter().map(|v| v as f32).collect()
    }

    fn run(&self, device: &Emulated) -> Vec<f32> {
        let upload = |values: &[f32]| Array::from_slice(device, &bf16(values)).unwrap();
        let (x, dy) = (upload(&self.x), upload(&self.dy));
        let sources = Array::from_slice(device, &self.taps.sources).unwrap();
        let count = self.taps.taps * K * self.n;
        let partial = Exact::<f32>::new(device, partial_len(self.shape, (K, self.n)));
        let dw = Exact::<f32>::new(device, count);
        let sizes = (K, self.n, self.n);
        Ops(device).weights_back(&x, &dy, &sources, &partial.0, (&dw.0, 0), self.shape, sizes).unwrap();
        dw.read(device)
    }
}

#[test]
fn of_huge_and_tiny_numbers() {
    let power = |exponent: i32| 2f32.powi(exponent);
    for n in WIDTHS {
        for scales in [(power(110), power(8)), (power(-100), power(-10)), (power(120), power(-120))] {
            let case = Case::new(n, scales);
            let want = case.expected();
            assert!(want.iter().all(|d| d.is_finite()) && want.iter().any(|d| *d != 0.0));
            under_schedules(|device| {
                assert!(case.run(device) == want, "width {n}, scales {scales:?}, seed {}", device.seed());
            });
        }
    }
}

/// An input that is none comes into the derivatives of its channel, by the taps that read it; a derivative of
/// an output that is none into those of its column, by every tap.
#[test]
fn of_what_is_not_finite() {
    for (n, odd) in WIDTHS.into_iter().zip([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::INFINITY]) {
        let sound = Case::new(n, (1.0, 1.0)).expected();
        let mut inputs = Case::new(n, (1.0, 1.0));
        inputs.x[40 * K + 3] = odd;
        let want = inputs.expected();
        let mut outputs = Case::new(n, (1.0, 1.0));
        outputs.dy[50 * n + n - 2] = odd;
        assert!(want.iter().any(|d| !d.is_finite()) && want.iter().any(|d| d.is_finite()));
        under_schedules(|device| {
            for (i, (got, &want)) in inputs.run(device).into_iter().zip(&want).enumerate() {
                assert!(got == want || (got.is_nan() && want.is_nan()), "{i}: {got} but {want}");
            }
            let want = outputs.expected();
            for (i, got) in outputs.run(device).into_iter().enumerate() {
                let beside = i % n != n - 2;
                assert!(beside || want[i].is_finite() || !got.is_finite(), "{i}: {got} but {}", want[i]);
                assert!(!beside || got == sound[i], "{i}: {got} but {}", sound[i]);
            }
        });
    }
}
