//! The compute core: encoding, network, optimiser, checkpoints.
//!
//! Knows the rules and nothing else. Search asks for an [`Evaluator`]; the networks here are evaluators.

mod evaluator;

pub use evaluator::{Evaluation, Evaluator, Query};
