//! Games: played, acknowledged, counted, copied.

use super::{Payload, config_payload};
use cluster_state::SegmentId;
use serde::{Deserialize, Serialize};

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
    pub segment: SegmentId,
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

/// Payload of DATA_SYNC_COMPLETED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSync {
    /// Configuration.
    pub config_key: String,
    /// Who has them now.
    pub node_id: String,
    /// Where they came from.
    #[serde(default)]
    pub host: String,
    /// Games that arrived.
    pub games_synced: u64,
    /// Bytes that arrived.
    #[serde(default)]
    pub bytes_transferred: u64,
    /// Seconds it took.
    #[serde(default)]
    pub duration: f64,
    /// The segment.
    pub segment: SegmentId,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of DATA_SYNC_FAILED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSyncFailed {
    /// Configuration.
    pub config_key: String,
    /// Who lacks them.
    pub node_id: String,
    /// The segment.
    pub segment: SegmentId,
    /// Why.
    pub error: String,
    /// Attempts so far.
    #[serde(default)]
    pub retry_count: u32,
    /// Unix seconds.
    pub timestamp: f64,
}

config_payload!(Games, |e| Some(e.segment.to_string()));
config_payload!(TrainingThresholdReached, |e| Some(format!("{}:{}", e.config_key, e.crossing)));
config_payload!(DataSync, |e| Some(format!("{}:{}", e.node_id, e.segment)));
config_payload!(DataSyncFailed, |e| Some(format!("{}:{}:{}", e.node_id, e.segment, e.retry_count)));
