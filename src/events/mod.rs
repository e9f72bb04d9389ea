//! Typed events: what they are, how applied commands become events ([`caused`]), the durable
//! log that every node keeps of them ([`log`]), how logs are made equal ([`repair`]), and
//! how handlers go through them ([`runner`]).

pub mod caused;
mod commits;
mod component;
pub mod deliveries;
pub mod dlq;
pub mod envelope;
mod error;
mod event;
#[cfg(test)]
mod golden;
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

pub use component::{Component, Handles, How, Row, RowHandler, pairs, rows};
pub use error::LogError;
pub use event::{CLUSTER_FLOW, EventError};
pub use hook::EventHook;
pub use logged::{Emission, Logged};
pub use payload::*;
pub use subscriptions::Subscriptions;
pub use table::{Event, EventKind};
