//! Verdicts on candidates.

use super::{Payload, config_payload};
use cluster_state::ModelId;
use serde::{Deserialize, Serialize};

/// Payload of EVALUATION_STARTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationStarted {
    /// Configuration.
    pub config_key: String,
    /// Who evaluates.
    pub node_id: String,
    /// The lease.
    pub job_id: String,
    /// The candidate, by content.
    pub model_id: ModelId,
    /// The candidate's file.
    pub model_path: String,
    /// Games at most.
    pub games_planned: u32,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of EVALUATION_COMPLETED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationCompleted {
    /// Configuration.
    pub config_key: String,
    /// Who evaluated.
    pub node_id: String,
    /// The candidate, by content.
    pub model_id: ModelId,
    /// The candidate's file.
    pub model_path: String,
    /// Candidate minus champion.
    pub elo_delta: f64,
    /// Standard error of `elo_delta`.
    pub elo_error: f64,
    /// Share of points against uniformly random play.
    pub win_rate_vs_random: f64,
    /// Share of points against the one-ply heuristic.
    pub win_rate_vs_heuristic: f64,
    /// The sequential test and the floors passed.
    pub passed_gauntlet: bool,
    /// Games against the champion.
    pub games_played: u32,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of EVALUATION_FAILED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationFailed {
    /// Configuration.
    pub config_key: String,
    /// Who evaluated.
    pub node_id: String,
    /// The lease.
    pub job_id: String,
    /// The candidate, by content.
    #[serde(default)]
    pub model_id: Option<ModelId>,
    /// Why.
    pub error: String,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of EVALUATION_BACKPRESSURE and EVALUATION_BACKPRESSURE_RELEASED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationBackpressure {
    /// Configuration.
    pub config_key: String,
    /// The leader that counted.
    pub node_id: String,
    /// Candidates that wait.
    pub queue_depth: u64,
    /// Where the pressure begins.
    #[serde(default)]
    pub threshold: u64,
    /// Where it ends.
    #[serde(default)]
    pub release_threshold: u64,
    /// Whether it holds now.
    #[serde(default)]
    pub backpressure_active: bool,
    /// Who says so.
    #[serde(default)]
    pub source: String,
    /// Unix seconds.
    pub timestamp: f64,
}

config_payload!(EvaluationStarted, |e| Some(e.job_id.clone()));
config_payload!(EvaluationCompleted, recurs, |e| Some(e.model_id.to_string()));
config_payload!(EvaluationFailed, |e| Some(e.job_id.clone()));
config_payload!(EvaluationBackpressure, recurs, |_| None);
