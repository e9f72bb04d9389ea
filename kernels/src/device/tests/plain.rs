//! The operations of the network in plain loops over f64, by definition.

use crate::device::array::Bf16;
use crate::encoding::taps::Taps;
use rules::NONE_CELL;

/// To bf16.
pub(super) fn round(value: &mut f64) {
    *value = f64::from(Bf16::of(*value as f32).to_f32());
}

pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

pub(super) fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

/// The convolutions of [`crate::network::conv`] to `c` channels, by definition.
pub(super) struct PlainConv<'a> {
    pub(super) taps: &'a Taps,
    pub(super) c: usize,
}

impl PlainConv<'_> {
    /// Calls with row, tap and the row that the tap reads.
    fn each(&self, rows: usize, mut f: impl FnMut(usize, usize, usize)) {
        let Taps { cells, taps, sources } = self.taps;
        for row in 0..rows {
            for tap in 0..*taps {
                let source = sources[row % cells * taps + tap];
                if source != NONE_CELL {
                    f(row, tap, row / cells * cells + usize::from(source));
                }
            }
        }
    }

    pub(super) fn forward(&self, x: &[f64], k: usize, w: &[f64]) -> Vec<f64> {
        let (c, rows) = (self.c, x.len() / k);
        let mut y = vec![0.0; rows * c];
        self.each(rows, |row, tap, source| {
            for (i, &x) in x[source * k..][..k].iter().enumerate() {
                let w = &w[(tap * k + i) * c..][..c];
                y[row * c..][..c].iter_mut().zip(w).for_each(|(y, &w)| *y += x * w);
            }
        });
        y
    }

    pub(super) fn back(&self, dy: &[f64], w: &[f64]) -> Vec<f64> {
        let (c, rows) = (self.c, dy.len() / self.c);
        let mut dx = vec![0.0; rows * c];
        self.each(rows, |row, tap, source| {
            for i in 0..c {
                let w = &w[(tap * c + i) * c..][..c];
                dx[source * c + i] += dy[row * c..][..c].iter().zip(w).map(|(&d, &w)| d * w).sum::<f64>();
            }
        });
        dx
    }

    pub(super) fn weights(&self, x: &[f64], k: usize, dy: &[f64]) -> Vec<f64> {
        let (c, rows) = (self.c, x.len() / k);
        let mut dw = vec![0.0; self.taps.taps * k * c];
        self.each(rows, |row, tap, source| {
            for (i, &x) in x[source * k..][..k].iter().enumerate() {
                let dw = &mut dw[(tap * k + i) * c..][..c];
                dw.iter_mut().zip(&dy[row * c..][..c]).for_each(|(w, &d)| *w += x * d);
            }
        });
        dw
    }
}

pub(super) fn dense(x: &[f64], k: usize, w: &[f64], bias: Option<&[f64]>, n: usize) -> Vec<f64> {
    let row = |x: &[f64]| {
        let mut y = bias.map_or_else(|| vec![0.0; n], <[f64]>::to_vec);
        for (x, w) in x.iter().zip(w.chunks_exact(n)) {
            y.iter_mut().zip(w).for_each(|(y, &w)| *y += x * w);
        }
        y
    };
    x.chunks_exact(k).flat_map(row).collect()
}

pub(super) fn dense_back(dy: &[f64], n: usize, w: &[f64], k: usize) -> Vec<f64> {
    assert_eq!(w.len(), n * k);
    let row = |dy: &[f64]| {
        w.chunks_exact(n).map(|w| dy.iter().zip(w).map(|(&d, &w)| d * w).sum()).collect::<Vec<_>>()
    };
    dy.chunks_exact(n).flat_map(row).collect()
}

pub(super) fn dense_weights(x: &[f64], k: usize, dy: &[f64], n: usize) -> Vec<f64> {
    let mut dw = vec![0.0; k * n];
    for (x, dy) in x.chunks_exact(k).zip(dy.chunks_exact(n)) {
        for (x, dw) in x.iter().zip(dw.chunks_exact_mut(n)) {
            dw.iter_mut().zip(dy).for_each(|(w, &d)| *w += x * d);
        }
    }
    dw
}

pub(super) fn sums_of(x: &[f64], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0; width];
    x.chunks_exact(width).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x));
    sums
}

pub(super) fn board_sums(x: &[f64], cells: usize, width: usize) -> Vec<f64> {
    x.chunks_exact(cells * width).flat_map(|board| sums_of(board, width)).collect()
}

pub(super) fn add_biases(y: &mut [f64], bias: &[f64], by_board: Option<&[f64]>, cells: usize) {
    let width = bias.len();
    for (row, y) in y.chunks_exact_mut(width).enumerate() {
        for (channel, y) in y.iter_mut().enumerate() {
            *y += bias[channel] + by_board.map_or(0.0, |b| b[row / cells * width + channel]);
        }
    }
}

pub(super) fn relu(y: &mut [f64], forced: Option<&[bool]>) -> Vec<bool> {
    let on = forced.map_or_else(|| y.iter().map(|&y| y > 0.0).collect(), <[bool]>::to_vec);
    mask(y, &on);
    on
}

pub(super) fn mask(y: &mut [f64], on: &[bool]) {
    assert_eq!(y.len(), on.len());
    y.iter_mut().zip(on).for_each(|(y, &on)| *y = if on { *y } else { 0.0 });
}

/// The cells of the maxima; means and maxima.
pub(super) fn pool(
    x: &[f64],
    cells: usize,
    width: usize,
    forced: Option<&[usize]>,
) -> (Vec<usize>, Vec<f64>) {
    let (mut most, mut pooled) = (Vec::new(), Vec::new());
    for (board, x) in x.chunks_exact(cells * width).enumerate() {
        pooled.extend(sums_of(x, width).into_iter().map(|sum| sum / cells as f64));
        for channel in 0..width {
            let first = || {
                (1..cells).fold(0, |a, b| if x[b * width + channel] > x[a * width + channel] { b } else { a })
            };
            let cell = forced.map_or_else(first, |forced| forced[board * width + channel]);
            most.push(cell);
            pooled.push(x[cell * width + channel]);
        }
    }
    (most, pooled)
}

/// Adds the derivative by what was pooled.
pub(super) fn pool_back(dpooled: &[f64], most: &[usize], cells: usize, width: usize, dx: &mut [f64]) {
    for (board, dx) in dx.chunks_exact_mut(cells * width).enumerate() {
        let (mean, of_most) = dpooled[board * 2 * width..][..2 * width].split_at(width);
        for row in dx.chunks_exact_mut(width) {
            row.iter_mut().zip(mean).for_each(|(dx, &d)| *dx += d / cells as f64);
        }
        for channel in 0..width {
            dx[most[board * width + channel] * width + channel] += of_most[channel];
        }
    }
}
