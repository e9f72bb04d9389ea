//! What may be proposed to the cluster.
//!
//! Invariant: [`Command`] is append-only on disk and on the wire (golden bytes below), every command carries the
//! proposer's clock and is idempotent: applying the same bytes twice changes the state once.

use serde::{Deserialize, Serialize};
use std::fmt;
use wire::Hash;

/// A member of the cluster. Counted from 1 (the bootstrap node), never reused.
pub type NodeId = u64;

/// Longest name, version, peer id, address or reason, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Longest configuration key, in bytes.
pub const CONFIG_KEY_BYTES_MAX: usize = 32;
/// Most addresses a node may announce.
pub const ADDRESSES_MAX: usize = 16;
/// Most holders named by one command.
pub const HOLDERS_MAX: usize = 64;
/// Most segments named as evidence.
pub const EVIDENCE_SEGMENTS_MAX: usize = 256;

/// What the leader asks of self-play for one configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfplayTarget {
    /// Share of the nodes' time, relative to the other configurations.
    pub weight: f64,
    /// Search simulations per move.
    pub simulations: u32,
    /// No games at all for now.
    pub paused: bool,
    /// Why, for people.
    pub reason: String,
}

impl Default for SelfplayTarget {
    fn default() -> Self {
        Self { weight: 1.0, simulations: 16, paused: false, reason: String::new() }
    }
}

/// Which kind of exclusive work a lease grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LeaseKind {
    /// Train one configuration.
    Training,
    /// Evaluate one candidate of one configuration.
    Evaluation,
}

impl fmt::Display for LeaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Training => "training",
            Self::Evaluation => "evaluation",
        })
    }
}

/// A trained model, by content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Content hash of the checkpoint.
    pub hash: Hash,
    /// Bytes of the checkpoint.
    pub size: u64,
    /// The model whose weights training started from.
    pub parent: Hash,
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
    pub candidate: Hash,
    /// The model it was compared with.
    pub champion: Hash,
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
    pub segments: Vec<Hash>,
}

/// How badly a champion regressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// It plays somewhat worse than it did.
    Minor,
    /// It plays much worse: training stops, and the champion before it comes back.
    Critical,
}

/// What feedback asks of training and self-play, as factors of the settings: 1 changes nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// Of the learning rate; training decides whether to follow.
    pub learning_rate: f64,
    /// Of the noise and the temperature of self-play.
    pub exploration: f64,
    /// Of the simulations of a decision.
    pub simulations: f64,
    /// Why, for people.
    pub reason: String,
}

impl Default for Feedback {
    fn default() -> Self {
        Self { learning_rate: 1.0, exploration: 1.0, simulations: 1.0, reason: String::new() }
    }
}

/// A change that the cluster agrees on. Times are milliseconds since the epoch on the proposer's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// A peer introduces itself, or brings its data up to date. The same peer keeps its id.
    RegisterNode {
        /// libp2p peer id.
        peer_id: String,
        /// Host name, for people.
        name: String,
        /// Dialable addresses.
        addrs: Vec<String>,
        /// Base URL of its HTTP interface.
        http: String,
        /// Version of its binary.
        version: String,
        /// Random number of this start of its process.
        boot: u64,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// The leader saw a node come or go.
    SetOnline {
        /// Which.
        node: NodeId,
        /// Reachable?
        online: bool,
        /// How that was seen.
        reason: String,
        /// The start that was observed: news of an earlier one are refused.
        observed_boot: u64,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// A new leader announces itself, once per term.
    SetLeader {
        /// Which.
        node: NodeId,
        /// Raft term.
        term: u64,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// A configuration starts with its seeded, untrained network as champion 0.
    InitConfig {
        /// Such as `hex8_2p`.
        config_key: String,
        /// Hash of the seeded network's checkpoint.
        champion: Hash,
        /// Bytes of that checkpoint.
        size: u64,
        /// Games that cause a training.
        threshold: u64,
        /// What self-play starts with.
        target: SelfplayTarget,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// A closed segment of games is synced on `holders`; applying it acknowledges the games.
    RegisterSegment {
        /// Content hash.
        hash: Hash,
        /// Configuration.
        config_key: String,
        /// Games in it.
        games: u64,
        /// Positions in it.
        samples: u64,
        /// Who played, such as `selfplay` or `evaluation`. Only `selfplay` counts towards training.
        source: String,
        /// The model that played.
        model: Hash,
        /// Nodes that synced it.
        holders: Vec<NodeId>,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// One more node holds a segment.
    AddSegmentHolder {
        /// Segment.
        hash: Hash,
        /// Holder.
        node: NodeId,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// Enough games since the last training.
    ThresholdReached {
        /// Configuration.
        config_key: String,
        /// Number of this crossing: one more than the last.
        crossing: u64,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// Exclusive work for one node.
    GrantLease {
        /// Kind of work.
        kind: LeaseKind,
        /// Configuration.
        config_key: String,
        /// Who shall do it.
        node: NodeId,
        /// The candidate, for an evaluation.
        subject: Option<Hash>,
        /// How long the holder may stay silent.
        ttl_ms: u64,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// The holder is at work.
    RenewLease {
        /// Kind of work.
        kind: LeaseKind,
        /// Configuration.
        config_key: String,
        /// Epoch of the lease.
        epoch: u64,
        /// Holder.
        node: NodeId,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// The leader takes a lease away from a silent holder.
    ExpireLease {
        /// Kind of work.
        kind: LeaseKind,
        /// Configuration.
        config_key: String,
        /// Epoch of the lease.
        epoch: u64,
        /// The renewal that the leader saw last; refused if there was another since.
        last_renewed_ms: u64,
        /// Why.
        reason: String,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// The holder gives up.
    FailLease {
        /// Kind of work.
        kind: LeaseKind,
        /// Configuration.
        config_key: String,
        /// Epoch of the lease.
        epoch: u64,
        /// Holder.
        node: NodeId,
        /// What went wrong.
        error: String,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// Training is done: the model becomes a candidate.
    CompleteTraining {
        /// Configuration.
        config_key: String,
        /// Epoch of the lease.
        epoch: u64,
        /// Holder.
        node: NodeId,
        /// The model.
        model: ModelInfo,
        /// How training went.
        report: TrainingReport,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// An evaluation is done: its evidence is kept with the model.
    CompleteEvaluation {
        /// Configuration.
        config_key: String,
        /// Epoch of the lease.
        epoch: u64,
        /// Holder.
        node: NodeId,
        /// What was found.
        evidence: Evidence,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// Compare-and-swap of the champion.
    Promote {
        /// Configuration.
        config_key: String,
        /// The new champion.
        candidate: Hash,
        /// The champion that it replaces.
        expected_champion: Hash,
        /// Smallest gain that counts.
        elo_delta_min: f64,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// The candidate will not be promoted.
    Reject {
        /// Configuration.
        config_key: String,
        /// Which.
        candidate: Hash,
        /// Why.
        reason: String,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// A node holds a model, verified and synced.
    ModelHeld {
        /// Model.
        model: Hash,
        /// Holder.
        node: NodeId,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// What self-play shall do.
    SetTarget {
        /// Configuration.
        config_key: String,
        /// The target.
        target: SelfplayTarget,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// The champion plays worse than it did, or as it did again.
    ReportRegression {
        /// Configuration.
        config_key: String,
        /// The champion that is meant; none: the present one.
        champion: Option<Hash>,
        /// How badly; none: no longer.
        severity: Option<Severity>,
        /// Elo points lost.
        elo_drop: f64,
        /// Games that show it.
        games: u64,
        /// Why.
        reason: String,
        /// The event that said so, if one did: it counts once, however often it is reported.
        trigger: Option<Hash>,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// The champion before the present one comes back, and training goes on from it.
    Rollback {
        /// Configuration.
        config_key: String,
        /// The champion to leave; none: the present one.
        expected_champion: Option<Hash>,
        /// Why.
        reason: String,
        /// What asked for it.
        triggered_by: String,
        /// The event that asked for it, if one did: it counts once.
        trigger: Option<Hash>,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// More candidates wait than evaluation can take, or no longer.
    SetBackpressure {
        /// Configuration.
        config_key: String,
        /// Whether it holds from now on.
        active: bool,
        /// Candidates that wait.
        depth: u64,
        /// Where the pressure begins.
        threshold: u64,
        /// Where it ends.
        release_threshold: u64,
        /// The event that said so, if one did: it counts once.
        trigger: Option<Hash>,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// What feedback asks for.
    SetFeedback {
        /// Configuration.
        config_key: String,
        /// What.
        feedback: Feedback,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// The learning rate of the next training runs. Training alone proposes it.
    SetLearningRate {
        /// Configuration.
        config_key: String,
        /// As a factor of the setting.
        scale: f64,
        /// Why.
        reason: String,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// The share of self-play that a configuration deserves.
    SetCurriculum {
        /// Configuration.
        config_key: String,
        /// Relative to the other configurations.
        weight: f64,
        /// Why.
        reason: String,
        /// At once, because of a critical regression: everybody is told.
        emergency: bool,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// The leader or an operator stops work that is wanted no more. That is no failure of its holder.
    CancelLease {
        /// Kind of work.
        kind: LeaseKind,
        /// Configuration.
        config_key: String,
        /// Epoch of the lease.
        epoch: u64,
        /// Why.
        reason: String,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// A node shall get no more work and hand on what it holds, or work again.
    SetDraining {
        /// Which.
        node: NodeId,
        /// From now on?
        draining: bool,
        /// Why.
        reason: String,
        /// Proposer's clock.
        at_ms: u64,
    },
    /// An operator makes a model champion without evidence.
    Appoint {
        /// Configuration.
        config_key: String,
        /// The new champion: any model of the configuration.
        model: Hash,
        /// The champion that it replaces.
        expected_champion: Hash,
        /// Why.
        reason: String,
        /// Proposer's clock.
        at_ms: u64,
    },
}

impl Command {
    /// The proposer's clock, milliseconds since the epoch.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        match self {
            Self::RegisterNode { at_ms, .. }
            | Self::SetOnline { at_ms, .. }
            | Self::SetLeader { at_ms, .. }
            | Self::InitConfig { at_ms, .. }
            | Self::RegisterSegment { at_ms, .. }
            | Self::AddSegmentHolder { at_ms, .. }
            | Self::ThresholdReached { at_ms, .. }
            | Self::GrantLease { at_ms, .. }
            | Self::RenewLease { at_ms, .. }
            | Self::ExpireLease { at_ms, .. }
            | Self::FailLease { at_ms, .. }
            | Self::CompleteTraining { at_ms, .. }
            | Self::CompleteEvaluation { at_ms, .. }
            | Self::Promote { at_ms, .. }
            | Self::Reject { at_ms, .. }
            | Self::ModelHeld { at_ms, .. }
            | Self::SetTarget { at_ms, .. }
            | Self::ReportRegression { at_ms, .. }
            | Self::Rollback { at_ms, .. }
            | Self::SetBackpressure { at_ms, .. }
            | Self::SetFeedback { at_ms, .. }
            | Self::SetLearningRate { at_ms, .. }
            | Self::SetCurriculum { at_ms, .. }
            | Self::CancelLease { at_ms, .. }
            | Self::SetDraining { at_ms, .. }
            | Self::Appoint { at_ms, .. } => *at_ms,
        }
    }

    /// The variant's name, for logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::RegisterNode { .. } => "RegisterNode",
            Self::SetOnline { .. } => "SetOnline",
            Self::SetLeader { .. } => "SetLeader",
            Self::InitConfig { .. } => "InitConfig",
            Self::RegisterSegment { .. } => "RegisterSegment",
            Self::AddSegmentHolder { .. } => "AddSegmentHolder",
            Self::ThresholdReached { .. } => "ThresholdReached",
            Self::GrantLease { .. } => "GrantLease",
            Self::RenewLease { .. } => "RenewLease",
            Self::ExpireLease { .. } => "ExpireLease",
            Self::FailLease { .. } => "FailLease",
            Self::CompleteTraining { .. } => "CompleteTraining",
            Self::CompleteEvaluation { .. } => "CompleteEvaluation",
            Self::Promote { .. } => "Promote",
            Self::Reject { .. } => "Reject",
            Self::ModelHeld { .. } => "ModelHeld",
            Self::SetTarget { .. } => "SetTarget",
            Self::ReportRegression { .. } => "ReportRegression",
            Self::Rollback { .. } => "Rollback",
            Self::SetBackpressure { .. } => "SetBackpressure",
            Self::SetFeedback { .. } => "SetFeedback",
            Self::SetLearningRate { .. } => "SetLearningRate",
            Self::SetCurriculum { .. } => "SetCurriculum",
            Self::CancelLease { .. } => "CancelLease",
            Self::SetDraining { .. } => "SetDraining",
            Self::Appoint { .. } => "Appoint",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
