//! Logarithms, powers and roots in fixed point, for figures that every machine must compute alike.
//!
//! Invariant: only integers are added, multiplied, divided and shifted, so a result is the same bit for bit
//! wherever it is computed. The functions of a float library are not: their last bit may differ.

/// Fraction bits of a [`Fixed`]: a unit is about 10⁻¹², and products of two values below 2²⁰ fit.
pub(crate) const BITS: u32 = 40;
/// The value 1.
pub(crate) const ONE: Fixed = 1 << BITS;
/// The natural logarithm of 2, rounded down.
pub(crate) const LN_2: Fixed = 762_123_384_785;

/// A number in units of 2⁻⁴⁰.
pub(crate) type Fixed = i128;

/// Fraction bits of a mantissa, which is at least 1 and less than 2.
const MANTISSA: u32 = 62;
/// The square root of 2, the root of that, and so on.
const ROOTS: [u128; BITS as usize] = {
    let (mut roots, mut root, mut at) = ([0; BITS as usize], 2u128 << MANTISSA, 0);
    while at < roots.len() {
        root = (root << MANTISSA).isqrt();
        roots[at] = root;
        at += 1;
    }
    roots
};

/// `numerator / denominator`.
pub(crate) fn ratio(numerator: i128, denominator: i128) -> Fixed {
    (numerator << BITS) / denominator
}

/// The product of two values.
pub(crate) fn mul(a: Fixed, b: Fixed) -> Fixed {
    (a * b) >> BITS
}

/// The quotient of two values.
pub(crate) fn div(a: Fixed, b: Fixed) -> Fixed {
    (a << BITS) / b
}

/// The binary logarithm of an integer above zero, one bit after the other by squaring (*Knuth, The Art of
/// Computer Programming 1, section 1.2.2, exercise 25*).
pub(crate) fn log2(value: u64) -> Fixed {
    let exponent = value.max(1).ilog2();
    let mut mantissa = u128::from(value.max(1)) << (MANTISSA - exponent.min(MANTISSA));
    if exponent > MANTISSA {
        mantissa = u128::from(value) >> (exponent - MANTISSA);
    }
    let mut result = Fixed::from(exponent);
    for _ in 0..BITS {
        mantissa = (mantissa * mantissa) >> MANTISSA;
        result <<= 1;
        if mantissa >= 2 << MANTISSA {
            mantissa >>= 1;
            result += 1;
        }
    }
    result
}

/// 2 to the power of `x`, for -32 ≤ `x` ≤ 32: the product of the roots of 2 that the bits of `x` name.
pub(crate) fn exp2(x: Fixed) -> Fixed {
    let (whole, fraction) = (x >> BITS, x & (ONE - 1));
    let mut mantissa = 1u128 << MANTISSA;
    for (bit, root) in (0..BITS).rev().zip(ROOTS) {
        if fraction >> bit & 1 == 1 {
            mantissa = (mantissa * root) >> MANTISSA;
        }
    }
    let shift = i128::from(MANTISSA - BITS) - whole;
    let mantissa = i128::try_from(mantissa).unwrap_or(i128::MAX);
    if shift >= 0 { mantissa >> shift.min(127) } else { mantissa << (-shift).min(32) }
}

/// The square root of `numerator / denominator`.
pub(crate) fn sqrt_ratio(numerator: u128, denominator: u128) -> Fixed {
    // A numerator of 48 bits leaves room for the bits of the result.
    let scaled = (numerator << (2 * BITS - 1)) / denominator.max(1) * 2;
    i128::try_from(scaled.isqrt()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(x: Fixed) -> f64 {
        x as f64 / ONE as f64
    }

    #[test]
    fn logarithms_and_powers_are_those_of_floats() {
        for value in (1..2000).chain([1 << 40, (1 << 40) + 1, u64::MAX >> 1, u64::MAX]) {
            let error = float(log2(value)) - (value as f64).log2();
            assert!(error.abs() < 1e-10, "{value}: {error}");
        }
        for step in -3200..=3200 {
            let x = ONE * step / 100;
            let (found, expected) = (float(exp2(x)), (step as f64 / 100.0).exp2());
            assert!((found - expected).abs() <= expected * 1e-9 + 2e-12, "{step}: {found} {expected}");
        }
        assert_eq!((exp2(0), exp2(ONE), exp2(-ONE), log2(8)), (ONE, 2 * ONE, ONE / 2, 3 * ONE));
        assert!((float(LN_2) - std::f64::consts::LN_2).abs() < 1e-12);
        for (numerator, denominator) in [(0, 1), (1, 1), (2, 1), (1, 3), (7, 1 << 40), (1 << 47, 3)] {
            let expected = (numerator as f64 / denominator as f64).sqrt();
            let found = float(sqrt_ratio(numerator, denominator));
            assert!(
                (found - expected).abs() < 1e-11 + expected * 1e-11,
                "{numerator}/{denominator}: {found}"
            );
        }
    }
}
