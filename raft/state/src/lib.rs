//! The state that the cluster agrees on, independent of the way in which it agrees.
//!
//! ```text
//!   Command ──▶ door ──▶ state_machine (check, then one file for each kind) ──▶ Response
//!               who may       what it means                 │
//!                                                     ClusterState ◀──▶ rows (bytes)
//! ```
//!
//! Read `command`, then `state`, then `state_machine`.
//!
//! A [`Command`] is a proposal, [`state_machine::apply`] defines its effect, a [`ClusterState`] is the
//! result, and [`rows`] are the bytes of that state. Everything here is pure: it uses no clock, no I/O and no
//! consensus.

pub mod admission;
mod cause;
pub mod command;
mod config;
pub mod door;
mod evidence;
mod fixed;
mod id;
mod key;
mod lease;
mod model;
mod node;
mod receipt;
mod response;
mod review;
pub mod rows;
#[cfg(any(test, feature = "samples"))]
pub mod samples;
mod segment;
mod shards;
mod state;
pub mod state_machine;
mod steering;
pub mod voters;

pub use admission::{Admission, Admissions, Admitted};
pub use cause::{DrainCause, EndCause, PromotionKind, Source, UnknownCause};
pub use command::{
    ADDRESSES_MAX, CONFIG_KEY_BYTES_MAX, Command, EVIDENCE_SEGMENTS_MAX, HOLDERS_MAX, MODEL_BYTES_MAX,
    SEGMENT_BYTES_MAX, TEXT_BYTES_MAX,
};
pub use config::{ConfigState, ELO_INITIAL, Fallback, Promotion};
pub use door::{Place, Proposal, Proposer};
pub use evidence::{Elo, TALLY_GAMES_MAX, Tallies, Tally, Terms};
pub use id::{ModelId, NodeId, SegmentId, TriggerId};
pub use key::{ConfigKey, ConfigKeyError};
pub use lease::{Lease, LeaseEnd, LeaseKind, LeaseSlot};
pub use model::{Evidence, Model, ModelInfo, ModelStatus, Sprt, TrainingReport};
pub use node::{
    Draining, Forgery, ForgeryReport, Leader, Node, Pardon, ReportRecord, UNCONFIRMED_FADES, UNCONFIRMED_MAX,
};
pub use receipt::{Receipt, SegmentFacts, Signature};
pub use response::{Distributed, Refusal, Response};
pub use review::{CHECKS_MAX, Check, Review, ReviewStanding, VERIFIERS};
pub use segment::RegisteredSegment;
pub use shards::Shards;
pub use state::ClusterState;
pub use steering::{
    Backpressure, Feedback, Regression, SelfplayTarget, Severity, Steering, Watch, WatchRound,
};
