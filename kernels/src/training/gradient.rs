//! The memory of the way back: the derivative by every weight, and what is needed on the way.

use crate::network::forward::Workspace;
use crate::network::real::Real;

/// The gradient, and what backward works with.
pub(crate) struct Gradient<F> {
    /// The sum of the derivatives, laid out like the weights.
    pub(crate) weights: Vec<F>,
    /// The blocks' convolutions as backward needs them, laid out like the weights.
    pub(crate) transposed: Vec<F>,
    pub(crate) head: Vec<F>,
    pub(crate) kinds: Vec<F>,
    pub(crate) value: Vec<F>,
    pub(crate) hidden: Vec<F>,
    pub(crate) dpooled: Vec<F>,
    pub(crate) dx: Vec<F>,
    pub(crate) dh: Vec<F>,
}

impl<F: Real> Gradient<F> {
    pub(crate) fn new(workspace: &Workspace<F>) -> Self {
        let zeros = |len: usize| vec![F::default(); len];
        let total = workspace.layout.total;
        Self {
            weights: zeros(total),
            transposed: zeros(total),
            head: zeros(workspace.head.len()),
            kinds: zeros(workspace.kinds.len()),
            value: zeros(workspace.value.len()),
            hidden: zeros(workspace.hidden.len()),
            dpooled: zeros(workspace.pooled[0].len()),
            dx: zeros(workspace.x[0].len()),
            dh: zeros(workspace.x[0].len()),
        }
    }
}
