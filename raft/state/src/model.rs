//! Models: the result of a training, and what an evaluation found about it.

use crate::{
    evidence::{Tallies, Terms},
    id::{ModelId, NodeId, SegmentId},
    key::ConfigKey,
    review::Review,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A trained model, identified by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Content hash of the checkpoint.
    pub hash: ModelId,
    /// Size of the checkpoint in bytes.
    pub size: u64,
    /// The model whose weights training started from.
    pub parent: ModelId,
    /// Number of optimiser steps since the seeded network.
    pub step: u64,
    /// Number of training runs since the seeded network.
    pub generation: u64,
}

/// What a training run reports about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingReport {
    /// Number of passes over the window.
    pub epochs_trained: u32,
    /// Loss on the training games.
    pub final_loss: f64,
    /// Loss on games set aside for validation.
    pub val_loss: f64,
    /// Number of positions that the run trained on.
    pub samples: u64,
    /// Duration in seconds of wall-clock time.
    pub seconds: f64,
}

/// The verdict of the sequential test of candidate against champion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sprt {
    /// The candidate is stronger.
    Accept,
    /// The candidate is not stronger.
    Reject,
    /// The games ran out before a verdict.
    Inconclusive,
}

/// What an evaluation found, with the games that prove it. Every figure follows from `against` and `terms`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The model that was evaluated.
    pub candidate: ModelId,
    /// The model that it was compared with.
    pub champion: ModelId,
    /// Number of games against the champion.
    pub games: u32,
    /// Number of these games that the candidate won.
    pub wins: u32,
    /// Number of these games that the candidate lost.
    pub losses: u32,
    /// Elo of the candidate minus Elo of the champion.
    pub elo_delta: f64,
    /// Standard error of `elo_delta`.
    pub elo_error: f64,
    /// Verdict of the sequential test.
    pub sprt: Sprt,
    /// Share of games won against uniformly random play.
    pub win_rate_vs_random: f64,
    /// Share of games won against the one-ply heuristic.
    pub win_rate_vs_heuristic: f64,
    /// Whether the candidate beat random play as the terms require, and the test accepted it.
    pub passed_gauntlet: bool,
    /// What the evaluation was run by.
    pub terms: Terms,
    /// The games by opponent.
    pub against: Tallies,
    /// Registered segments that hold these games and no others.
    pub segments: Vec<SegmentId>,
}

/// The status of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelStatus {
    /// The model waits for a verdict.
    Candidate,
    /// The model is the champion and plays.
    Champion,
    /// The model was champion before.
    Retired,
    /// The model was rejected and will not play.
    Rejected {
        /// The cause, in words for people.
        reason: String,
    },
}

/// A model that the cluster knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// The model's content and origin.
    pub info: ModelInfo,
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// The model's status.
    pub status: ModelStatus,
    /// Ids of the nodes that hold the model, verified and synced.
    pub holders: BTreeSet<NodeId>,
    /// Id of the node that trained it; none for the seeded network.
    pub trained_by: Option<NodeId>,
    /// Epoch of the training lease; 0 for the seeded network.
    pub epoch: u64,
    /// What the training run reported.
    pub report: Option<TrainingReport>,
    /// The evidence of its latest evaluation.
    pub evidence: Option<Evidence>,
    /// What others found who counted the games of that evaluation again.
    pub review: Option<Review>,
    /// When the model was registered, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Index of the log entry that recorded it.
    pub log_index: u64,
}
