//! Configurations of the game: the champion, its history, and what goes on around it.

use crate::{
    id::ModelId,
    lease::{LeaseKind, LeaseSlot},
    steering::{SelfplayTarget, Steering},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Elo of the seeded, untrained network of every configuration.
pub const ELO_INITIAL: f64 = 1000.0;

/// The start of a rollback's reason, as kept in the history.
pub(crate) const ROLLED_BACK: &str = "rolled back";

/// One step of the history of champions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// Number of this champion; the seeded network is 0.
    pub generation: u64,
    /// The new champion.
    pub model: ModelId,
    /// The one it replaced.
    pub previous: ModelId,
    /// Elo of the replaced champion.
    pub previous_elo: f64,
    /// Elo of the new champion.
    pub new_elo: f64,
    /// Gain.
    pub elo_delta: f64,
    /// Why.
    pub reason: String,
    /// When.
    pub at_ms: u64,
    /// Where in the log.
    pub log_index: u64,
}

impl Promotion {
    /// Whether an earlier champion came back.
    #[must_use]
    pub fn is_rollback(&self) -> bool {
        self.reason.starts_with(ROLLED_BACK)
    }
}

/// The champion that a rollback brings back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fallback {
    /// The model.
    pub model: ModelId,
    /// Its number when it was champion.
    pub generation: u64,
    /// Its rating then.
    pub elo: f64,
}

/// One configuration of the game.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigState {
    /// Such as `hex8_2p`.
    pub config_key: String,
    /// Champion 0, the seeded network.
    pub initial: ModelId,
    /// The model that plays.
    pub champion: ModelId,
    /// Its number.
    pub generation: u64,
    /// Its rating.
    pub elo: f64,
    /// Every online node held the champion at some time since its promotion.
    pub distributed: bool,
    /// The model that training goes on from.
    pub newest: ModelId,
    /// Self-play games registered.
    pub games_total: u64,
    /// Self-play games since the last crossing.
    pub games_since_training: u64,
    /// Self-play games registered that the present champion played.
    pub champion_games: u64,
    /// Games that cause a training.
    pub threshold: u64,
    /// Times that the threshold was crossed.
    pub crossings: u64,
    /// The last crossing that a completed training used up.
    pub consumed: u64,
    /// Training.
    pub training: LeaseSlot,
    /// Evaluation.
    pub evaluation: LeaseSlot,
    /// Models that wait for their verdict, oldest first.
    pub candidates: Vec<ModelId>,
    /// What self-play shall do.
    pub target: SelfplayTarget,
    /// What holds it back or drives it on.
    pub steering: Steering,
    /// Promotions, oldest first. Stored apart from the rest.
    #[serde(skip)]
    pub history: Vec<Arc<Promotion>>,
}

impl ConfigState {
    /// What a rollback would bring back: the champion that the present one replaced when its
    /// reign began. A rollback undoes the last promotion that is not undone yet, so that one
    /// after the other ends at the seeded network.
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

    /// The lease slot of `kind`.
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
