//! A peer-to-peer cluster that teaches itself to play RingRift.
//!
//! The crate is built up in rooms. A room imports only rooms below it, and no two rooms import each other;
//! the package `house` checks that. Read it from the ground up:
//!
//! ```text
//!   cli ── local ── client     what people run
//!   node                       composes, starts and reports one peer
//!   http      daemons          answers people      works: plays, trains, evaluates, fetches, watches
//!   config                     the settings of all parts
//!   segments                   acknowledged means on two disks
//!   peer      leader           the floor under the daemons      what the cluster shall do, as pure functions
//!   devices   events           where a node computes      what happened: the log, its repair, handlers
//!   learner                    self-play, replay window, training, matches
//!   store     search           what is on disk      how a move is chosen
//!   api                        plain types of the HTTP interface
//!   clock text bounds backoff process compute
//! ```
//!
//! Below it are the crates `raft` (how the cluster agrees) over `cluster_state` (what it agrees on), `p2p`
//! (peers and bytes), `kernels` (networks and devices) and `rules` (the game). ARCHITECTURE.md has the
//! invariants, the tasks and three walks through the rooms; docs/glossary.md says what a word means here.

// Most items here are public only because the binary, the tests and the benches of this
// package link them. A doc that repeats the name of such an item costs a reader time; the
// library crates of the workspace keep the lint.
#![allow(missing_docs)]

pub mod api;
pub mod backoff;
pub mod bounds;
pub mod cli;
pub mod client;
pub mod clock;
pub mod compute;
pub mod config;
pub mod daemons;
pub mod devices;
pub mod events;
#[doc(hidden)]
pub mod fuzzing;
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
