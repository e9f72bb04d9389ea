//! Segments of games, from the last move to the second disk and beyond.
//!
//! Invariant: a segment is acknowledged only when two disks have it and Raft knows it.

pub mod acknowledge;
pub(crate) mod close;
pub mod collect;
pub mod copy;
pub(crate) mod keep;
pub(crate) mod register;
mod tell;
