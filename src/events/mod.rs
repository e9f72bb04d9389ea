//! Typed events: what they are, how applied commands become events ([`caused`]), and the durable log that every node
//! keeps of them ([`log`]).

pub mod caused;
mod event;
#[cfg(test)]
mod golden;
pub mod log;

pub use event::*;
