//! Commands about models: which one plays, who holds it, and which are out.

use crate::{
    id::{ModelId, NodeId, TriggerId},
    steering::{SelfplayTarget, Severity},
};
use serde::{Deserialize, Serialize};

/// A configuration starts with its seeded, untrained network as champion 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InitConfig {
    /// Such as `hex8_2p`.
    pub config_key: String,
    /// Hash of the seeded network's checkpoint.
    pub champion: ModelId,
    /// Bytes of that checkpoint.
    pub size: u64,
    /// Games that cause a training.
    pub threshold: u64,
    /// What self-play starts with.
    pub target: SelfplayTarget,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Compare-and-swap of the champion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promote {
    /// Configuration.
    pub config_key: String,
    /// The new champion.
    pub candidate: ModelId,
    /// The champion that it replaces.
    pub expected_champion: ModelId,
    /// Smallest gain that counts.
    pub elo_delta_min: f64,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// The candidate will not be promoted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// Configuration.
    pub config_key: String,
    /// Which.
    pub candidate: ModelId,
    /// Why.
    pub reason: String,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// A node holds a model, verified and synced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelHeld {
    /// Model.
    pub model: ModelId,
    /// Holder.
    pub node: NodeId,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// The champion before the present one comes back, and training goes on from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    /// Configuration.
    pub config_key: String,
    /// The champion to leave; none: the present one.
    pub expected_champion: Option<ModelId>,
    /// Why.
    pub reason: String,
    /// What asked for it.
    pub triggered_by: String,
    /// The event that asked for it, if one did: it counts once.
    pub trigger: Option<TriggerId>,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// An operator makes a model champion without evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Appoint {
    /// Configuration.
    pub config_key: String,
    /// The new champion: any model of the configuration.
    pub model: ModelId,
    /// The champion that it replaces.
    pub expected_champion: ModelId,
    /// Why.
    pub reason: String,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// The champion plays worse than it did, or as it did again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportRegression {
    /// Configuration.
    pub config_key: String,
    /// The champion that is meant; none: the present one.
    pub champion: Option<ModelId>,
    /// How badly; none: no longer.
    pub severity: Option<Severity>,
    /// Elo points lost.
    pub elo_drop: f64,
    /// Games that show it.
    pub games: u64,
    /// Why.
    pub reason: String,
    /// The event that said so, if one did: it counts once, however often it is reported.
    pub trigger: Option<TriggerId>,
    /// Proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}
