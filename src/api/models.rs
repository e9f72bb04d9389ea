//! Models: the status of each, the promotions from champion to champion, and an operator's order that changes
//! the champion.

use cluster_state::{ConfigKey, Evidence, ModelId, Promotion, TrainingReport};
use serde::{Deserialize, Serialize};

/// A model and its status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelView {
    /// The hash of its checkpoint.
    pub model: ModelId,
    pub config_key: ConfigKey,
    /// `champion`, `candidate`, `retired` or `rejected`.
    pub status: String,
    /// Why the model was rejected; none if it was not.
    pub reason: Option<String>,
    /// The model's numbers among the champions of the configuration: none, one, or more if it became champion
    /// again.
    pub generations: Vec<u64>,
    /// Size in bytes.
    pub size: u64,
    /// The model whose weights training started from.
    pub parent: ModelId,
    /// Training steps since the seeded network.
    pub step: u64,
    /// The node that trained it; none for the seeded network.
    pub trained_by: Option<String>,
    /// Nodes that hold it.
    pub holders: Vec<String>,
    /// What the training run reported.
    pub report: Option<TrainingReport>,
    /// The model's latest evaluation as a candidate.
    pub evidence: Option<Evidence>,
    /// The node that evaluated it.
    #[serde(default)]
    pub evaluated_by: Option<String>,
    /// Nodes that counted the games of the evaluation again, and came to the same.
    #[serde(default)]
    pub confirmed_by: Vec<String>,
    /// Nodes that counted otherwise.
    #[serde(default)]
    pub denied_by: Vec<String>,
    /// When the cluster recorded the model, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// One promotion: a step from one champion to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromotionView {
    /// The number of the new champion; 0 is the seeded network.
    pub generation: u64,
    /// The new champion.
    pub model: ModelId,
    /// The champion that was replaced.
    pub previous: ModelId,
    /// How many Elo points the new champion is stronger than the champion before.
    pub elo_delta: f64,
    pub new_elo: f64,
    /// When the promotion took effect, in milliseconds since the epoch.
    pub at_ms: u64,
}

impl From<&Promotion> for PromotionView {
    fn from(promotion: &Promotion) -> Self {
        Self {
            generation: promotion.generation,
            model: promotion.model,
            previous: promotion.previous,
            elo_delta: promotion.elo_delta,
            new_elo: promotion.new_elo,
            at_ms: promotion.at_ms,
        }
    }
}

/// An operator's order that changes the champion of a configuration: it appoints a model, or it brings back
/// the champion before the present one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChampionOrder {
    pub config_key: ConfigKey,
    /// The model to appoint, or the first hex digits of its hash; none for a rollback.
    #[serde(default)]
    pub model: Option<String>,
    /// The cause, which the history keeps.
    pub reason: String,
}

/// The result of the order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChampionMoved {
    pub config_key: ConfigKey,
    /// The champion after the order.
    pub champion: ModelId,
    /// The champion's number; 0 is the seeded network.
    pub generation: u64,
    /// The step that was added to the history; none if the model was champion already.
    pub promotion: Option<PromotionView>,
}
