//! The components of the event-flow map, one file each: a pure decision, and where it needs one a thin shell.
//!
//! Those that decide for the cluster run on every node and act only on the leader ([`leader`]), by proposing commands;
//! those that work follow the replicated state and the leases in it.

pub mod auto_promotion;
pub mod autoscaler;
pub mod cache;
pub mod collection;
pub mod consolidation;
pub mod curriculum;
pub mod data_pipeline;
pub mod distribution;
pub mod evaluation;
pub mod feedback;
pub mod feedback_loop;
#[cfg(test)]
pub(crate) mod fixture;
pub mod gauntlet;
pub mod handlers;
pub mod health;
pub mod idle_shutdown;
pub mod leader;
pub mod lease;
pub mod node_monitor;
mod outbox;
pub mod promotion;
pub mod queue;
pub mod regression;
pub mod replication;
pub mod roles;
pub mod scheduler;
pub mod selfplay;
pub mod supervisor;
pub mod sync;
pub mod trainer;
pub mod training;
pub mod watchdog;
pub mod work;
