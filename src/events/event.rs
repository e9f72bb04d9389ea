//! What happened, as plain data.
//!
//! Invariant: names and payload fields are those of the event-flow map (`docs/EVENT_FLOW_INTEGRATION.md`); a test
//! holds them as golden JSON. An event never asks for anything: a daemon that wants the cluster to act proposes a
//! Raft command. `db_path` and `model_path` are the paths under the reader's own data folder; the content hash
//! beside them (`model_id`, `segment`) is what identifies the content everywhere.

use serde::{Deserialize, Serialize};
use wire::Hash;

/// One thing that happened. In JSON an object of one key, the map's name, holding the payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Event {
    /// A runner closed a batch of games.
    SelfplayComplete(Games),
    /// A segment of games is acknowledged: durable on enough nodes and registered.
    NewGamesAvailable(Games),
    /// Enough new games for a training run.
    TrainingThresholdReached(TrainingThresholdReached),
    /// A node holds the lease and trains.
    TrainingStarted(TrainingStarted),
    /// Some epochs are done.
    TrainingProgress(TrainingProgress),
    /// A candidate exists.
    TrainingCompleted(TrainingCompleted),
    /// A node holds the lease and plays the candidate's games.
    EvaluationStarted(EvaluationStarted),
    /// The verdict on a candidate.
    EvaluationCompleted(EvaluationCompleted),
    /// There is a new champion.
    ModelPromoted(ModelPromoted),
    /// Every live node holds and has verified the champion.
    ModelDistributionComplete(ModelDistributionComplete),
    /// A node can be reached again.
    HostOnline(HostOnline),
    /// A node cannot be reached.
    HostOffline(HostOffline),
    /// A new Raft leader made its first entry.
    LeaderElected(LeaderElected),
}

/// Payload of SELFPLAY_COMPLETE and NEW_GAMES_AVAILABLE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Games {
    /// Configuration, as in `hex8_2p`.
    pub config_key: String,
    /// Who played.
    pub node_id: String,
    /// Games in this batch.
    pub game_count: u64,
    /// Games of the configuration so far.
    pub total_games: u64,
    /// The canonical game database.
    pub db_path: String,
    /// The batch, by content.
    pub segment: Hash,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of TRAINING_THRESHOLD_REACHED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingThresholdReached {
    /// Configuration.
    pub config_key: String,
    /// The leader that counted.
    pub node_id: String,
    /// Which crossing this is, from 1.
    pub crossing: u64,
    /// Games since the last crossing.
    pub game_count: u64,
    /// Games asked for.
    pub threshold: u64,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of TRAINING_STARTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingStarted {
    /// Configuration.
    pub config_key: String,
    /// Who trains.
    pub node_id: String,
    /// The lease, as `training:hex8_2p:EPOCH`.
    pub job_id: String,
    /// Weights that training goes on from.
    pub parent: Option<Hash>,
    /// Where the candidate will be.
    pub model_path: String,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of TRAINING_PROGRESS.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingProgress {
    /// Configuration.
    pub config_key: String,
    /// Who trains.
    pub node_id: String,
    /// The lease.
    pub job_id: String,
    /// Passes done.
    pub epochs_completed: u32,
    /// Passes planned.
    pub total_epochs: u32,
    /// Mean training loss since the last report.
    pub loss: f64,
    /// Where the candidate will be.
    pub checkpoint_path: String,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of TRAINING_COMPLETED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingCompleted {
    /// Configuration.
    pub config_key: String,
    /// Who trained.
    pub node_id: String,
    /// The candidate, by content.
    pub model_id: Hash,
    /// The candidate's file.
    pub model_path: String,
    /// Board, as in `hex8`.
    pub board_type: String,
    /// Seats.
    pub num_players: u8,
    /// Passes over the window.
    pub epochs_trained: u32,
    /// Training loss at the end.
    pub final_loss: f64,
    /// Loss on games set aside.
    pub val_loss: f64,
    /// The champion's Elo: what the candidate is assumed to have until it is evaluated.
    pub elo_estimate: f64,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of EVALUATION_STARTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationStarted {
    /// Configuration.
    pub config_key: String,
    /// Who evaluates.
    pub node_id: String,
    /// The lease.
    pub job_id: String,
    /// The candidate, by content.
    pub model_id: Hash,
    /// The candidate's file.
    pub model_path: String,
    /// Games at most.
    pub games_planned: u32,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of EVALUATION_COMPLETED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationCompleted {
    /// Configuration.
    pub config_key: String,
    /// Who evaluated.
    pub node_id: String,
    /// The candidate, by content.
    pub model_id: Hash,
    /// The candidate's file.
    pub model_path: String,
    /// Candidate minus champion.
    pub elo_delta: f64,
    /// Standard error of `elo_delta`.
    pub elo_error: f64,
    /// Share of points against uniformly random play.
    pub win_rate_vs_random: f64,
    /// Share of points against the one-ply heuristic.
    pub win_rate_vs_heuristic: f64,
    /// The sequential test and the floors passed.
    pub passed_gauntlet: bool,
    /// Games against the champion.
    pub games_played: u32,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of MODEL_PROMOTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelPromoted {
    /// Configuration.
    pub config_key: String,
    /// The leader that proposed it.
    pub node_id: String,
    /// The champion, by content.
    pub model_id: Hash,
    /// The champion's file.
    pub model_path: String,
    /// Number of the champion; the untrained network is 0.
    pub generation: u64,
    /// The former champion's Elo.
    pub previous_elo: f64,
    /// The champion's Elo.
    pub new_elo: f64,
    /// Their difference.
    pub elo_delta: f64,
    /// Why.
    pub promotion_reason: String,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of MODEL_DISTRIBUTION_COMPLETE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelDistributionComplete {
    /// Configuration.
    pub config_key: String,
    /// The node whose copy completed it.
    pub node_id: String,
    /// The champion, by content.
    pub model_id: Hash,
    /// The champion's file.
    pub model_path: String,
    /// Nodes that hold it.
    pub target_hosts: Vec<String>,
    /// Nodes that are away and will fetch it when they return.
    pub offline_hosts: Vec<String>,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of HOST_ONLINE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostOnline {
    /// Who.
    pub node_id: String,
    /// Its name.
    pub host: String,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of HOST_OFFLINE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostOffline {
    /// Who.
    pub node_id: String,
    /// Its name.
    pub host: String,
    /// What the leader saw.
    pub reason: String,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of LEADER_ELECTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeaderElected {
    /// The leader.
    pub leader_id: String,
    /// Its name.
    pub node_id: String,
    /// Raft term.
    pub term: u64,
    /// Who led before.
    pub previous_leader_id: Option<String>,
    /// Unix seconds.
    pub timestamp: f64,
}

impl Event {
    /// The map's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SelfplayComplete(_) => "SELFPLAY_COMPLETE",
            Self::NewGamesAvailable(_) => "NEW_GAMES_AVAILABLE",
            Self::TrainingThresholdReached(_) => "TRAINING_THRESHOLD_REACHED",
            Self::TrainingStarted(_) => "TRAINING_STARTED",
            Self::TrainingProgress(_) => "TRAINING_PROGRESS",
            Self::TrainingCompleted(_) => "TRAINING_COMPLETED",
            Self::EvaluationStarted(_) => "EVALUATION_STARTED",
            Self::EvaluationCompleted(_) => "EVALUATION_COMPLETED",
            Self::ModelPromoted(_) => "MODEL_PROMOTED",
            Self::ModelDistributionComplete(_) => "MODEL_DISTRIBUTION_COMPLETE",
            Self::HostOnline(_) => "HOST_ONLINE",
            Self::HostOffline(_) => "HOST_OFFLINE",
            Self::LeaderElected(_) => "LEADER_ELECTED",
        }
    }
}
