//! A champion that plays worse than it did.

use super::{Payload, config_payload};
use cluster_state::ModelId;
use serde::{Deserialize, Serialize};

/// Payload of REGRESSION_DETECTED, REGRESSION_CRITICAL and REGRESSION_CLEARED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// Configuration.
    pub config_key: String,
    /// Who saw it.
    pub node_id: String,
    /// How many Elo points were lost.
    pub elo_drop: f64,
    /// The champion, by content.
    #[serde(default)]
    pub model_id: Option<ModelId>,
    /// Its rating now.
    #[serde(default)]
    pub current_elo: Option<f64>,
    /// Its rating before.
    #[serde(default)]
    pub baseline_elo: Option<f64>,
    /// Games that show it.
    #[serde(default)]
    pub games_played: u64,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Unix seconds.
    pub timestamp: f64,
}

config_payload!(Regression, recurs, |e| e.model_id.map(|model| model.to_string()));
