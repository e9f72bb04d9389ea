//! The arithmetic that forward and backward are written in, and the one call into the crate `gemm`.
//!
//! Everything runs in `f32`. The same code in `f64` is what the tests difference numerically.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// A floating-point type.
pub(crate) trait Real:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
{
    const ONE: Self;
    fn of(value: f32) -> Self;
    fn to_f64(self) -> f64;
    fn exp(self) -> Self;
    fn ln(self) -> Self;

    #[inline]
    fn relu(self) -> Self {
        if self > Self::default() { self } else { Self::default() }
    }
}

macro_rules! real {
    ($t:ty) => {
        impl Real for $t {
            const ONE: Self = 1.0;
            #[inline]
            fn of(value: f32) -> Self {
                value.into()
            }
            #[inline]
            fn to_f64(self) -> f64 {
                self.into()
            }
            #[inline]
            fn exp(self) -> Self {
                self.exp()
            }
            #[inline]
            fn ln(self) -> Self {
                self.ln()
            }
        }
    };
}
real!(f32);
real!(f64);

/// A row-major matrix, or the transpose of one.
#[derive(Clone, Copy)]
pub(crate) struct MatrixView<'a, F> {
    data: &'a [F],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, F> MatrixView<'a, F> {
    /// The first `rows * cols` of `data`.
    #[inline]
    pub(crate) fn new(data: &'a [F], rows: usize, cols: usize) -> Self {
        assert!(data.len() >= rows * cols, "{rows} x {cols} of {}", data.len());
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The transpose.
    #[inline]
    pub(crate) fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

/// `out = a * b`, or `out += a * b` if `accumulate`; `out` is row-major.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn matmul<F: Real>(out: &mut [F], accumulate: bool, a: MatrixView<'_, F>, b: MatrixView<'_, F>) {
    assert_eq!(a.cols, b.rows, "inner dimensions");
    assert!(out.len() >= a.rows * b.cols, "output of {}", out.len());
    // SAFETY: a view's data holds rows * cols elements under its strides, the output was checked above, and
    // an exclusive borrow does not overlap the shared ones.
    #[allow(unsafe_code, reason = "the interface of the crate gemm")]
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out.as_mut_ptr(),
            1,
            b.cols as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            F::ONE,
            F::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_agree_with_the_definition() {
        for (m, n, k) in [(1, 1, 1), (3, 5, 7), (61, 32, 224), (2, 84, 32)] {
            let value = |i: usize| ((i * 37 + 11) % 19) as f32 / 8.0 - 1.0;
            let a: Vec<f32> = (0..m * k).map(value).collect();
            let b: Vec<f32> = (0..k * n).map(|i| value(i + 5)).collect();
            let at: Vec<f32> = (0..m * k).map(|i| a[i % m * k + i / m]).collect();
            let mut out = vec![f32::NAN; m * n];
            matmul(&mut out, false, MatrixView::new(&a, m, k), MatrixView::new(&b, k, n));
            matmul(&mut out, true, MatrixView::new(&at, k, m).t(), MatrixView::new(&b, k, n));
            for (i, &got) in out.iter().enumerate() {
                let want: f32 = (0..k).map(|j| a[i / n * k + j] * b[j * n + i % n]).sum();
                assert!((got - 2.0 * want).abs() < 1e-3, "{m} {n} {k}: {got} {want}");
            }
        }
    }
}
