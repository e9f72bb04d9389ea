//! Models: what training made of the games, and what evaluation found.

use crate::id::{ModelId, NodeId, SegmentId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A trained model, by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Content hash of the checkpoint.
    pub hash: ModelId,
    /// Bytes of the checkpoint.
    pub size: u64,
    /// The model whose weights training started from.
    pub parent: ModelId,
    /// Optimiser steps since the seeded network.
    pub step: u64,
    /// Training runs since the seeded network.
    pub generation: u64,
}

/// What a training run says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingReport {
    /// Passes over the window.
    pub epochs_trained: u32,
    /// Loss on the training games.
    pub final_loss: f64,
    /// Loss on games set aside.
    pub val_loss: f64,
    /// Positions trained on.
    pub samples: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Verdict of the sequential test of candidate against champion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sprt {
    /// Stronger.
    Accept,
    /// Not stronger.
    Reject,
    /// The games ran out first.
    Inconclusive,
}

/// What an evaluation found, with the games that prove it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The model evaluated.
    pub candidate: ModelId,
    /// The model it was compared with.
    pub champion: ModelId,
    /// Games against the champion.
    pub games: u32,
    /// Of these, won by the candidate.
    pub wins: u32,
    /// Of these, lost.
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
    /// Every baseline was beaten as required.
    pub passed_gauntlet: bool,
    /// Segments that hold the games.
    pub segments: Vec<SegmentId>,
}

/// What became of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelStatus {
    /// Waits for a verdict.
    Candidate,
    /// Plays.
    Champion,
    /// Played once.
    Retired,
    /// Will not play.
    Rejected {
        /// Why.
        reason: String,
    },
}

/// A known model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Content.
    pub info: ModelInfo,
    /// Configuration.
    pub config_key: String,
    /// What became of it.
    pub status: ModelStatus,
    /// Nodes that hold it, verified and synced.
    pub holders: BTreeSet<NodeId>,
    /// Who trained it; none for the seeded network.
    pub trained_by: Option<NodeId>,
    /// Epoch of the training lease, 0 for the seeded network.
    pub epoch: u64,
    /// How training went.
    pub report: Option<TrainingReport>,
    /// The latest evaluation.
    pub evidence: Option<Evidence>,
    /// When it became known.
    pub at_ms: u64,
    /// Where in the log.
    pub log_index: u64,
}
