//! Clusters on this machine: peers as real child processes, and a ledger of what they acknowledged.
//!
//! The demo, `chaos`, `bench events` and the process-level tests start and stop their peers here. [`Process`]
//! is a child that never outlives its owner, [`Peer`] is a node on a data folder of its own, [`Signals`]
//! notices that the user wants the program to end, and [`Acknowledged`] remembers what must never be lost.

mod ledger;
mod peer;
mod process;
mod signals;

pub use ledger::{Acknowledged, disagreements, lost, silent};
pub use peer::{LocalError, Peer, is_whole, stop_all};
pub use process::Process;
pub use signals::{Interrupt, Interrupted, Signals};
