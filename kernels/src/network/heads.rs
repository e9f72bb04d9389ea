//! The two heads: a logit per legal move, and who wins.

use crate::encoding::action::{Action, Actions, KINDS, reads, used};
use crate::network::architecture::{HEAD, KEY, Layout};
use crate::network::real::Real;

/// The sum over a region's cells is divided by this.
const SUM_SCALE: f32 = 1.0 / 32.0;

/// How many sums a product of vectors runs side by side, for vector instructions.
const LANES: usize = 8;

#[inline]
fn dot3<F: Real>(a: &[F], b: &[F], c: &[F]) -> F {
    let mut sums = [F::default(); LANES];
    let pieces = a.chunks_exact(LANES).zip(b.chunks_exact(LANES)).zip(c.chunks_exact(LANES));
    for ((a, b), c) in pieces {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane] * c[lane];
        }
    }
    sums.into_iter().fold(F::default(), |sum, lane| sum + lane)
}

#[inline]
fn scale<F: Real>() -> F {
    F::of(1.0 / (KEY as f32).sqrt())
}

/// What the policy head computed for one position, `[cells, HEAD]` and `[KINDS]`, with its weights.
pub(crate) struct Policy<'a, F> {
    pub(crate) layout: &'a Layout,
    pub(crate) weights: &'a [F],
    pub(crate) cells: &'a [F],
    pub(crate) kinds: &'a [F],
}

/// The derivatives by what [`Policy`] holds.
pub(crate) struct PolicyGradient<'a, F> {
    pub(crate) weights: &'a mut [F],
    pub(crate) cells: &'a mut [F],
    pub(crate) kinds: &'a mut [F],
}

impl<F: Real> Policy<'_, F> {
    #[inline]
    fn query(&self, cell: u16) -> &[F] {
        &self.cells[usize::from(cell) * HEAD..][..KEY]
    }

    #[inline]
    fn key(&self, cell: u16) -> &[F] {
        &self.cells[usize::from(cell) * HEAD + KEY..][..KEY]
    }

    #[inline]
    fn plane(&self, cell: u16, plane: usize) -> F {
        self.cells[usize::from(cell) * HEAD + 2 * KEY + plane]
    }

    #[inline]
    fn pair(&self, pair: usize) -> &[F] {
        &self.layout.policy_pairs.of(self.weights)[pair * KEY..][..KEY]
    }

    /// The logit of a legal move of the position.
    pub(crate) fn logit(&self, actions: &Actions, action: &Action) -> F {
        let reads = reads(action.kind);
        let mut logit = self.kinds[action.kind as usize];
        for (plane, cell) in reads.planes.into_iter().zip(action.cells) {
            if let Some(plane) = used(plane) {
                logit += self.plane(cell, plane);
            }
        }
        if let Some(pair) = used(reads.pair) {
            let [from, to, _] = action.cells;
            logit += dot3(self.query(from), self.key(to), self.pair(pair)) * scale::<F>();
            logit += self.layout.policy_rays.of(self.weights)[usize::from(action.ray)];
        }
        let cells = &actions.cells[action.many.0 as usize..action.many.1 as usize];
        for (plane, factor) in Self::sums(reads.mean, reads.sum, cells.len()) {
            let sum = cells.iter().fold(F::default(), |sum, &cell| sum + self.plane(cell, plane));
            logit += sum * factor;
        }
        logit
    }

    /// Adds `d` times the derivative of [`Self::logit`].
    pub(crate) fn backward(
        &self,
        actions: &Actions,
        action: &Action,
        d: F,
        gradient: &mut PolicyGradient<'_, F>,
    ) {
        let reads = reads(action.kind);
        gradient.kinds[action.kind as usize] += d;
        let at = |cell: u16, plane: usize| usize::from(cell) * HEAD + 2 * KEY + plane;
        for (plane, cell) in reads.planes.into_iter().zip(action.cells) {
            if let Some(plane) = used(plane) {
                gradient.cells[at(cell, plane)] += d;
            }
        }
        if let Some(pair) = used(reads.pair) {
            let [from, to, _] = action.cells;
            self.layout.policy_rays.of_mut(gradient.weights)[usize::from(action.ray)] += d;
            let d = d * scale::<F>();
            let (q, k, p) = (self.query(from), self.key(to), self.pair(pair));
            let dq = &mut gradient.cells[usize::from(from) * HEAD..][..KEY];
            dq.iter_mut().zip(k.iter().zip(p)).for_each(|(dq, (&k, &p))| *dq += d * k * p);
            let dk = &mut gradient.cells[usize::from(to) * HEAD + KEY..][..KEY];
            dk.iter_mut().zip(q.iter().zip(p)).for_each(|(dk, (&q, &p))| *dk += d * q * p);
            let dp = &mut self.layout.policy_pairs.of_mut(gradient.weights)[pair * KEY..][..KEY];
            dp.iter_mut().zip(q.iter().zip(k)).for_each(|(dp, (&q, &k))| *dp += d * q * k);
        }
        let cells = &actions.cells[action.many.0 as usize..action.many.1 as usize];
        for (plane, factor) in Self::sums(reads.mean, reads.sum, cells.len()) {
            cells.iter().for_each(|&cell| gradient.cells[at(cell, plane)] += d * factor);
        }
    }

    /// The planes summed over `len` cells, with what the sum is multiplied by.
    fn sums(mean: u8, sum: u8, len: usize) -> impl Iterator<Item = (usize, F)> {
        let mean = used(mean).map(|plane| (plane, F::ONE / F::of(len.max(1) as f32)));
        let sum = used(sum).map(|plane| (plane, F::of(SUM_SCALE)));
        mean.into_iter().chain(sum)
    }
}

/// Replaces logits by their softmax and returns the logarithm of the sum of their exponentials.
pub(crate) fn softmax<F: Real>(logits: &mut [F]) -> F {
    let most = logits.iter().copied().fold(logits[0], |a, b| if b > a { b } else { a });
    let mut sum = F::default();
    for logit in logits.iter_mut() {
        *logit = (*logit - most).exp();
        sum += *logit;
    }
    logits.iter_mut().for_each(|logit| *logit = *logit / sum);
    most + sum.ln()
}

/// Turns logits into the derivative of the cross-entropy to a target whose weights sum to one,
/// times `factor`; returns the cross-entropy.
pub(crate) fn cross_entropy<F: Real>(
    logits: &mut [F],
    target: impl Iterator<Item = (usize, F)> + Clone,
    factor: F,
) -> F {
    let picked = target.clone().fold(F::default(), |sum, (i, weight)| sum + weight * logits[i]);
    let loss = softmax(logits) - picked;
    target.for_each(|(i, weight)| logits[i] += -weight);
    logits.iter_mut().for_each(|d| *d = *d * factor);
    loss
}

/// Where the kinds of a position are.
pub(crate) const fn kinds_of(position: usize) -> std::ops::Range<usize> {
    position * KINDS..(position + 1) * KINDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_of_extremes_is_finite() {
        let mut logits = [1e4f32, -1e4, 0.0];
        let loss = cross_entropy(&mut logits, [(1, 1.0)].into_iter(), 0.5);
        assert!((loss - 2e4).abs() < 1.0);
        assert_eq!(logits, [0.5, -0.5, 0.0]);
        let mut even = [3.0f32; 4];
        let loss = cross_entropy(&mut even, [(0, 0.5), (2, 0.5)].into_iter(), 1.0);
        assert!((loss - 4f32.ln()).abs() < 1e-6);
        assert_eq!(even, [-0.25, 0.25, -0.25, 0.25]);
    }
}
