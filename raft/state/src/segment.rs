//! Segments: games that are on enough disks.

use crate::id::{ModelId, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// An acknowledged segment of games.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Configuration.
    pub config_key: String,
    /// Games in it.
    pub games: u64,
    /// Positions in it.
    pub samples: u64,
    /// Who played.
    pub source: String,
    /// The model that played.
    pub model: ModelId,
    /// Nodes that synced it.
    pub holders: BTreeSet<NodeId>,
    /// When it was acknowledged.
    pub at_ms: u64,
    /// Where in the log.
    pub log_index: u64,
}
