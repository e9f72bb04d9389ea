//! Commands about models: which one is champion, which nodes hold it, and which are rejected.

use crate::{
    evidence::Tallies,
    id::{ModelId, NodeId, TriggerId},
    key::ConfigKey,
    steering::{SelfplayTarget, Severity},
};
use serde::{Deserialize, Serialize};

/// Starts a configuration with its seeded, untrained network as champion 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InitConfig {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Hash of the seeded network's checkpoint.
    pub champion: ModelId,
    /// Size of that checkpoint in bytes.
    pub size: u64,
    /// Number of games after which a training starts.
    pub threshold: u64,
    /// The target that self-play starts with.
    pub target: SelfplayTarget,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Promotes a candidate by compare-and-swap of the champion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promote {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// The new champion.
    pub candidate: ModelId,
    /// The champion that the command expects and replaces.
    pub expected_champion: ModelId,
    /// Smallest gain in Elo points that is enough for a promotion.
    pub elo_delta_min: f64,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Records what a node counted that replayed the games of an evaluation and had no part in it. The evidence
/// is confirmed by the same counts, and denied by others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfirmEvidence {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// The model that was evaluated.
    pub candidate: ModelId,
    /// Epoch of the evaluation.
    pub epoch: u64,
    /// Id of the node that counted.
    pub node: NodeId,
    /// What it counted; none if the segments do not hold whole sets of games between these players.
    pub counted: Option<Tallies>,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Records that a candidate will not be promoted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reject {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// The rejected model.
    pub candidate: ModelId,
    /// The cause, in words for people.
    pub reason: String,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Records that a node holds a model, verified and synced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelHeld {
    /// Hash of the model's checkpoint.
    pub model: ModelId,
    /// Id of the node that holds it.
    pub node: NodeId,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Brings back the champion before the present one, and lets training continue from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// The champion to replace; none means the present one.
    pub expected_champion: Option<ModelId>,
    /// The cause, in words for people.
    pub reason: String,
    /// Name of the part that asked for the rollback, such as `operator`.
    pub triggered_by: String,
    /// The event that asked for it, if one did: each event counts once.
    pub trigger: Option<TriggerId>,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Makes a model champion without evidence, on an operator's order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Appoint {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// The new champion: any model of the configuration.
    pub model: ModelId,
    /// The champion that the command expects and replaces.
    pub expected_champion: ModelId,
    /// The cause, in words for people.
    pub reason: String,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Records that the champion plays worse than before, or that it no longer does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportRegression {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// The champion that is meant; none means the present one.
    pub champion: Option<ModelId>,
    /// How badly the champion regressed; none means that it no longer does.
    pub severity: Option<Severity>,
    /// How many Elo points weaker the champion plays.
    pub elo_drop: f64,
    /// Number of games that show it.
    pub games: u64,
    /// The cause, in words for people.
    pub reason: String,
    /// The event that reported it, if one did: it counts once, however often it is reported.
    pub trigger: Option<TriggerId>,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}
