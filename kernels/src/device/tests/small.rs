//! Expansion, pooling, sums, small layers and their derivatives.

use crate::device::array::{Array, Bf16};
use crate::device::forward::DeviceSpace;
use crate::device::ops::dense::dense_partial_len;
use crate::device::ops::{ConvShape, Ops};
use crate::device::tests::plain::{self, narrow, wide};
use crate::device::tests::{Exact, Inside, assert_close, bf16, f32s, numbers, samples, under_schedules};
use crate::encoding::planes::{CHANNELS, GLOBALS};
use crate::network::architecture::Architecture;
use crate::network::conv;
use rules::{Config, with_board};

#[test]
fn expansion_is_encoding_bit_for_bit() {
    for config in Config::all() {
        let (batch, packed) = with_board!(config.board, T => samples::<T>(config.seats, 7));
        let positions = packed.packed.unwrap();
        under_schedules(|device| {
            let architecture = Architecture::small(config.board);
            let mut space = DeviceSpace::new(device, architecture, config.board, 9, false).unwrap();
            space.load(device, &positions).unwrap();
            let planes = space.planes.read(device, batch.planes.len()).unwrap();
            assert_eq!(batch.planes.len(), 7 * config.board.cells() * CHANNELS);
            assert_eq!(f32s(&planes), batch.planes, "{config}");
            assert_eq!(space.globals.read(device, 7 * GLOBALS).unwrap(), batch.globals, "{config}");
        });
    }
}

/// Odd numbers of boards, cells and channels, around a warp and a block; the boards that there are.
const POOLS: [(usize, usize, usize); 8] = [
    (1, 1, 1),
    (3, 31, 33),
    (5, 33, 65),
    (2, 64, 127),
    (1, 61, 32),
    (3, 64, 96),
    (1, 361, 128),
    (1, 469, 31),
];

/// Means, maxima and where those are, of what is made for each element.
fn check_pool((boards, cells, width): (usize, usize, usize), x: &[f32]) {
    let shape = ConvShape { boards, cells, taps: 1, reach: 0 };
    let mut want = vec![0.0; boards * 2 * width];
    conv::pool(x, cells, width, &mut want);
    under_schedules(|device| {
        let (x16, ops) = (Array::from_slice(device, &bf16(x)).unwrap(), Ops(device));
        let pooled = Exact::<f32>::new(device, want.len());
        let most = Exact::<u16>::new(device, boards * width);
        ops.pool(&x16, &pooled.0, Some(&most.0), shape, width).unwrap();
        let got = pooled.read(device);
        assert_close("pooled", &got, &want, 1e-6, 1e-5);
        for (i, most) in most.read(device).into_iter().enumerate() {
            let (board, channel) = (i / width, i % width);
            let at = |cell: usize| x[(board * cells + cell) * width + channel];
            let maximum = want[board * 2 * width + width + channel];
            assert_eq!(got[board * 2 * width + width + channel], maximum, "a maximum is exact");
            let first = (0..cells).find(|&cell| at(cell) == maximum);
            assert_eq!(Some(usize::from(most)), first);
        }
        // Where nobody asks for the cells.
        ops.pool(&x16, &pooled.0, None, shape, width).unwrap();
        assert_eq!(pooled.read(device), got);
    });
}

#[test]
fn pools_agree_with_the_definition() {
    for sizes in POOLS {
        let (boards, cells, width) = sizes;
        check_pool(sizes, &numbers(boards * cells * width, 4));
    }
}

#[test]
fn of_equal_maxima_the_first_counts() {
    for value in [0.0, 1.5, -2.0, 3e36] {
        check_pool((3, 61, 33), &vec![f32s(&bf16(&[value]))[0]; 3 * 61 * 33]);
    }
    // The same maximum twice, at the ends.
    let mut x = numbers(61 * 33, 4);
    x[..33].fill(2.0);
    x[60 * 33..].fill(2.0);
    check_pool((1, 61, 33), &x);
    x[..33].fill(1.0);
    check_pool((1, 61, 33), &x);
}

#[test]
fn sums_and_the_way_back_from_a_pool_agree_with_the_definition() {
    for (boards, cells, width) in POOLS {
        for scale in [1.0, 2f32.powi(100), 2f32.powi(-100)] {
            let shape = ConvShape { boards, cells, taps: 1, reach: 0 };
            let scaled = |len, seed| numbers(len, seed).iter().map(|v| v * scale).collect::<Vec<f32>>();
            let (x, dpooled) = (scaled(boards * cells * width, 4), scaled(boards * 2 * width, 5));
            let sums = narrow(&plain::board_sums(&wide(&x), cells, width));
            let halves = |half: usize| -> Vec<f32> {
                dpooled.chunks_exact(2 * width).flat_map(|d| &d[half * width..][..width]).copied().collect()
            };
            let to_all: Vec<f32> = halves(0).into_iter().map(|d| d / cells as f32).collect();
            under_schedules(|device| {
                let ops = Ops(device);
                let got = Exact::<f32>::new(device, boards * width);
                ops.board_sums(&Exact::of(device, &bf16(&x)).0, &got.0, shape, width).unwrap();
                assert_close("sums", &got.read(device), &sums, 1e-4 * scale, 1e-5);
                let (all, most) =
                    (Exact::<f32>::new(device, boards * width), Exact::<f32>::new(device, boards * width));
                ops.pool_back(&Exact::of(device, &dpooled).0, (&all.0, &most.0), shape, width).unwrap();
                assert_close("to all", &all.read(device), &to_all, 1e-7 * scale, 1e-6);
                assert_eq!(most.read(device), halves(1));
            });
        }
    }
}

/// Sums of what is too large, infinite or no number: none is hidden, and
/// none comes into another channel or board.
#[test]
fn sums_of_what_is_not_finite_are_not() {
    let (boards, cells, width) = (3, 61, 33);
    let shape = ConvShape { boards, cells, taps: 1, reach: 0 };
    let mut x = numbers(boards * cells * width, 4);
    let mut put = |board: usize, cell: usize, channel: usize, value: f32| {
        x[(board * cells + cell) * width + channel] = value;
    };
    put(0, 7, 3, f32::INFINITY);
    put(0, 60, 4, f32::NEG_INFINITY);
    put(1, 0, 32, f32::NAN);
    put(2, 1, 0, f32::INFINITY);
    put(2, 2, 0, f32::NEG_INFINITY);
    (0..cells).for_each(|cell| put(2, cell, 31, 3e38));
    let want = narrow(&plain::board_sums(&wide(&f32s(&bf16(&x))), cells, width));
    assert_eq!(want.iter().filter(|sum| !sum.is_finite()).count(), 5);
    under_schedules(|device| {
        let sums = Exact::<f32>::new(device, boards * width);
        Ops(device).board_sums(&Exact::of(device, &bf16(&x)).0, &sums.0, shape, width).unwrap();
        for (i, (got, &want)) in sums.read(device).into_iter().zip(&want).enumerate() {
            let same = (got.is_nan() && want.is_nan()) || got == want || (got - want).abs() <= 1e-4;
            assert!(same, "{i}: {got} but {want}");
        }
    });
}

#[test]
fn sums_of_columns_agree_with_the_definition() {
    for (rows, width, columns) in [
        (0, 3, 3),
        (1, 1, 1),
        (31, 27, 27),
        (33, 4, 4),
        (65, 96, 84),
        (127, 33, 1),
        (129, 2, 2),
        (1000, 5, 5),
    ] {
        let x = numbers(rows * width, 6);
        let want = narrow(&plain::sums_of(&wide(&x), width)[..columns]);
        under_schedules(|device| {
            let (x, sums) = (Exact::of(device, &x), Inside::new(device, columns));
            Ops(device).column_sums(&x.0, sums.part(), (rows, width, columns)).unwrap();
            assert_close("column sums", &sums.read(device), &want, 1e-4, 1e-5);
        });
    }
}

/// Rows, inputs, outputs.
const LAYERS: [(usize, usize, usize); 8] =
    [(1, 1, 1), (3, 64, 27), (130, 5, 4), (31, 33, 65), (65, 31, 1), (1, 256, 64), (33, 1, 129), (515, 7, 3)];

#[test]
fn small_layers_agree_with_the_definition() {
    for (rows, inputs, outputs) in LAYERS {
        for scale in [1.0, 1e15, 1e-15] {
            let scaled = |len, seed| numbers(len, seed).iter().map(|v| v * scale).collect::<Vec<f32>>();
            let (x, bias) = (scaled(rows * inputs, 1), scaled(outputs, 3));
            let w = numbers(inputs * outputs, 2);
            for (with_bias, relu) in [(false, false), (true, false), (true, true)] {
                let added = with_bias.then(|| wide(&bias));
                let mut want = plain::dense(&wide(&x), inputs, &wide(&w), added.as_deref(), outputs);
                if relu {
                    plain::relu(&mut want, None);
                }
                let want = narrow(&want);
                under_schedules(|device| {
                    let (x, w, bias) =
                        (Exact::of(device, &x), Exact::of(device, &w), Exact::of(device, &bias));
                    let y = Exact::<f32>::new(device, rows * outputs);
                    let part = with_bias.then_some((&bias.0, 0));
                    Ops(device).dense(&x.0, (&w.0, 0), part, &y.0, (rows, inputs, outputs), relu).unwrap();
                    assert_close("dense", &y.read(device), &want, 2e-5 * scale, 1e-5);
                });
            }
        }
    }
}

#[test]
fn derivatives_of_small_layers_agree_with_the_definition() {
    for (rows, inputs, outputs) in LAYERS {
        let (x, dy) = (numbers(rows * inputs, 1), numbers(rows * outputs, 2));
        let (w, mask, before) =
            (numbers(inputs * outputs, 3), numbers(rows * inputs, 4), numbers(rows * inputs, 5));
        let by_x = plain::dense_back(&wide(&dy), outputs, &wide(&w), inputs);
        let dw = narrow(&plain::dense_weights(&wide(&x), inputs, &wide(&dy), outputs));
        let db = narrow(&plain::sums_of(&wide(&dy), outputs));
        under_schedules(|device| {
            let ops = Ops(device);
            let (x, dy_on, w) = (Exact::of(device, &x), Exact::of(device, &dy), Exact::of(device, &w));
            let mask_on = Exact::of(device, &mask);
            let sizes = (rows, inputs, outputs);
            for (masked, add) in [(false, false), (true, false), (false, true), (true, true)] {
                let dx = if add { Exact::of(device, &before) } else { Exact::new(device, rows * inputs) };
                let given = masked.then_some(&mask_on.0);
                ops.dense_back(&dy_on.0, (&w.0, 0), given, &dx.0, sizes, add).unwrap();
                let want: Vec<f32> = (0..rows * inputs)
                    .map(|i| (by_x[i] + if add { f64::from(before[i]) } else { 0.0 }) as f32)
                    .zip(&mask)
                    .map(|(d, &m)| if masked && m <= 0.0 { 0.0 } else { d })
                    .collect();
                assert_close("dx", &dx.read(device), &want, 2e-5, 1e-5);
            }
            let out = Inside::new(device, inputs * outputs);
            let partial = Exact::<f32>::new(device, dense_partial_len(sizes));
            ops.dense_weights(Some(&x.0), &dy_on.0, &partial.0, out.part(), sizes).unwrap();
            assert_close("dw", &out.read(device), &dw, 2e-5, 1e-5);
            let out = Inside::new(device, outputs);
            ops.dense_weights(None, &dy_on.0, &partial.0, out.part(), (rows, 1, outputs)).unwrap();
            assert_close("db", &out.read(device), &db, 2e-5, 1e-5);
        });
    }
}

#[test]
fn unwritten_memory_is_no_number() {
    under_schedules(|device| {
        let array = Array::<_, Bf16>::new(device, 3).unwrap();
        assert!(array.read(device, 3).unwrap().iter().all(|value| value.to_f32().is_nan()));
    });
}
