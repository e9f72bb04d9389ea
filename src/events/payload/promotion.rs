//! Champions, and how they reach every node.

use super::{Payload, config_payload};
use cluster_state::ModelId;
use serde::{Deserialize, Serialize};

/// Payload of MODEL_PROMOTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelPromoted {
    /// Configuration.
    pub config_key: String,
    /// The leader that proposed it.
    pub node_id: String,
    /// The champion, by content.
    pub model_id: ModelId,
    /// The champion's file.
    pub model_path: String,
    /// Number of the champion; the untrained network is 0.
    pub generation: u64,
    /// The former champion's Elo.
    pub previous_elo: f64,
    /// The champion's Elo.
    pub new_elo: f64,
    /// Their difference.
    pub elo_delta: f64,
    /// Why.
    pub promotion_reason: String,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of MODEL_DISTRIBUTION_COMPLETE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelDistributionComplete {
    /// Configuration.
    pub config_key: String,
    /// The node whose copy completed it.
    pub node_id: String,
    /// The champion, by content.
    pub model_id: ModelId,
    /// The champion's file.
    pub model_path: String,
    /// Nodes that are here and hold it; 256 at most are named.
    pub target_hosts: Vec<String>,
    /// Nodes that are away and will fetch it when they return; 256 at most are named.
    pub offline_hosts: Vec<String>,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of MODEL_DISTRIBUTION_STARTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelDistributionStarted {
    /// Configuration.
    pub config_key: String,
    /// Who says so.
    pub node_id: String,
    /// The model, by content.
    pub model_id: ModelId,
    /// The model's file.
    #[serde(default)]
    pub model_path: String,
    /// Nodes that shall have it; 256 at most are named.
    pub target_hosts: Vec<String>,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of MODEL_DISTRIBUTION_FAILED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelDistributionFailed {
    /// Configuration.
    pub config_key: String,
    /// Who says so.
    pub node_id: String,
    /// The model, by content.
    pub model_id: ModelId,
    /// Why.
    pub error: String,
    /// Nodes that lack it.
    #[serde(default)]
    pub failed_nodes: Vec<String>,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of PROMOTION_REJECTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromotionRejected {
    /// Configuration.
    pub config_key: String,
    /// The leader that judged.
    pub node_id: String,
    /// The candidate, by content.
    pub model_id: ModelId,
    /// Why.
    pub reason: String,
    /// The gain that was found, if it was evaluated.
    #[serde(default)]
    pub elo_improvement: Option<f64>,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of PROMOTION_ROLLED_BACK.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromotionRolledBack {
    /// Configuration.
    pub config_key: String,
    /// The leader.
    pub node_id: String,
    /// The champion from now on, by content.
    pub model_id: ModelId,
    /// Number of the champion that was left.
    pub from_version: u64,
    /// Number of the champion that is back.
    pub to_version: u64,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// What asked for it.
    #[serde(default)]
    pub triggered_by: String,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of CURRICULUM_EMERGENCY_UPDATE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurriculumEmergencyUpdate {
    /// Configuration.
    pub config_key: String,
    /// The leader.
    pub node_id: String,
    /// Weight before.
    #[serde(default)]
    pub old_weight: f64,
    /// Weight from now on.
    pub new_weight: f64,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Unix seconds.
    pub timestamp: f64,
}

config_payload!(ModelPromoted, |e| Some(format!("{}:{}", e.generation, e.model_id)));
config_payload!(ModelDistributionComplete, recurs, |e| Some(e.model_id.to_string()));
config_payload!(ModelDistributionStarted, recurs, |e| Some(e.model_id.to_string()));
config_payload!(ModelDistributionFailed, recurs, |e| Some(e.model_id.to_string()));
config_payload!(PromotionRejected, |e| Some(e.model_id.to_string()));
config_payload!(PromotionRolledBack, recurs, |e| Some(e.model_id.to_string()));
config_payload!(CurriculumEmergencyUpdate, recurs, |_| None);
