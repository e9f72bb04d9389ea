//! The components of the event-flow map, one file each: a pure decision, and where it needs one a thin shell.
//!
//! Those that decide for the cluster run on every node and act only on the leader, by proposing commands.

pub mod data_pipeline;
pub mod evaluation;
#[cfg(test)]
pub(crate) mod fixture;
pub mod node_monitor;
pub mod promotion;
pub mod roles;
pub mod scheduler;
pub mod training;
pub mod work;
