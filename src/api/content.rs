//! Contents, which are models and segments: one that was brought to a node, and what a node really has.

use cluster_state::ModelId;
use cluster_state::SegmentId;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use wire::Hash;

/// A content that was asked to be at this node, and is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    pub hash: Hash,
    /// `model` or `segment`.
    pub kind: String,
    pub config_key: String,
    /// Its bytes.
    pub size: u64,
    /// Its file on the host of the node, checked just now.
    pub path: PathBuf,
}

/// Every acknowledged segment and every model that is or was champion, and whether this node has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// The node that was audited.
    pub node_id: String,
    /// Log entries applied here.
    pub applied: u64,
    /// Acknowledged segments, and whether verified bytes of each are here.
    pub segments: Vec<(SegmentId, bool)>,
    /// Games in those segments.
    pub games: u64,
    /// Champions by configuration, oldest first.
    pub champions: Vec<AuditedModel>,
}

/// A model that is or was champion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedModel {
    pub config_key: String,
    /// Its number among the champions of its configuration; 0 is the seeded network.
    pub generation: u64,
    pub model: ModelId,
    /// Whether verified bytes of it are here.
    pub here: bool,
}
