//! How a player chooses its moves: search over an evaluator, the one-ply heuristic, uniform choice.
//!
//! Invariant: a choice follows from the position, the evaluator's answers and the seed alone; there is no clock.

mod choose;
mod evaluator;
mod gumbel;
pub mod heuristic;
mod tree;
mod work;

pub(crate) use choose::unit;
pub use choose::{random, sample, sample_at};
pub use evaluator::{Judged, Uniform};
pub use gumbel::SearchSettings;
pub use kernels::AnyEvaluator;
pub use work::{Search, SearchError};

#[cfg(test)]
mod tests;
