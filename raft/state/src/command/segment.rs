//! Commands about acknowledged games.

use crate::{
    cause::Source,
    id::{ModelId, NodeId, SegmentId},
    key::ConfigKey,
    receipt::{Receipt, SegmentFacts, Signature},
};
use serde::{Deserialize, Serialize};

/// Registers a closed segment of games that those who gave `receipts` have synced; applying the command
/// acknowledges the games.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegisterSegment {
    /// Hash of the segment's content.
    pub hash: SegmentId,
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Number of games in the segment.
    pub games: u64,
    /// Number of positions in the segment.
    pub samples: u64,
    /// Size of the segment in bytes.
    pub bytes: u64,
    /// Where the games come from. Only games of self-play count towards the next training.
    pub source: Source,
    /// The model that played.
    pub model: ModelId,
    /// The signatures of the nodes that have synced the segment.
    pub receipts: Vec<Receipt>,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

impl RegisterSegment {
    /// What the receipts are about.
    #[must_use]
    pub fn facts(&self) -> SegmentFacts<'_> {
        SegmentFacts {
            hash: self.hash,
            config_key: &self.config_key,
            games: self.games,
            samples: self.samples,
            bytes: self.bytes,
            source: &self.source,
            model: self.model,
        }
    }
}

/// Records another node that holds a segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddSegmentHolder {
    /// Hash of the segment's content.
    pub hash: SegmentId,
    /// Id of the node that holds it.
    pub node: NodeId,
    /// Its signature of what is registered about the segment.
    pub signature: Signature,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}
