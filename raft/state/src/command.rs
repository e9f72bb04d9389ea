//! The commands that a node may propose to the cluster.
//!
//! Invariant: [`Command`] is append-only on disk and on the wire (golden bytes in the tests), every command
//! carries the proposer's clock and is idempotent: applying the same bytes twice changes the state once.
//!
//! Each variant holds a struct of the same name, so that a handler takes the struct; on the wire, the variant
//! is followed by the fields of the struct, one after another.

mod admission;
mod champion;
mod cluster;
mod lease;
mod segment;
mod steering;

pub use admission::{IssueTicket, RemoveNode, RevokeTicket, SetOperators, SetSecret};
pub use champion::{
    Appoint, ConfirmEvidence, InitConfig, ModelHeld, Promote, Reject, ReportRegression, Rollback,
};
pub use cluster::{PardonNode, RegisterNode, SetDraining, SetLeader, SetOnline};
pub use lease::{
    CancelLease, CompleteEvaluation, CompleteTraining, ExpireLease, FailLease, GrantLease, RenewLease,
};
pub use segment::{AddSegmentHolder, RegisterSegment, ReportForgery};
pub use steering::{
    SetBackpressure, SetCurriculum, SetFeedback, SetLearningRate, SetTarget, ThresholdReached,
};

use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest name, version, peer id, address or reason, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Longest configuration key, in bytes.
pub const CONFIG_KEY_BYTES_MAX: usize = 32;
/// Maximum number of addresses that a node may announce.
pub const ADDRESSES_MAX: usize = 16;
/// Maximum number of holders that one command names.
pub const HOLDERS_MAX: usize = 64;
/// Largest segment, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Largest checkpoint of a model, in bytes.
pub const MODEL_BYTES_MAX: u64 = 1 << 30;
/// Maximum number of segments that a command names as evidence.
pub const EVIDENCE_SEGMENTS_MAX: usize = 256;

/// Makes the enum of the listed payloads, which all have `at_ms`. Their order gives their numbers on the
/// wire.
macro_rules! commands {
    ($($name:ident,)*) => {
        /// A change that the cluster agrees on.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Command {
            $(#[doc = concat!("See [`", stringify!($name), "`].")] $name($name),)*
        }

        impl Command {
            /// The proposer's clock, in milliseconds since the epoch.
            #[must_use]
            pub fn at_ms(&self) -> u64 {
                match self {
                    $(Self::$name(payload) => payload.at_ms,)*
                }
            }

            /// The variant's name, for logs.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                }
            }
        }

        $(impl From<$name> for Command {
            fn from(payload: $name) -> Self {
                Self::$name(payload)
            }
        })*
    };
}

// A new command is added at the end.
commands! {
    RegisterNode,
    SetOnline,
    SetLeader,
    InitConfig,
    RegisterSegment,
    AddSegmentHolder,
    ThresholdReached,
    GrantLease,
    RenewLease,
    ExpireLease,
    FailLease,
    CompleteTraining,
    CompleteEvaluation,
    Promote,
    Reject,
    ModelHeld,
    SetTarget,
    ReportRegression,
    Rollback,
    SetBackpressure,
    SetFeedback,
    SetLearningRate,
    SetCurriculum,
    CancelLease,
    SetDraining,
    Appoint,
    SetSecret,
    IssueTicket,
    RevokeTicket,
    RemoveNode,
    SetOperators,
    ReportForgery,
    ConfirmEvidence,
    PardonNode,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
