//! Typed events: what they are, how applied commands become events ([`caused`]), the durable log that every node keeps of
//! them ([`log`]), how logs are made equal ([`repair`]), and how handlers go through them ([`runner`]).

pub mod caused;
mod commits;
mod component;
pub mod deliveries;
pub mod dlq;
pub mod envelope;
mod event;
#[cfg(test)]
mod golden;
mod hook;
mod inbox;
pub mod log;
mod payload;
pub mod repair;
pub mod runner;
mod schema;
#[cfg(test)]
mod simulation;
mod table;
mod tables;
pub mod vector;

pub use component::{Component, Handles, How, Row, RowHandler, pairs, rows};
pub use event::{CLUSTER_FLOW, EventError};
pub use hook::EventHook;
pub use payload::*;
pub use table::{Event, EventKind};
