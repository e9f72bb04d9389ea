//! Typed events: what they are ([`event`]).

mod event;

pub use event::*;
