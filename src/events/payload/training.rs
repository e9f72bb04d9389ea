//! Training runs.

use super::{Payload, config_payload};
use cluster_state::ModelId;
use serde::{Deserialize, Serialize};

/// Payload of TRAINING_STARTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingStarted {
    /// Configuration.
    pub config_key: String,
    /// Who trains.
    pub node_id: String,
    /// The lease, as `training:hex8_2p:EPOCH`.
    pub job_id: String,
    /// Weights that training goes on from.
    pub parent: Option<ModelId>,
    /// Where the candidate will be.
    pub model_path: String,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of TRAINING_PROGRESS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingProgress {
    /// Configuration.
    pub config_key: String,
    /// Who trains.
    pub node_id: String,
    /// The lease.
    pub job_id: String,
    /// Passes done.
    pub epochs_completed: u32,
    /// Passes planned.
    pub total_epochs: u32,
    /// Mean training loss since the last report.
    pub loss: f64,
    /// Where the candidate will be.
    pub checkpoint_path: String,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of TRAINING_COMPLETED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingCompleted {
    /// Configuration.
    pub config_key: String,
    /// Who trained.
    pub node_id: String,
    /// The candidate, by content.
    pub model_id: ModelId,
    /// The candidate's file.
    pub model_path: String,
    /// Board, as in `hex8`.
    pub board_type: String,
    /// Seats.
    pub num_players: u8,
    /// Passes over the window.
    pub epochs_trained: u32,
    /// Training loss at the end.
    pub final_loss: f64,
    /// Loss on games set aside.
    pub val_loss: f64,
    /// The champion's Elo: what the candidate is assumed to have until it is evaluated.
    pub elo_estimate: f64,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of TRAINING_FAILED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingFailed {
    /// Configuration.
    pub config_key: String,
    /// Who trained.
    pub node_id: String,
    /// The lease.
    pub job_id: String,
    /// Why.
    pub error: String,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of TRAINING_ROLLBACK_NEEDED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRollbackNeeded {
    /// Configuration.
    pub config_key: String,
    /// Who asks.
    pub node_id: String,
    /// The model to leave.
    #[serde(default)]
    pub model_id: Option<ModelId>,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Unix seconds.
    pub timestamp: f64,
}

config_payload!(TrainingStarted, |e| Some(e.job_id.clone()));
config_payload!(TrainingProgress, |e| Some(format!("{}#{}", e.job_id, e.epochs_completed)));
config_payload!(TrainingCompleted, |e| Some(e.model_id.to_string()));
config_payload!(TrainingFailed, |e| Some(e.job_id.clone()));
config_payload!(TrainingRollbackNeeded, recurs, |e| e.model_id.map(|model| model.to_string()));
