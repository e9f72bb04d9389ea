//! What the leader decides: one file for each component of the event-flow map that decides for the cluster.

pub mod auto_promotion;
pub mod curriculum;
pub mod data_pipeline;
pub mod evaluation;
pub mod feedback;
pub mod feedback_loop;
pub mod node_monitor;
pub mod placement;
pub mod promotion;
pub mod queue;
pub mod regression;
pub mod roles;
pub mod scheduler;
pub mod training;
pub mod turn;
