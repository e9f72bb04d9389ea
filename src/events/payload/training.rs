//! Payloads of the events of training runs.

use super::{Payload, config_payload};
use cluster_state::{ConfigKey, ModelId};
use serde::{Deserialize, Serialize};

/// Payload of TRAINING_STARTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingStarted {
    pub config_key: ConfigKey,
    /// Name of the node that trains.
    pub node_id: String,
    /// Name of the lease, as `training:hex8_2p:EPOCH`.
    pub job_id: String,
    /// The model whose weights training starts from.
    pub parent: Option<ModelId>,
    /// Path of the file that will hold the candidate.
    pub model_path: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of TRAINING_PROGRESS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingProgress {
    pub config_key: ConfigKey,
    /// Name of the node that trains.
    pub node_id: String,
    /// Name of the lease, as `KIND:CONFIG_KEY:EPOCH`.
    pub job_id: String,
    /// Passes over the window that are done.
    pub epochs_completed: u32,
    /// Passes over the window that are planned.
    pub total_epochs: u32,
    /// Mean training loss since the last report.
    pub loss: f64,
    /// Path of the file that will hold the candidate.
    pub checkpoint_path: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of TRAINING_COMPLETED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingCompleted {
    pub config_key: ConfigKey,
    /// Name of the node that trained.
    pub node_id: String,
    /// The candidate, by content.
    pub model_id: ModelId,
    /// The candidate's file.
    pub model_path: String,
    /// The board, such as `hex8`.
    pub board_type: String,
    /// Number of seats.
    pub num_players: u8,
    /// Passes over the window.
    pub epochs_trained: u32,
    /// Training loss at the end.
    pub final_loss: f64,
    /// Loss on the validation games.
    pub val_loss: f64,
    /// Elo of the champion, which the candidate is assumed to have until its evaluation.
    pub elo_estimate: f64,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of TRAINING_FAILED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingFailed {
    pub config_key: ConfigKey,
    /// Name of the node that trained.
    pub node_id: String,
    /// Name of the lease, as `KIND:CONFIG_KEY:EPOCH`.
    pub job_id: String,
    pub error: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of TRAINING_ROLLBACK_NEEDED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRollbackNeeded {
    pub config_key: ConfigKey,
    /// Name of the node that asks for the rollback.
    pub node_id: String,
    /// The model that the rollback replaces.
    #[serde(default)]
    pub model_id: Option<ModelId>,
    #[serde(default)]
    pub reason: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

config_payload!(TrainingStarted, |e| Some(e.job_id.clone()));
config_payload!(TrainingProgress, |e| Some(format!("{}#{}", e.job_id, e.epochs_completed)));
config_payload!(TrainingCompleted, |e| Some(e.model_id.to_string()));
config_payload!(TrainingFailed, |e| Some(e.job_id.clone()));
config_payload!(TrainingRollbackNeeded, recurs, |e| e.model_id.map(|model| model.to_string()));
