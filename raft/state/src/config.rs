//! Configurations of the game: the champion, its history, and the work on it.

use crate::{
    cause::PromotionKind,
    id::ModelId,
    key::ConfigKey,
    lease::{LeaseKind, LeaseSlot},
    steering::{SelfplayTarget, Steering},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Elo of the seeded, untrained network of every configuration.
pub const ELO_INITIAL: f64 = 1000.0;

/// One step of the history of champions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// Number of this champion; the seeded network is 0.
    pub generation: u64,
    /// The new champion.
    pub model: ModelId,
    /// The champion that it replaced.
    pub previous: ModelId,
    /// Elo of the replaced champion.
    pub previous_elo: f64,
    /// Elo of the new champion.
    pub new_elo: f64,
    /// `new_elo` minus `previous_elo`, in Elo points.
    pub elo_delta: f64,
    /// Why the champion changed.
    pub kind: PromotionKind,
    /// The cause, in words for people.
    pub reason: String,
    /// When the promotion was proposed, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Index of the log entry that changed the champion.
    pub log_index: u64,
}

impl Promotion {
    /// Whether an earlier champion came back.
    #[must_use]
    pub fn is_rollback(&self) -> bool {
        match self.kind {
            PromotionKind::RolledBack => true,
            PromotionKind::Evidence | PromotionKind::Appointed | PromotionKind::Other(_) => false,
        }
    }
}

/// The champion that a rollback brings back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fallback {
    /// Hash of its checkpoint.
    pub model: ModelId,
    /// Its number when it was champion.
    pub generation: u64,
    /// Its Elo rating at that time.
    pub elo: f64,
}

/// One configuration of the game.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigState {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Champion 0, the seeded network.
    pub initial: ModelId,
    /// The present champion, which plays.
    pub champion: ModelId,
    /// Number of the present champion.
    pub generation: u64,
    /// Elo rating of the present champion.
    pub elo: f64,
    /// Whether every online node has held the champion at some time since its promotion.
    pub distributed: bool,
    /// The model that training continues from.
    pub newest: ModelId,
    /// Number of models in a row that training continued from and that were rejected.
    pub rejected: u32,
    /// Number of self-play games that are registered.
    pub games_total: u64,
    /// Number of self-play games since the last crossing.
    pub games_since_training: u64,
    /// Number of registered self-play games that the present champion played.
    pub champion_games: u64,
    /// Number of games after which a training starts.
    pub threshold: u64,
    /// How often the threshold was crossed.
    pub crossings: u64,
    /// Number of the last crossing that a completed training used up.
    pub consumed: u64,
    /// The leases of training.
    pub training: LeaseSlot,
    /// The leases of evaluation.
    pub evaluation: LeaseSlot,
    /// Models that wait for their verdict, the oldest first.
    pub candidates: Vec<ModelId>,
    /// What self-play should do for this configuration.
    pub target: SelfplayTarget,
    /// What holds this configuration back or speeds it up.
    pub steering: Steering,
    /// Promotions, the oldest first. They are stored apart from the other fields.
    #[serde(skip)]
    pub history: Vec<Arc<Promotion>>,
}

impl ConfigState {
    /// What a rollback would bring back: the champion that the present one replaced when its reign began. A
    /// rollback undoes the last promotion that is not undone yet, so that repeated rollbacks end at the
    /// seeded network.
    #[must_use]
    pub fn fallback(&self) -> Option<Fallback> {
        let mut undone = 0u64;
        for promotion in self.history.iter().rev() {
            match (promotion.is_rollback(), undone) {
                (true, _) => undone += 1,
                (false, 0) => {
                    return Some(Fallback {
                        model: promotion.previous,
                        generation: promotion.generation.saturating_sub(1),
                        elo: promotion.previous_elo,
                    });
                }
                (false, _) => undone -= 1,
            }
        }
        None
    }

    /// The leases of `kind`.
    #[must_use]
    pub fn lease(&self, kind: LeaseKind) -> &LeaseSlot {
        match kind {
            LeaseKind::Training => &self.training,
            LeaseKind::Evaluation => &self.evaluation,
        }
    }

    pub(crate) fn lease_mut(&mut self, kind: LeaseKind) -> &mut LeaseSlot {
        match kind {
            LeaseKind::Training => &mut self.training,
            LeaseKind::Evaluation => &mut self.evaluation,
        }
    }
}
