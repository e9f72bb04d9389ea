//! What the cluster agrees on.
//!
//! One log of [`Command`]s, replicated by openraft, gives one [`ClusterState`] on every node: who is a member, who
//! works on what, which model is champion. Log and vote are in `raft.db`, the applied state is in `node.db`, both
//! synced before anything is answered. Bytes travel over a [`Transport`] that the node provides.

mod command;
mod error;
mod handle;
mod hook;
mod log_store;
mod machine;
mod members;
mod metrics;
mod network;
mod response;
mod rows;
mod rpc;
#[cfg(test)]
mod samples;
mod shards;
mod sqlite;
mod state;
pub mod state_machine;
mod timing;
mod transport;
mod types;
pub mod voters;

pub use command::{
    ADDRESSES_MAX, CONFIG_KEY_BYTES_MAX, Command, EVIDENCE_SEGMENTS_MAX, Evidence, Feedback, HOLDERS_MAX,
    LeaseKind, ModelInfo, NodeId, SelfplayTarget, Severity, Sprt, TEXT_BYTES_MAX, TrainingReport,
};
pub use error::{InitializeError, JoinError, ProposeError, ReadError, StartError, StoreError};
pub use handle::{RaftConfig, RaftHandle};
pub use hook::{ApplyHook, HookError, NoHook};
pub use log_store::stored_node;
pub use metrics::{Follower, Metrics, Role};
pub use response::{Distributed, Refusal, Response};
pub use rpc::NodeInfo;
pub use shards::Shards;
pub use state::{
    Backpressure, ClusterState, ConfigState, ELO_INITIAL, Fallback, Leader, Lease, LeaseSlot, Model,
    ModelStatus, Node, Promotion, Regression, Segment, Steering, Watch,
};
pub use timing::Timing;
pub use transport::{Transport, TransportError};
