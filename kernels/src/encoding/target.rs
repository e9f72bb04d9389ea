//! What a position teaches: a policy over its legal moves, and who won.

/// What a position teaches.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// `(index into the legal moves, weight)`; the weights are normalised here. An empty slice teaches no
    /// policy.
    pub policy: &'a [(u16, f32)],
    /// The seat that won.
    pub winner: u8,
}

/// A policy target over `legal` moves without the entries that name none or whose weight is not positive and
/// finite; the weights sum to one.
pub(crate) fn normalised(policy: &[(u16, f32)], legal: usize) -> impl Iterator<Item = (u16, f32)> + '_ {
    let kept = move |&&(index, weight): &&(u16, f32)| {
        usize::from(index) < legal && weight > 0.0 && weight.is_finite()
    };
    let total: f32 = policy.iter().filter(kept).map(|&(_, weight)| weight).sum();
    policy.iter().filter(kept).map(move |&(index, weight)| (index, weight / total))
}
