//! Convolution and its derivative, with everything that can come after them.

use crate::device::array::{Array, Bf16};
use crate::device::kernel::WIDTHS;
use crate::device::ops::conv::{ConvWay, Epilogue};
use crate::device::ops::weights_back::partial_len;
use crate::device::ops::{ConvShape, Ops};
use crate::device::tests::plain::{PlainConv, narrow, wide};
use crate::device::tests::{Exact, Inside, assert_close, bf16, f32s, numbers, under_schedules};
use crate::encoding::taps::Taps;
use rules::playout::Choices;
use rules::{Board, NONE_CELL};

/// The product with mirrored taps and weights that are turned round, in f64.
fn expected_back(taps: &Taps, x: &[f32], w: &[f32], rows: usize, (k, n): (usize, usize)) -> Vec<f32> {
    let mut y = vec![0.0; rows * n];
    for (row, y) in y.chunks_exact_mut(n).enumerate() {
        for tap in 0..taps.taps {
            let source = taps.sources[row % taps.cells * taps.taps + tap];
            if source == NONE_CELL {
                continue;
            }
            let x = &x[(row / taps.cells * taps.cells + usize::from(source)) * k..][..k];
            let w = &w[taps.mirror(tap) * k * n..][..k * n];
            for (i, &x) in x.iter().enumerate() {
                y.iter_mut().enumerate().for_each(|(o, y)| *y += f64::from(x) * f64::from(w[o * k + i]));
            }
        }
    }
    narrow(&y)
}

/// Cells that read any others up to 48 away, and often none.
pub(super) fn graph(cells: usize, taps: usize) -> Taps {
    let mut choices = Choices::new(cells as u64);
    let mut source = |cell: usize| {
        let (low, high) = (cell.saturating_sub(48), cells.min(cell + 49));
        if choices.below(4) == 0 { NONE_CELL } else { (low + choices.below(high - low)) as u16 }
    };
    let sources = (0..cells * taps).map(|i| source(i / taps)).collect();
    Taps { cells, taps, sources }
}

/// The numbers are multiples of a 128th, so all sums here are exact in f32,
/// in any order, and so is what is rounded.
fn check(taps: &Taps, boards: usize, (k, n): (usize, usize), scale: f32) {
    let shape = ConvShape::new(taps, boards);
    let rows = shape.rows();
    let scaled = |values: Vec<f32>| values.into_iter().map(|v| v * scale).collect::<Vec<_>>();
    let (x, w) = (scaled(numbers(rows * k, 1)), numbers(taps.taps * k * n, 2));
    let (bias, by_board) = (scaled(numbers(n, 3)), scaled(numbers(boards * n, 4)));
    let residual = scaled(numbers(rows * n, 5));
    let (mask, at_most) = (numbers(rows * n, 6), scaled(numbers(boards * n, 7)));
    let most: Vec<u16> = (0..boards * n).map(|i| (i * 7 % taps.cells) as u16).collect();
    for way in [ConvWay::Forward, ConvWay::Back] {
        let plain = match way {
            ConvWay::Forward => narrow(&PlainConv { taps, c: n }.forward(&wide(&x), k, &wide(&w))),
            ConvWay::Back => expected_back(taps, &x, &w, rows, (k, n)),
        };
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
            // Blocks of every size that there are.
            let block_rows = [128, 192, if n < 128 { 256 } else { 160 }][device.seed() as usize % 3];
            let upload = |values: &[f32]| Array::from_slice(device, values).unwrap();
            let upload16 = |values: &[f32]| Array::from_slice(device, &bf16(values)).unwrap();
            let (x, w) = (upload16(&x), upload16(&w));
            let sources = Array::from_slice(device, &taps.sources).unwrap();
            let y = Array::<_, Bf16>::new(device, rows * n).unwrap();
            let y32 = Array::<_, f32>::new(device, rows * n).unwrap();
            let (bias, by_board) = (upload(&bias), upload(&by_board));
            let (residual, mask, at_most) = (upload16(&residual), upload16(&mask), upload(&at_most));
            let most = Array::from_slice(device, &most).unwrap();
            let launch = |after: &Epilogue<'_, _>| {
                let ops = Ops(device);
                ops.conv_in_blocks((way, block_rows), &x, (&w, 0), &sources, shape, (k, n), after).unwrap();
            };
            let what = |what: &str| {
                let (cells, seed) = (taps.cells, device.seed());
                format!("{what} of {boards} times {cells}, {k} to {n}, {way:?}, seed {seed}")
            };
            launch(&Epilogue { y32: Some(&y32), ..Epilogue::default() });
            assert_close(&what("plain"), &y32.read(device, rows * n).unwrap(), &plain, 0.0, 0.0);
            for relu in [false, true] {
                launch(&Epilogue {
                    y: Some(&y),
                    bias: Some((&bias, 0)),
                    by_board: Some(&by_board),
                    residual: Some(&residual),
                    mask: Some(&mask),
                    most: Some((&most, &at_most)),
                    relu,
                    ..Epilogue::default()
                });
                let want: Vec<f32> = (0..rows * n).map(|i| finished(i, relu)).collect();
                let got = f32s(&y.read(device, rows * n).unwrap());
                assert_close(&what("finished"), &got, &f32s(&bf16(&want)), 0.0, 0.0);
            }
        });
    }
}

#[test]
fn narrow_on_every_board_and_odd_batches() {
    for (board, boards) in
        [(Board::Hex8, 5), (Board::Square8, 3), (Board::Hexagonal, 1), (Board::Square19, 1)]
    {
        check(Taps::of(board), boards, (16, 32), 1.0);
    }
}

#[test]
fn the_stem_and_the_widths() {
    check(Taps::of(Board::Hex8), 1, (48, 64), 1.0);
    check(Taps::of(Board::Square8), 1, (48, 96), 1.0);
    check(Taps::of(Board::Hex8), 1, (64, 128), 1.0);
}

#[test]
fn every_width_on_odd_sizes() {
    for n in WIDTHS {
        for (cells, boards, taps, k) in
            [(1, 1, 1, 16), (31, 1, 3, 32), (33, 4, 3, 48), (65, 2, 1, 96), (129, 1, 1, 80)]
        {
            check(&graph(cells, taps), boards, (k, n), 1.0);
        }
    }
    check(&graph(31, 3), 1, (128, 128), 1.0);
}

#[test]
fn huge_and_tiny_numbers() {
    for scale in [2f32.powi(100), 2f32.powi(-100)] {
        check(Taps::of(Board::Hex8), 1, (32, 32), scale);
    }
}

/// The derivative by the weights, which is split over the rows, with the last columns left out.
fn check_weights(taps: &Taps, boards: usize, (k, n, columns): (usize, usize, usize)) {
    let shape = ConvShape::new(taps, boards);
    let rows = shape.rows();
    let (x, dy) = (numbers(rows * k, 1), numbers(rows * n, 2));
    let dw = PlainConv { taps, c: n }.weights(&wide(&x), k, &wide(&dy));
    let kept = dw.chunks_exact(n).flat_map(|row| &row[..columns]);
    let want: Vec<f32> = kept.map(|&v| v as f32).collect();
    under_schedules(|device| {
        let upload = |values: &[f32]| Array::from_slice(device, &bf16(values)).unwrap();
        let (x, dy) = (upload(&x), upload(&dy));
        let sources = Array::from_slice(device, &taps.sources).unwrap();
        let partial = Exact::<f32>::new(device, partial_len(shape, (k, n)));
        let dw = Inside::new(device, want.len());
        let sizes = (k, n, columns);
        Ops(device).weights_back(&x, &dy, &sources, &partial.0, dw.part(), shape, sizes).unwrap();
        let what = format!("{boards} times {}, {k} by {n}, seed {}", taps.cells, device.seed());
        assert_close(&what, &dw.read(device), &want, 0.0, 0.0);
    });
}

#[test]
fn derivatives_by_weights() {
    check_weights(Taps::of(Board::Hex8), 17, (32, 32, 32)); // three splits
    check_weights(Taps::of(Board::Square8), 1, (48, 64, 64));
    check_weights(Taps::of(Board::Hex8), 1, (96, 96, 84));
    check_weights(Taps::of(Board::Hex8), 1, (128, 128, 128));
    check_weights(Taps::of(Board::Square19), 1, (16, 32, 32));
}

#[test]
fn derivatives_by_weights_of_every_width_on_odd_sizes() {
    for n in WIDTHS {
        for (cells, boards, taps, k) in [(1, 1, 1, 16), (31, 1, 3, 32), (33, 4, 3, 80), (65, 17, 1, 48)] {
            check_weights(&graph(cells, taps), boards, (k, n, n - 5));
        }
    }
}
