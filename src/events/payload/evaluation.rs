//! Payloads of the events of evaluation.

use super::{Payload, config_payload};
use cluster_state::{ConfigKey, ModelId};
use serde::{Deserialize, Serialize};

/// Payload of EVALUATION_STARTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationStarted {
    pub config_key: ConfigKey,
    /// Name of the node that evaluates.
    pub node_id: String,
    /// Name of the lease, as `KIND:CONFIG_KEY:EPOCH`.
    pub job_id: String,
    /// The candidate, by content.
    pub model_id: ModelId,
    /// The candidate's file.
    pub model_path: String,
    /// Maximum number of games.
    pub games_planned: u32,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of EVALUATION_COMPLETED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationCompleted {
    pub config_key: ConfigKey,
    /// Name of the node that evaluated.
    pub node_id: String,
    /// The candidate, by content.
    pub model_id: ModelId,
    /// The candidate's file.
    pub model_path: String,
    /// Elo of the candidate minus Elo of the champion.
    pub elo_delta: f64,
    /// Standard error of `elo_delta`.
    pub elo_error: f64,
    /// Share of points against uniformly random play.
    pub win_rate_vs_random: f64,
    /// Share of points against the one-ply heuristic.
    pub win_rate_vs_heuristic: f64,
    /// Whether the sequential test accepted the candidate and it reached every floor.
    pub passed_gauntlet: bool,
    /// Games against the champion.
    pub games_played: u32,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of EVALUATION_FAILED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationFailed {
    pub config_key: ConfigKey,
    /// Name of the node that evaluated.
    pub node_id: String,
    /// Name of the lease, as `KIND:CONFIG_KEY:EPOCH`.
    pub job_id: String,
    /// The candidate, by content.
    #[serde(default)]
    pub model_id: Option<ModelId>,
    pub error: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of EVALUATION_BACKPRESSURE and EVALUATION_BACKPRESSURE_RELEASED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationBackpressure {
    pub config_key: ConfigKey,
    /// Name of the leader that counted.
    pub node_id: String,
    /// Number of candidates that wait.
    pub queue_depth: u64,
    /// Number of waiting candidates at which the pressure begins.
    #[serde(default)]
    pub threshold: u64,
    /// Number of waiting candidates at which the pressure ends.
    #[serde(default)]
    pub release_threshold: u64,
    /// Whether the pressure holds now.
    #[serde(default)]
    pub backpressure_active: bool,
    /// Name of the part that reports it.
    #[serde(default)]
    pub source: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

config_payload!(EvaluationStarted, |e| Some(e.job_id.clone()));
config_payload!(EvaluationCompleted, recurs, |e| Some(e.model_id.to_string()));
config_payload!(EvaluationFailed, |e| Some(e.job_id.clone()));
config_payload!(EvaluationBackpressure, recurs, |_| None);
