//! Models: what became of each, the steps from champion to champion, and an operator's order about
//! the champion.

use cluster_state::ModelId;
use cluster_state::{Evidence, Promotion, TrainingReport};
use serde::{Deserialize, Serialize};

/// A model, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelView {
    /// The hash of its checkpoint.
    pub model: ModelId,
    pub config_key: String,
    /// `champion`, `candidate`, `retired` or `rejected`.
    pub status: String,
    /// Why it was rejected, if it was.
    pub reason: Option<String>,
    /// Its numbers among the champions of the configuration: none, one, or more if it came back.
    pub generations: Vec<u64>,
    /// Its bytes.
    pub size: u64,
    /// The weights it was trained from.
    pub parent: ModelId,
    /// Training steps in it.
    pub step: u64,
    /// The node that trained it; none for the seeded network.
    pub trained_by: Option<String>,
    /// Nodes that hold it.
    pub holders: Vec<String>,
    /// How training went.
    pub report: Option<TrainingReport>,
    /// Its latest evaluation as a candidate.
    pub evidence: Option<Evidence>,
    /// When it became known, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// A step from one champion to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromotionView {
    /// The number of the new champion; 0 is the seeded network.
    pub generation: u64,
    /// The new champion.
    pub model: ModelId,
    /// The champion before.
    pub previous: ModelId,
    /// By how much Elo the new champion is stronger.
    pub elo_delta: f64,
    /// The new champion's Elo rating.
    pub new_elo: f64,
    /// When, in milliseconds since the epoch.
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

/// An operator's order about the champion of a configuration: appoint a model, or bring the champion
/// before back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChampionOrder {
    pub config_key: String,
    /// The model to appoint, or the first hex digits of its hash; none for a rollback.
    #[serde(default)]
    pub model: Option<String>,
    /// Why, for the history.
    pub reason: String,
}

/// What became of the order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChampionMoved {
    pub config_key: String,
    /// The champion now.
    pub champion: ModelId,
    /// Its number; 0 is the seeded network.
    pub generation: u64,
    /// The step that was added to the history; none if the model was champion already.
    pub promotion: Option<PromotionView>,
}
