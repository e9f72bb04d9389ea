//! How a player chooses its moves: by a search over an evaluator, by a heuristic that looks one step ahead,
//! or uniformly.
//!
//! Invariant: a choice follows from the position, the evaluator's answers and the seed alone. Nothing here
//! reads a clock.
//!
//! Reading order: `gumbel` (the mathematics), `tree` (the memory of a search), `work` (the search itself).

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
