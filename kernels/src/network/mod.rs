//! The network: its sizes and weights, forward on the CPU, and what search asks of it.

pub(crate) mod architecture;
pub(crate) mod conv;
pub(crate) mod cpu;
pub(crate) mod evaluator;
pub(crate) mod forward;
pub(crate) mod heads;
pub(crate) mod real;
pub(crate) mod weights;
