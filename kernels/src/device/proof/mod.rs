//! What proves a card: comparisons with the CPU, and measurements.

pub(crate) mod samples;
