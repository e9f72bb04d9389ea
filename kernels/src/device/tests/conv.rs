//! Convolution and its derivative, with everything that can come after them.

use super::{assert_close, bf16, f32s, numbers, sources, under_schedules};
use crate::conv::{self, Conv};
use crate::device::ops::{After, Ops, Shape};
use crate::device::ops_back::splits_max;
use crate::device::{Array, Bf16};
use crate::taps::Taps;
use rules::Board;

/// The product alone, in f64.
fn expected(board: Board, x: &[f32], w: &[f32], rows: usize, (k, n): (usize, usize), back: bool) -> Vec<f32> {
    let taps = Taps::of(board);
    let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let (x, mut w, mut y) = (wide(x), wide(w), vec![0.0; rows * n]);
    if back {
        let mut transposed = vec![0.0; w.len()];
        conv::transpose(taps, &w, n, k, &mut transposed);
        w = transposed;
    }
    Conv { taps, rows, gathered: &mut Vec::new() }.forward(&x, k, &w, n, &mut y, false);
    y.into_iter().map(|v| v as f32).collect()
}

fn check(board: Board, boards: usize, (k, n): (usize, usize), scale: f32) {
    let taps = Taps::of(board);
    let shape = Shape { boards, cells: taps.cells, taps: taps.taps };
    let rows = shape.rows();
    let scaled = |values: Vec<f32>| values.into_iter().map(|v| v * scale).collect::<Vec<_>>();
    let (x, w) = (scaled(numbers(rows * k, 1)), numbers(taps.taps * k * n, 2));
    let (bias, by_board) = (scaled(numbers(n, 3)), scaled(numbers(boards * n, 4)));
    let residual = scaled(numbers(rows * n, 5));
    let (mask, at_most) = (numbers(rows * n, 6), scaled(numbers(boards * n, 7)));
    let most: Vec<u16> = (0..boards * n).map(|i| (i * 7 % taps.cells) as u16).collect();
    let absolute = scale * 1e-4 * (taps.taps * k) as f32;
    for back in [false, true] {
        let plain = expected(board, &x, &w, rows, (k, n), back);
        let finished = |i: usize, relu: bool| {
            let (board, column) = (i / n / taps.cells, i % n);
            let mut v = plain[i] + bias[column] + by_board[board * n + column] + residual[i];
            if usize::from(most[board * n + column]) == i / n % taps.cells {
                v += at_most[board * n + column];
            }
            v = if relu { v.max(0.0) } else { v };
            if mask[i] > 0.0 { v } else { 0.0 }
        };
        under_schedules(|device| {
            let upload = |values: &[f32]| Array::from_slice(device, values).unwrap();
            let upload16 = |values: &[f32]| Array::from_slice(device, &bf16(values)).unwrap();
            let (x, w, sources) = (upload16(&x), upload16(&w), sources(device, board));
            let y = Array::<_, Bf16>::new(device, rows * n).unwrap();
            let y32 = Array::<_, f32>::new(device, rows * n).unwrap();
            let (bias, by_board) = (upload(&bias), upload(&by_board));
            let (residual, mask, at_most) = (upload16(&residual), upload16(&mask), upload(&at_most));
            let most = Array::from_slice(device, &most).unwrap();
            let launch = |after: &After<'_, _>| {
                let ops = Ops(device);
                let operands = (&x, (&w, 0), &sources, shape, (k, n));
                let (x, w, sources, shape, widths) = operands;
                if back {
                    ops.conv_back(x, w, sources, shape, widths, after).unwrap();
                } else {
                    ops.conv(x, w, sources, shape, widths, after).unwrap();
                }
            };
            let what = |what: &str| format!("{what} of {boards} {board}, {k} to {n}, seed {}", device.seed());
            launch(&After { y32: Some(&y32), ..After::default() });
            assert_close(&what("plain"), &y32.read(device, rows * n).unwrap(), &plain, absolute, 1e-6);
            for relu in [false, true] {
                launch(&After {
                    y: Some(&y),
                    bias: Some((&bias, 0)),
                    by_board: Some(&by_board),
                    residual: Some(&residual),
                    mask: Some(&mask),
                    most: Some((&most, &at_most)),
                    relu,
                    ..After::default()
                });
                let want: Vec<f32> = (0..rows * n).map(|i| finished(i, relu)).collect();
                let got = f32s(&y.read(device, rows * n).unwrap());
                assert_close(&what("finished"), &got, &want, absolute, 1.0 / 250.0);
            }
        });
    }
}

#[test]
fn narrow_on_every_board_and_odd_batches() {
    for (board, boards) in
        [(Board::Hex8, 5), (Board::Square8, 3), (Board::Hexagonal, 1), (Board::Square19, 1)]
    {
        check(board, boards, (16, 32), 1.0);
    }
}

#[test]
fn the_stem_and_the_widths() {
    check(Board::Hex8, 1, (48, 64), 1.0);
    check(Board::Square8, 1, (48, 96), 1.0);
    check(Board::Hex8, 1, (64, 128), 1.0);
}

#[test]
fn huge_and_tiny_numbers() {
    for scale in [2f32.powi(100), 2f32.powi(-100)] {
        check(Board::Hex8, 1, (32, 32), scale);
    }
}

/// The derivative by the weights, which is split over the rows, with the last columns left out.
fn check_weights(board: Board, boards: usize, (k, n, columns): (usize, usize, usize)) {
    let taps = Taps::of(board);
    let shape = Shape { boards, cells: taps.cells, taps: taps.taps };
    let rows = shape.rows();
    let (x, dy) = (numbers(rows * k, 1), numbers(rows * n, 2));
    let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let mut dw = vec![0.0; taps.taps * k * n];
    let mut conv = Conv { taps, rows, gathered: &mut Vec::new() };
    conv.backward_weights(&wide(&x), k, &wide(&dy), n, &mut dw);
    let kept = dw.chunks_exact(n).flat_map(|row| &row[..columns]);
    let want: Vec<f32> = kept.map(|&v| v as f32).collect();
    under_schedules(|device| {
        let upload = |values: &[f32]| Array::from_slice(device, &bf16(values)).unwrap();
        let (x, dy, sources) = (upload(&x), upload(&dy), sources(device, board));
        let partial = Array::<_, f32>::new(device, splits_max(rows) * taps.taps * k * n).unwrap();
        let dw = Array::<_, f32>::new(device, want.len()).unwrap();
        let sizes = (k, n, columns);
        Ops(device).weights_back(&x, &dy, &sources, &partial, (&dw, 0), shape, sizes).unwrap();
        let what = format!("{boards} {board}, {k} by {n}, seed {}", device.seed());
        let got = dw.read(device, want.len()).unwrap();
        assert_close(&what, &got, &want, 1e-5 * rows as f32, 1e-5);
    });
}

#[test]
fn derivatives_by_weights() {
    check_weights(Board::Hex8, 17, (32, 32, 32)); // two splits
    check_weights(Board::Square8, 1, (48, 64, 64));
    check_weights(Board::Hex8, 1, (96, 96, 84));
    check_weights(Board::Hex8, 1, (128, 128, 128));
    check_weights(Board::Square19, 1, (16, 32, 32));
}
