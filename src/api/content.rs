//! Contents, which are models and segments: fetching one to a node, and auditing what a node really has.

use cluster_state::{ConfigKey, ModelId, SegmentId};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use wire::Hash;

/// A content that a request brought to this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    pub hash: Hash,
    /// `model` or `segment`.
    pub kind: String,
    pub config_key: ConfigKey,
    /// Size in bytes.
    pub size: u64,
    /// The content's file on the host of the node; its hash was checked just before the answer.
    pub path: PathBuf,
}

/// The result of an audit: every acknowledged segment and every model that is or was champion, and whether
/// this node has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// Name of the audited node.
    pub node_id: String,
    /// Index of the last log entry applied at this node.
    pub applied: u64,
    /// Hash of the replicated state after that entry: nodes that have applied the same entry have the same.
    pub state: Hash,
    /// Acknowledged segments, and for each whether this node has its bytes, verified.
    pub segments: Vec<(SegmentId, bool)>,
    /// Games in those segments.
    pub games: u64,
    /// Champions by configuration, oldest first.
    pub champions: Vec<AuditedModel>,
}

/// A model that is or was champion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditedModel {
    pub config_key: ConfigKey,
    /// The model's number among the champions of its configuration; 0 is the seeded network.
    pub generation: u64,
    pub model: ModelId,
    /// Whether this node has the model's bytes, verified.
    pub here: bool,
}
