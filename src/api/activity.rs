//! What a node does right now. People read it; nothing is decided by it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the parts of one node do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeActivity {
    pub selfplay: SelfplayActivity,
    /// None while no training runs here.
    pub training: Option<TrainingActivity>,
    /// None while no evaluation runs here.
    pub evaluation: Option<EvaluationActivity>,
    pub transfers: TransferActivity,
    pub cache: CacheActivity,
    /// By configuration, the training run whose candidate this node last prepared for.
    pub prefetched: BTreeMap<String, String>,
    /// Contents that were removed because the cluster does not know them.
    pub collected: u64,
}

/// Games played here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SelfplayActivity {
    /// Configurations in play.
    pub configs: Vec<String>,
    /// Those of them whose games are searched on the cards of this node, and not by the host.
    #[serde(default)]
    pub on_cards: Vec<String>,
    /// Games finished since the process began.
    pub games: u64,
    /// Games per second over the last 10 s.
    pub games_per_s: f64,
    /// Why no games are played, if none are.
    pub paused: Option<String>,
    /// Share of the time in which games are played: less than 1 while this node sees the cluster unhealthy.
    pub rate: f64,
    /// Games whose segment is not acknowledged yet.
    pub unacknowledged: u64,
}

/// A training run here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingActivity {
    pub config_key: String,
    /// The id of the run, which follows from its lease.
    pub job_id: String,
    /// Passes over the window that are done.
    pub epochs_completed: u32,
    /// Passes over the window that are planned.
    pub total_epochs: u32,
    /// Mean loss since the last report.
    pub loss: f64,
}

/// An evaluation here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationActivity {
    pub config_key: String,
    /// The id of the run, which follows from its lease.
    pub job_id: String,
    /// What is played now.
    pub stage: String,
    /// Games finished.
    pub games: u32,
    /// Elo of the candidate minus Elo of the champion so far.
    pub elo_delta: f64,
}

/// Contents that this node got from others since the process began, by the way they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferActivity {
    /// Pieces came from several peers at once.
    pub swarm: u64,
    /// One holder sent them over HTTP.
    pub http: u64,
    /// The operator's command brought them.
    pub rsync: u64,
    /// No way led to them.
    pub failed: u64,
}

/// The networks that are loaded here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheActivity {
    /// Networks that are loaded now.
    pub loaded: usize,
    /// Times that a network was found loaded.
    pub hits: u64,
    /// Times that a network had to be loaded.
    pub misses: u64,
    /// Networks that were dropped because they play no more.
    pub invalidated: u64,
}
