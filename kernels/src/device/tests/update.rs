//! From partial sums to new weights: sums over splits, the norm and its clipping, AdamW, the packed head.

use crate::device::array::{Array, Bf16};
use crate::device::ops::optimizer::{AdamRates, AdamState, norm_blocks};
use crate::device::ops::{HEAD_COLUMNS, Ops};
use crate::device::tests::emulated::Emulated;
use crate::device::tests::{Exact, Inside, assert_close, bf16, f32s, numbers, under_schedules};
use crate::network::architecture::HEAD;
use crate::training::optimizer::{BETA1, BETA2};

const RATES: AdamRates = AdamRates {
    rate: 0.003,
    weight_decay: 0.02,
    first_correction: 0.271,
    second_correction: 0.142_625,
    keep: 0.9,
};

#[test]
fn splits_are_summed_and_padding_is_left_out() {
    for (splits, rows, n, columns) in
        [(0, 3, 5, 5), (1, 1, 1, 1), (3, 31, 96, 84), (64, 33, 4, 3), (5, 65, 7, 7), (2, 128, 1, 1)]
    {
        let count = rows * n;
        let partial = numbers(splits * count, 2);
        let sum = |i: usize| (0..splits).map(|split| f64::from(partial[split * count + i])).sum::<f64>();
        let want: Vec<f32> = (0..count).filter(|i| i % n < columns).map(|i| sum(i) as f32).collect();
        under_schedules(|device| {
            let partial = Array::from_slice(device, &partial).unwrap();
            let out = Inside::new(device, rows * columns);
            Ops(device).sum_partials(&partial, out.part(), splits, (count, n, columns)).unwrap();
            assert_close(&format!("{splits} splits"), &out.read(device), &want, 1e-6, 1e-6);
        });
    }
}

/// What clipping multiplies by, and whether the gradient is finite.
fn scale_of(device: &Emulated, gradient: &[f32], clip: f32) -> [f32; 2] {
    let squares = Exact::<f64>::new(device, norm_blocks(gradient.len()));
    let scale = Exact::<f32>::new(device, 2);
    let gradient = Array::from_slice(device, gradient).unwrap();
    Ops(device).scale(&gradient, &squares.0, &scale.0, clip).unwrap();
    scale.read(device).try_into().unwrap()
}

#[test]
fn a_long_gradient_is_shortened_to_the_clip() {
    for len in [1, 31, 33, 65, 127, 8191, 8192, 8193, 40_000] {
        for magnitude in [1e-3, 1.0, 1e30, 1e-30] {
            let gradient: Vec<f32> = numbers(len, 3).iter().map(|v| v * magnitude).collect();
            let norm = gradient.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            for clip in [1.0f32, 1e-5] {
                let want = (f64::from(clip) / norm.max(f64::MIN_POSITIVE)).min(1.0) as f32;
                under_schedules(|device| {
                    let [scale, finite] = scale_of(device, &gradient, clip);
                    assert_close(&format!("{len}, {magnitude}"), &[scale], &[want], 0.0, 1e-6);
                    assert_eq!(finite, 1.0);
                });
            }
        }
    }
}

#[test]
fn nothing_is_not_shortened_and_no_number_is_found() {
    under_schedules(|device| {
        assert_eq!(scale_of(device, &[0.0; 300], 1.0), [1.0, 1.0]);
        // The largest finite gradient: its norm is beyond f32.
        let [scale, finite] = scale_of(device, &[f32::MAX; 300], 1.0);
        assert!(finite == 1.0 && scale > 0.0 && scale < 1e-38, "{scale}");
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 31, 128, 8191, 8192, 8300] {
                let mut gradient = vec![0.5; 8301];
                gradient[at] = odd;
                assert_eq!(scale_of(device, &gradient, 1.0)[1], 0.0, "{odd} at {at}");
            }
        }
    });
}

/// Everything that a step changes.
struct DeviceWeights {
    state: [Exact<f32>; 4],
    weights16: Exact<Bf16>,
}

impl DeviceWeights {
    fn new(device: &Emulated, state: &[Vec<f32>; 4]) -> Self {
        let weights16 = Exact::of(device, &bf16(&state[0]));
        Self { state: std::array::from_fn(|i| Exact::of(device, &state[i])), weights16 }
    }

    /// A step with a gradient multiplied by `scale`.
    fn step(&self, device: &Emulated, gradient: &[f32], decays: &[u8], scale: [f32; 2]) {
        let [weights, average, first, second] = self.state.each_ref().map(|array| &array.0);
        let state = AdamState { weights, weights16: &self.weights16.0, average, first, second };
        let gradient = Array::from_slice(device, gradient).unwrap();
        let decays = Array::from_slice(device, decays).unwrap();
        let scale = Array::from_slice(device, &scale).unwrap();
        Ops(device).adamw(&state, &gradient, &decays, &scale, RATES).unwrap();
    }

    fn read(&self, device: &Emulated) -> ([Vec<f32>; 4], Vec<Bf16>) {
        (self.state.each_ref().map(|array| array.read(device)), self.weights16.read(device))
    }
}

/// AdamW and the average, in f64: weights, average, first and second moment.
fn expected(state: &[Vec<f32>; 4], gradient: &[f32], decays: &[u8], scale: f32) -> [Vec<f32>; 4] {
    let mut new = state.clone();
    for i in 0..gradient.len() {
        let [w, a, m, v] = state.each_ref().map(|values| f64::from(values[i]));
        let g = f64::from(gradient[i] * scale);
        let of = |beta: f32, old: f64, new: f64| f64::from(beta) * old + f64::from(1.0 - beta) * new;
        let (m, v) = (of(BETA1, m, g), of(BETA2, v, g * g));
        let step = (m / f64::from(RATES.first_correction))
            / ((v / f64::from(RATES.second_correction)).sqrt() + f64::from(1e-8f32));
        let decay = if decays[i] == 0 { 0.0 } else { f64::from(RATES.rate * RATES.weight_decay) };
        let w = w - f64::from(RATES.rate) * step - decay * w;
        let values = [w, of(RATES.keep, a, w), m, v];
        new.iter_mut().zip(values).for_each(|(new, value)| new[i] = value as f32);
    }
    new
}

#[test]
fn a_step_is_adamw() {
    for len in [1, 31, 33, 65, 127, 128, 129, 1000] {
        let mut state = [1, 2, 3, 4].map(|seed| numbers(len, seed));
        state[3].iter_mut().for_each(|v| *v = v.abs());
        // Where there was never a derivative, and some that are next to nothing or huge.
        let mut gradient = numbers(len, 5);
        for i in (0..len).step_by(5) {
            (gradient[i], state[2][i], state[3][i]) = (0.0, 0.0, 0.0);
        }
        gradient.iter_mut().skip(1).step_by(5).for_each(|g| *g *= 1e-25);
        gradient.iter_mut().skip(2).step_by(5).for_each(|g| *g *= 1e15);
        let decays: Vec<u8> = (0..len).map(|i| (i / 3 % 2) as u8).collect();
        for scale in [1.0, 0.37] {
            let want = expected(&state, &gradient, &decays, scale);
            under_schedules(|device| {
                let weights = DeviceWeights::new(device, &state);
                weights.step(device, &gradient, &decays, [scale, 1.0]);
                let (got, got16) = weights.read(device);
                for (name, (got, want)) in
                    ["weights", "average", "first", "second"].iter().zip(got.iter().zip(&want))
                {
                    assert_close(&format!("{name} of {len}"), got, want, 1e-7, 2e-6);
                }
                assert_eq!(got16, bf16(&got[0]), "the weights in bf16");
            });
        }
    }
}

#[test]
fn without_a_gradient_only_what_decays_moves() {
    let state = [numbers(65, 1), numbers(65, 2), vec![0.0; 65], vec![0.0; 65]];
    let decays: Vec<u8> = (0..65).map(|i| i % 2).collect();
    under_schedules(|device| {
        let weights = DeviceWeights::new(device, &state);
        weights.step(device, &[0.0; 65], &decays, [1.0, 1.0]);
        let ([got, _, first, second], _) = weights.read(device);
        for (i, (got, before)) in got.iter().zip(&state[0]).enumerate() {
            let share = if decays[i] == 0 { 0.0 } else { RATES.rate * RATES.weight_decay };
            assert_close("decayed", &[*got], &[before * (1.0 - share)], 0.0, 1e-6);
            assert!(decays[i] == 1 || got == before, "{i} does not decay");
        }
        assert!(first.iter().chain(&second).all(|&moment| moment == 0.0));
    });
}

#[test]
fn a_gradient_that_is_not_finite_leaves_every_bit() {
    let state = [1, 2, 3, 4].map(|seed| numbers(1000, seed));
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        under_schedules(|device| {
            let mut gradient = numbers(1000, 5);
            gradient[777] = odd;
            let scale = scale_of(device, &gradient, 1.0);
            let weights = DeviceWeights::new(device, &state);
            weights.step(device, &gradient, &[1; 1000], scale);
            assert_eq!(weights.read(device), (state.clone(), bf16(&state[0])));
        });
    }
}

#[test]
fn the_head_is_packed_to_the_bit() {
    for width in [32, 64, 96, 128] {
        let mut w: Vec<f32> = numbers(width * HEAD, 1).iter().map(|v| v * 1.0037).collect();
        (w[0], w[1], w[2]) = (f32::NAN, f32::MAX, 1e-40);
        let bias: Vec<f32> = numbers(HEAD, 2).iter().map(|v| v * 1.0037).collect();
        let rows: Vec<f32> =
            w.chunks_exact(HEAD).flat_map(|row| [row, &[0.0; HEAD_COLUMNS - HEAD]].concat()).collect();
        let mut padded = bias.clone();
        padded.resize(HEAD_COLUMNS, 0.0);
        under_schedules(|device| {
            let (w, bias) = (Exact::of(device, &w), Exact::of(device, &bias));
            let head16 = Exact::<Bf16>::new(device, width * HEAD_COLUMNS);
            let head_bias = Exact::<f32>::new(device, HEAD_COLUMNS);
            let out = (&head16.0, &head_bias.0);
            Ops(device).pack_head((&w.0, 0), (&bias.0, 0), out.0, out.1, width).unwrap();
            assert_eq!(head16.read(device), bf16(&rows));
            assert_eq!(head_bias.read(device), padded);
            assert!(f32s(&head16.read(device))[0].is_nan());
        });
    }
}
