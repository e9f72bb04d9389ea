//! Payload of the events of a champion that plays worse than before.

use super::{Payload, config_payload};
use cluster_state::{ConfigKey, ModelId};
use serde::{Deserialize, Serialize};

/// Payload of REGRESSION_DETECTED, REGRESSION_CRITICAL and REGRESSION_CLEARED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChampionRegression {
    pub config_key: ConfigKey,
    /// Name of the node that saw it.
    pub node_id: String,
    /// How many Elo points were lost.
    pub elo_drop: f64,
    /// The champion, by content.
    #[serde(default)]
    pub model_id: Option<ModelId>,
    /// The champion's rating now.
    #[serde(default)]
    pub current_elo: Option<f64>,
    /// The champion's rating before.
    #[serde(default)]
    pub baseline_elo: Option<f64>,
    /// Number of games that show it.
    #[serde(default)]
    pub games_played: u64,
    #[serde(default)]
    pub reason: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

config_payload!(ChampionRegression, recurs, |e| e.model_id.map(|model| model.to_string()));
