//! Payloads of the events of games: played, acknowledged, counted, copied.

use super::{Payload, config_payload};
use cluster_state::{ConfigKey, SegmentId};
use serde::{Deserialize, Serialize};

/// Payload of SELFPLAY_COMPLETE and NEW_GAMES_AVAILABLE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Games {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// Name of the node that played.
    pub node_id: String,
    /// Number of games in this batch.
    pub game_count: u64,
    /// Number of games of the configuration so far.
    pub total_games: u64,
    /// Path of the canonical game database.
    pub db_path: String,
    /// The batch, by content.
    pub segment: SegmentId,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of TRAINING_THRESHOLD_REACHED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingThresholdReached {
    pub config_key: ConfigKey,
    /// Name of the leader that counted.
    pub node_id: String,
    /// Number of this crossing of the threshold, from 1.
    pub crossing: u64,
    /// Number of games since the last crossing.
    pub game_count: u64,
    /// Number of games that causes a training.
    pub threshold: u64,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of DATA_SYNC_COMPLETED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSync {
    pub config_key: ConfigKey,
    /// Name of the node that has the games now.
    pub node_id: String,
    /// The nodes that held the games before, separated by commas.
    #[serde(default)]
    pub host: String,
    /// Number of games that arrived.
    pub games_synced: u64,
    /// Number of bytes that arrived.
    #[serde(default)]
    pub bytes_transferred: u64,
    /// Duration of the transfer in seconds.
    #[serde(default)]
    pub duration: f64,
    pub segment: SegmentId,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of DATA_SYNC_FAILED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSyncFailed {
    pub config_key: ConfigKey,
    /// Name of the node that lacks the games.
    pub node_id: String,
    pub segment: SegmentId,
    pub error: String,
    /// Number of attempts so far.
    #[serde(default)]
    pub retry_count: u32,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of FORGERY_FOUND.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForgeryFound {
    pub config_key: ConfigKey,
    /// Name of the node that forged the game.
    pub node_id: String,
    pub segment: SegmentId,
    /// The game, counted from 0 in the order of the segment.
    pub game: u32,
    /// The step that comes out otherwise when it is played again.
    pub ply: u32,
    /// Names of the nodes that have played it again.
    #[serde(default)]
    pub confirmed_by: Vec<String>,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

config_payload!(ForgeryFound, |e| Some(format!("{}:{}", e.node_id, e.segment)));
config_payload!(Games, |e| Some(e.segment.to_string()));
config_payload!(TrainingThresholdReached, |e| Some(format!("{}:{}", e.config_key, e.crossing)));
config_payload!(DataSync, |e| Some(format!("{}:{}", e.node_id, e.segment)));
config_payload!(DataSyncFailed, |e| Some(format!("{}:{}:{}", e.node_id, e.segment, e.retry_count)));
