//! Segments: games that are on enough disks.

use crate::{
    cause::Source,
    id::{ModelId, NodeId},
    key::ConfigKey,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// An acknowledged segment of games.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredSegment {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Number of games in the segment.
    pub games: u64,
    /// Number of positions in the segment.
    pub samples: u64,
    /// Where the games come from.
    pub source: Source,
    /// The model that played.
    pub model: ModelId,
    /// Ids of the nodes that have synced the segment.
    pub holders: BTreeSet<NodeId>,
    /// When the segment was acknowledged, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Index of the log entry that recorded it.
    pub log_index: u64,
}
