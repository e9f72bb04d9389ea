//! The cluster as a whole, tested the way it breaks.

mod away;
mod faults;
mod growth;
mod removal;
mod support;
mod throughput;
