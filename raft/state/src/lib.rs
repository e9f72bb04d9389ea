//! What the cluster agrees on, without how it agrees.
//!
//! A [`Command`] is what may be proposed, [`state_machine::apply`] is what it means, a [`ClusterState`] is what it
//! leads to, and [`rows`] are the bytes of that state. Everything here is pure: no clock, no I/O, no consensus.

mod command;
mod response;
pub mod rows;
#[cfg(any(test, feature = "samples"))]
pub mod samples;
mod shards;
mod state;
pub mod state_machine;
pub mod voters;

pub use command::{
    ADDRESSES_MAX, CONFIG_KEY_BYTES_MAX, Command, EVIDENCE_SEGMENTS_MAX, Evidence, Feedback, HOLDERS_MAX,
    LeaseKind, ModelInfo, NodeId, SelfplayTarget, Severity, Sprt, TEXT_BYTES_MAX, TrainingReport,
};
pub use response::{Distributed, Refusal, Response};
pub use shards::Shards;
pub use state::{
    Backpressure, ClusterState, ConfigState, ELO_INITIAL, Fallback, Leader, Lease, LeaseSlot, Model,
    ModelStatus, Node, Promotion, Regression, Segment, Steering, Watch,
};
