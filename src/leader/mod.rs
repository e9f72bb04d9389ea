//! What the leader decides: one file for each component of the event-flow map that decides for the cluster.
//!
//! Invariant: a decider is a function of the replicated state, of the cluster as this node sees it, of
//! settings and of the time; some remember what they saw before. It does no I/O and proposes commands, which
//! the state machine checks again. `src/daemons/leader.rs` is the only worker that asks them, while this node
//! leads.
//!
//! Where to begin: [`turn`] asks all of them in their order. [`training`], [`evaluation`] and [`regression`]
//! grant leases, with [`placement`] to say who works and [`queue`] to say in which order; [`data_pipeline`]
//! says when there is enough to train on; [`feedback_loop`], [`auto_promotion`] and [`promotion`] bring a
//! candidate to its verdict; [`feedback`], [`curriculum`] and [`scheduler`] steer self-play; [`node_monitor`]
//! and [`roles`] watch the members. [`autoscaler`] and [`idle_shutdown`], with [`handover`], decide on every
//! node: what to recommend, and whether this host may go.

pub mod auto_promotion;
pub mod autoscaler;
pub mod curriculum;
pub mod data_pipeline;
pub mod evaluation;
pub mod feedback;
pub mod feedback_loop;
pub mod handover;
pub mod idle_shutdown;
pub mod node_monitor;
pub mod placement;
pub mod promotion;
pub mod queue;
pub mod regression;
pub mod roles;
pub mod scheduler;
pub mod training;
pub mod turn;
pub mod verification;
