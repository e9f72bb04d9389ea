//! The components of the event-flow map, one file each: a pure decision and, where it is needed, a thin
//! shell.
//!
//! The daemons that decide for the cluster run on every node and act only on the leader ([`leader`]), by
//! proposing commands. The daemons that work follow the replicated state and the leases in it.

pub mod audit;
pub mod autoscaler;
pub mod cache;
pub mod consolidation;
pub mod distribution;
#[cfg(test)]
pub(crate) mod fixture;
pub mod gauntlet;
pub mod handlers;
pub mod health;
pub mod idle_shutdown;
pub mod leader;
pub mod lease_holder;
mod run_guard;
pub mod selfplay;
pub mod supervisor;
pub mod trainer;
pub mod verifier;
pub mod watchdog;
