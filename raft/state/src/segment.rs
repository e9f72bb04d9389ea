//! Segments: games that are on enough disks.

use crate::{
    cause::Source,
    id::{ModelId, NodeId, SegmentId},
    key::ConfigKey,
    receipt::SegmentFacts,
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
    /// Size of the segment in bytes.
    pub bytes: u64,
    /// Where the games come from.
    pub source: Source,
    /// The model that played.
    pub model: ModelId,
    /// Id of the node that played the games.
    pub origin: NodeId,
    /// Ids of the nodes that have synced the segment, each by its receipt.
    pub holders: BTreeSet<NodeId>,
    /// When the segment was acknowledged, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Index of the log entry that recorded it.
    pub log_index: u64,
}

impl RegisteredSegment {
    /// What a holder's receipt for this segment is about; `hash` is its name.
    #[must_use]
    pub fn facts(&self, hash: SegmentId) -> SegmentFacts<'_> {
        SegmentFacts {
            hash,
            config_key: &self.config_key,
            games: self.games,
            samples: self.samples,
            bytes: self.bytes,
            source: &self.source,
            model: self.model,
        }
    }
}
