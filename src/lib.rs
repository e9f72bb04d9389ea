//! A peer-to-peer cluster that teaches itself to play RingRift.
//!
//! Where to look: [`cli`] is what people run, [`node`] puts a peer together, [`daemons`] do its work, [`devices`] says where
//! it computes, [`events`] are what happened, [`search`] is how a move is chosen, [`learner`] how a model is made and
//! measured, [`store`] what is kept on disk. The game is the crate `rules`, the network `kernels`, peers `p2p`, consensus
//! `raft`.

// Most items here are public only because the binary, the tests and the benches of this package link them. A doc that
// repeats the name of such an item costs a reader time; the library crates of the workspace keep the lint.
#![allow(missing_docs)]

pub mod api;
pub mod backoff;
pub mod cli;
pub mod client;
pub mod clock;
pub mod compute;
pub mod config;
pub mod daemons;
pub mod devices;
pub mod events;
pub mod http;
pub mod leader;
pub mod learner;
pub mod local;
pub mod node;
pub mod peer;
mod process;
pub mod search;
pub mod segments;
pub mod store;
pub mod text;
