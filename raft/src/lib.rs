//! What the cluster agrees on.
//!
//! One log of [`Command`]s, replicated by openraft, gives one [`ClusterState`] on every node: who is a member, who
//! works on what, which model is champion. Log and vote are in `raft.db`, the applied state is in `node.db`, both
//! synced before anything is answered. Bytes travel over a [`Transport`] that the node provides.

mod error;
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

pub use cluster_state::{
    ADDRESSES_MAX, Backpressure, CONFIG_KEY_BYTES_MAX, ClusterState, Command, ConfigState, Distributed,
    ELO_INITIAL, EVIDENCE_SEGMENTS_MAX, Evidence, Fallback, Feedback, HOLDERS_MAX, Leader, Lease, LeaseKind,
    LeaseSlot, Model, ModelInfo, ModelStatus, Node, NodeId, Promotion, Refusal, Regression, Response,
    Segment, SelfplayTarget, Severity, Shards, Sprt, Steering, TEXT_BYTES_MAX, TrainingReport, Watch,
    command, state_machine, voters,
};
pub use error::{InitializeError, JoinError, ProposeError, ReadError, StartError, StoreError};
pub use handle::{RaftConfig, RaftHandle};
pub use hook::{ApplyHook, HookError, NoHook};
pub use log_store::stored_node;
pub use metrics::{Follower, Metrics, Role};
pub use rpc::NodeInfo;
pub use timing::Timing;
pub use transport::{Transport, TransportError};
