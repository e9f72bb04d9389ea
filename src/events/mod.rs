//! What happened in the cluster: typed events, in a durable log that every node keeps, and the way to their
//! handlers.
//!
//! Invariant: an event is in a synced log before anybody is told of it, and every handler on every node has
//! its effect once. Only [`caused`] and the hook know commands and the replicated state; log, repair, inbox
//! and runner take any event. docs/events.md states and proves what the log promises.
//!
//! Where to begin: the table of all events (`table.rs`), with who emits and who handles each. Then
//! [`envelope`], what travels; [`log`], where it is kept (`writer.rs` has the causal order); [`vector`] and
//! [`repair`], how logs become equal; [`deliveries`] and [`runner`], how handlers go through them; [`dlq`],
//! what they could not handle.

pub mod caused;
mod commits;
mod component;
mod declare;
pub mod deliveries;
pub mod dlq;
pub mod drill;
pub mod envelope;
pub mod equivocation;
mod error;
mod event;
pub mod floors;
#[cfg(test)]
pub(crate) mod golden;
mod hook;
mod inbox;
pub mod log;
mod logged;
mod payload;
pub mod repair;
mod retention;
pub mod runner;
pub mod schema;
#[cfg(test)]
mod simulation;
mod subscriptions;
mod table;
pub mod vector;
mod writer;

pub use component::{Component, EventRow, EventRowHandler, HandlerEntry, HandlingMode, pairs, rows};
pub use error::LogError;
pub use event::{CLUSTER_FLOW, EventError};
pub use hook::EventHook;
pub use logged::{Emission, Logged};
pub use payload::*;
pub use subscriptions::Subscriptions;
pub use table::{Event, EventKind};
