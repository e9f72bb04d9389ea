//! Consensus: the state that the cluster agrees on.
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
#[cfg(test)]
mod samples;
mod sqlite;
mod timing;
mod transport;
mod types;
mod voucher;

pub use error::{InitializeError, JoinError, ProposeError, ReadError, StartError, StoreError};
pub use handle::{RaftConfig, RaftHandle};
pub use hook::{ApplyHook, HookError, NoHook};
pub use log_store::stored_node;
pub use metrics::{Follower, Metrics, Role};
pub use rpc::{NodeInfo, Voters};
pub use timing::Timing;
pub use transport::{Transport, TransportError};
