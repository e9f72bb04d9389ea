//! Commands about acknowledged games.

use crate::{
    cause::Source,
    id::{ModelId, NodeId, SegmentId},
    key::ConfigKey,
};
use serde::{Deserialize, Serialize};

/// Registers a closed segment of games that is synced on `holders`; applying the command acknowledges the
/// games.
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
    /// Where the games come from. Only games of self-play count towards the next training.
    pub source: Source,
    /// The model that played.
    pub model: ModelId,
    /// Ids of the nodes that have synced the segment.
    pub holders: Vec<NodeId>,
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
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}
