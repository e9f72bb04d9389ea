//! Expansion, pooling, small layers.

use super::{assert_close, bf16, f32s, numbers, samples, under_schedules};
use crate::architecture::Architecture;
use crate::conv;
use crate::device::forward::Space;
use crate::device::ops::{Ops, Shape};
use crate::device::{Array, Bf16};
use crate::encode::{CHANNELS, GLOBALS};
use rules::{Config, with_board};

#[test]
fn expansion_is_encoding_bit_for_bit() {
    for config in Config::all() {
        let (batch, packed) = with_board!(config.board, T => samples::<T>(config.seats, 7));
        let positions = packed.packed.unwrap();
        under_schedules(|device| {
            let architecture = Architecture::small(config.board);
            let mut space = Space::new(device, architecture, config.board, 9, false).unwrap();
            space.load(device, &positions).unwrap();
            let planes = space.planes.read(device, batch.planes.len()).unwrap();
            assert_eq!(batch.planes.len(), 7 * config.board.cells() * CHANNELS);
            assert_eq!(f32s(&planes), batch.planes, "{config}");
            assert_eq!(space.globals.read(device, 7 * GLOBALS).unwrap(), batch.globals, "{config}");
        });
    }
}

#[test]
fn pools_agree_with_the_definition() {
    for (boards, cells, width) in [(1, 61, 32), (3, 64, 96), (2, 361, 128)] {
        let shape = Shape { boards, cells, taps: 1 };
        let x = numbers(boards * cells * width, 4);
        let mut want = vec![0.0; boards * 2 * width];
        conv::pool(&x, cells, width, &mut want);
        under_schedules(|device| {
            let (x16, ops) = (Array::from_slice(device, &bf16(&x)).unwrap(), Ops(device));
            let pooled = Array::<_, f32>::new(device, want.len()).unwrap();
            let most = Array::<_, u16>::new(device, boards * width).unwrap();
            ops.pool(&x16, &pooled, Some(&most), shape, width).unwrap();
            assert_close("pooled", &pooled.read(device, want.len()).unwrap(), &want, 1e-6, 1e-5);
            for (i, most) in most.read(device, boards * width).unwrap().into_iter().enumerate() {
                let (board, channel) = (i / width, i % width);
                let at = |cell: usize| x[(board * cells + cell) * width + channel];
                let first = (0..cells).find(|&cell| at(cell) == want[board * 2 * width + width + channel]);
                assert_eq!(Some(usize::from(most)), first);
            }
        });
    }
}

#[test]
fn small_layers_agree_with_the_definition() {
    for (rows, inputs, outputs) in [(1, 1, 1), (3, 64, 27), (130, 5, 4)] {
        let (x, w, bias) = (numbers(rows * inputs, 1), numbers(inputs * outputs, 2), numbers(outputs, 3));
        let product = |i: usize| -> f32 {
            (0..inputs).map(|k| x[i / outputs * inputs + k] * w[k * outputs + i % outputs]).sum()
        };
        under_schedules(|device| {
            let upload = |values: &[f32]| Array::from_slice(device, values).unwrap();
            let (x, w, bias) = (upload(&x), upload(&w), upload(&bias));
            let y = Array::<_, f32>::new(device, rows * outputs).unwrap();
            let sizes = (rows, inputs, outputs);
            for (with_bias, relu) in [(false, false), (true, true)] {
                let part = with_bias.then_some((&bias, 0));
                Ops(device).dense(&x, (&w, 0), part, &y, sizes, relu).unwrap();
                let bias = bias.read(device, outputs).unwrap();
                let want: Vec<f32> = (0..rows * outputs)
                    .map(|i| product(i) + if with_bias { bias[i % outputs] } else { 0.0 })
                    .map(|v| if relu { v.max(0.0) } else { v })
                    .collect();
                assert_close("dense", &y.read(device, want.len()).unwrap(), &want, 1e-5, 1e-5);
            }
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
