//! The compute core: encoding, network, optimiser, checkpoints.
//!
//! Knows the rules and nothing else. Search asks for an [`Evaluator`]; the networks here are evaluators.

mod action;
mod architecture;
mod batch;
mod conv;
mod cpu;
mod encode;
mod evaluator;
mod heads;
mod network;
mod real;
mod taps;
mod tower;

pub use architecture::{Architecture, Grid};
pub use batch::{Batch, Target};
pub use cpu::CpuEvaluator;
pub use encode::{CHANNELS, ENCODER_VERSION, GLOBALS, encode, relative};
pub use evaluator::{Evaluation, Evaluator, Query};
pub use network::Network;
