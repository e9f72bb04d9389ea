//! Consensus: the state that the cluster agrees on.
//!
//! ```text
//!   handle ─ propose, read, serve      what the node calls, and what other members send
//!     senders, plausible               who may send what, and what never reaches openraft
//!   members, voucher, metrics          tasks: the voters, who votes by others' word, what this node knows
//!   trust                            whom a node follows that was away
//!   machine, log_store                 the applied state and the log, each in its database
//!   network, rpc, transport            messages to members
//!   types, timing, error, sqlite, hook
//! ```
//!
//! Read `rpc`, then `handle` with `serve` and `senders`, then `machine`.
//!
//! One log of [`cluster_state::Command`]s, replicated by openraft, gives one
//! [`cluster_state::ClusterState`] on every node: who is a member, who works on what, which model is
//! champion. Log and vote are in `raft.db`, the applied state is in `node.db`, both synced before anything
//! is answered. Bytes travel over a [`Transport`] that the node provides.

mod error;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod hook;
mod log_store;
mod machine;
mod members;
mod metrics;
mod network;
mod rpc;
#[cfg(any(test, feature = "samples"))]
#[doc(hidden)]
pub mod samples;
mod sqlite;
mod timing;
mod transport;
mod trust;
mod types;
mod voucher;

pub use error::{InitializeError, JoinError, ProposeError, ReadError, StartError, StoreError};
pub use handle::{RaftConfig, RaftHandle};
pub use hook::{ApplyHook, Door, HookError, NoHook};
pub use log_store::stored_node;
pub use machine::stored_state;
pub use metrics::{Follower, Metrics, Role};
pub use rpc::{NodeInfo, Voters};
pub use timing::Timing;
pub use transport::{Transport, TransportError};
pub use trust::Footing;
