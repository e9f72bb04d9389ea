//! Training on the CPU: backward, the optimiser, and the checkpoints that runs begin with and leave.

pub(crate) mod backward;
pub(crate) mod checkpoint;
#[cfg(test)]
mod differences;
pub(crate) mod gradient;
pub(crate) mod losses;
pub(crate) mod optimizer;
pub(crate) mod train;
pub(crate) mod trainer;
