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
    /// The signatures of the nodes that have synced the segment, first of the one that played it.
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

    /// The node that played the games, which proposes this: its receipt is the first.
    #[must_use]
    pub fn origin(&self) -> NodeId {
        self.receipts.first().map(|receipt| receipt.node).unwrap_or_default()
    }
}

/// Reports that a game of an acknowledged segment of self-play was not played as its record says: the
/// decision at `ply` comes out otherwise, or cannot be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportForgery {
    /// Id of the node that has made the decision again.
    pub node: NodeId,
    /// Hash of the segment's content.
    pub segment: SegmentId,
    /// The game, counted from 0 in the order of the segment.
    pub game: u32,
    /// The first step that proves it.
    pub ply: u32,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
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
