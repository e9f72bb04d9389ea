//! What a node does right now. The report is for people; no decision depends on it.

use cluster_state::ConfigKey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeActivity {
    pub selfplay: SelfplayActivity,
    /// None while no training runs here.
    pub training: Option<TrainingActivity>,
    /// None while no evaluation runs here.
    pub evaluation: Option<EvaluationActivity>,
    pub transfers: TransferActivity,
    pub cache: CacheActivity,
    #[serde(default)]
    pub audit: AuditActivity,
    /// By configuration, the training run whose candidate this node last prepared for.
    pub prefetched: BTreeMap<ConfigKey, String>,
    /// Contents that this node removed because the cluster does not know them.
    pub collected: u64,
}

/// Self-play on this node.
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
    /// Why this node plays no games; none while it plays.
    pub paused: Option<String>,
    /// Share of the time in which this node plays games: it is less than 1 while this node sees the cluster
    /// unhealthy.
    pub rate: f64,
    /// Games whose segment is not acknowledged yet.
    pub unacknowledged: u64,
}

/// A training run on this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingActivity {
    pub config_key: ConfigKey,
    /// The id of the run, which follows from its lease.
    pub job_id: String,
    /// Passes over the window that are done.
    pub epochs_completed: u32,
    /// Passes over the window that are planned.
    pub total_epochs: u32,
    /// Mean loss since the last report.
    pub loss: f64,
}

/// An evaluation on this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationActivity {
    pub config_key: ConfigKey,
    /// The id of the run, which follows from its lease.
    pub job_id: String,
    /// The part of the evaluation that runs now.
    pub stage: String,
    /// Games finished.
    pub games: u32,
    /// Elo of the candidate minus Elo of the champion so far.
    pub elo_delta: f64,
}

/// Number of contents that this node fetched since the process began, by the way of transfer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferActivity {
    /// Contents whose pieces came from several peers at once.
    pub swarm: u64,
    /// Contents that one holder sent over HTTP.
    pub http: u64,
    /// Contents that the operator's command brought.
    pub rsync: u64,
    /// Contents that no way of transfer delivered.
    pub failed: u64,
}

/// What this node found when it made decisions of other nodes' games again, since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditActivity {
    /// Games that it looked at.
    pub games: u64,
    /// Decisions that it made again.
    pub decisions: u64,
    /// Looks that found a forged game.
    pub forged: u64,
    /// Segments that wait to be looked at.
    pub waiting: usize,
    /// Segments that it did not look at, because too many waited or because they could not be had.
    pub skipped: u64,
    /// Segments and games that a program of another version wrote, so that this node says nothing of them.
    #[serde(default)]
    pub unjudged: u64,
}

/// The cache of loaded networks on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheActivity {
    /// Networks that are loaded now.
    pub loaded: usize,
    /// Times that a network was found loaded.
    pub hits: u64,
    /// Times that a network had to be loaded.
    pub misses: u64,
    /// Networks that were dropped because no game uses them any more.
    pub invalidated: u64,
}
