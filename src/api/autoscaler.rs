//! How many peers the cluster should have.

use cluster_state::NodeId;
use serde::{Deserialize, Serialize};

/// What an operator should change about the number of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advice {
    /// Start this number of additional peers.
    Up(usize),
    /// Stop this peer: it is not needed.
    Down(NodeId),
    /// The number is right.
    Hold,
}

/// An advice with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommendation {
    pub advice: Advice,
    pub reason: String,
}
