//! The cluster as a whole, tested the way it breaks.

mod faults;
mod growth;
mod support;
mod throughput;
