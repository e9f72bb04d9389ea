//! Positions as numbers: planes of cells, legal moves as the policy head sees them, and batches of both.

pub(crate) mod action;
pub(crate) mod batch;
pub(crate) mod game;
pub(crate) mod packed;
pub(crate) mod planes;
pub(crate) mod taps;
pub(crate) mod target;
