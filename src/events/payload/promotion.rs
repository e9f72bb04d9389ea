//! Payloads of the events of champions and of their distribution to every node.

use super::{Payload, config_payload};
use cluster_state::{ConfigKey, ModelId};
use serde::{Deserialize, Serialize};

/// Payload of MODEL_PROMOTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelPromoted {
    pub config_key: ConfigKey,
    /// The leader that proposed it.
    pub node_id: String,
    /// The champion, by content.
    pub model_id: ModelId,
    /// The champion's file.
    pub model_path: String,
    /// The champion's number; the untrained network is 0.
    pub generation: u64,
    /// Elo rating of the champion before.
    pub previous_elo: f64,
    /// Elo rating of the new champion.
    pub new_elo: f64,
    /// `new_elo` minus `previous_elo`.
    pub elo_delta: f64,
    pub promotion_reason: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of MODEL_DISTRIBUTION_COMPLETE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelDistributionComplete {
    pub config_key: ConfigKey,
    /// The node whose copy completed it.
    pub node_id: String,
    /// The champion, by content.
    pub model_id: ModelId,
    /// The champion's file.
    pub model_path: String,
    /// Names of the online nodes that hold the champion, at most 256.
    pub target_hosts: Vec<String>,
    /// Names of the offline nodes, which will fetch it when they return, at most 256.
    pub offline_hosts: Vec<String>,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of MODEL_DISTRIBUTION_STARTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelDistributionStarted {
    pub config_key: ConfigKey,
    /// Name of the node that reports it, such as `node-3`.
    pub node_id: String,
    /// The model, by content.
    pub model_id: ModelId,
    /// The model's file.
    #[serde(default)]
    pub model_path: String,
    /// Names of the nodes that should hold it, at most 256.
    pub target_hosts: Vec<String>,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of MODEL_DISTRIBUTION_FAILED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelDistributionFailed {
    pub config_key: ConfigKey,
    /// Name of the node that reports it, such as `node-3`.
    pub node_id: String,
    /// The model, by content.
    pub model_id: ModelId,
    pub error: String,
    /// Names of the nodes that lack it.
    #[serde(default)]
    pub failed_nodes: Vec<String>,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of PROMOTION_REJECTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromotionRejected {
    pub config_key: ConfigKey,
    /// Name of the leader that judged.
    pub node_id: String,
    /// The candidate, by content.
    pub model_id: ModelId,
    pub reason: String,
    /// The Elo gain that the evaluation found; none without an evaluation.
    #[serde(default)]
    pub elo_improvement: Option<f64>,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of PROMOTION_ROLLED_BACK.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromotionRolledBack {
    pub config_key: ConfigKey,
    /// Name of the leader that proposed it.
    pub node_id: String,
    /// The champion after the rollback, by content.
    pub model_id: ModelId,
    /// Number of the champion that was replaced.
    pub from_version: u64,
    /// Number of the champion that came back.
    pub to_version: u64,
    #[serde(default)]
    pub reason: String,
    /// Name of the part that asked for the rollback.
    #[serde(default)]
    pub triggered_by: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of CURRICULUM_EMERGENCY_UPDATE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurriculumEmergencyUpdate {
    pub config_key: ConfigKey,
    /// Name of the leader that proposed it.
    pub node_id: String,
    /// Curriculum weight before.
    #[serde(default)]
    pub old_weight: f64,
    /// Curriculum weight after the update.
    pub new_weight: f64,
    #[serde(default)]
    pub reason: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

config_payload!(ModelPromoted, |e| Some(format!("{}:{}", e.generation, e.model_id)));
config_payload!(ModelDistributionComplete, recurs, |e| Some(e.model_id.to_string()));
config_payload!(ModelDistributionStarted, recurs, |e| Some(e.model_id.to_string()));
config_payload!(ModelDistributionFailed, recurs, |e| Some(e.model_id.to_string()));
config_payload!(PromotionRejected, |e| Some(e.model_id.to_string()));
config_payload!(PromotionRolledBack, recurs, |e| Some(e.model_id.to_string()));
config_payload!(CurriculumEmergencyUpdate, recurs, |_| None);
