//! Commands about acknowledged games.

use crate::id::{ModelId, NodeId, SegmentId};
use serde::{Deserialize, Serialize};

/// A closed segment of games is synced on `holders`; applying it acknowledges the games.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisterSegment {
    /// Content hash.
    pub hash: SegmentId,
    /// Configuration.
    pub config_key: String,
    /// Games in it.
    pub games: u64,
    /// Positions in it.
    pub samples: u64,
    /// Who played, such as `selfplay` or `evaluation`. Only `selfplay` counts towards training.
    pub source: String,
    /// The model that played.
    pub model: ModelId,
    /// Nodes that synced it.
    pub holders: Vec<NodeId>,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// One more node holds a segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddSegmentHolder {
    /// Segment.
    pub hash: SegmentId,
    /// Holder.
    pub node: NodeId,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}
