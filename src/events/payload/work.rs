//! Payload of the events of exclusive work.

use super::{Payload, config_payload};
use cluster_state::ConfigKey;
use serde::{Deserialize, Serialize};

/// Payload of WORK_QUEUED, WORK_CLAIMED, WORK_COMPLETED, WORK_FAILED, WORK_TIMEOUT and WORK_CANCELLED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    pub config_key: ConfigKey,
    /// Name of the holder; while there is none, name of the node that reports it.
    pub node_id: String,
    /// Name of the lease, as `training:hex8_2p:EPOCH`.
    pub work_id: String,
    /// `training` or `evaluation`.
    pub work_type: String,
    /// What went wrong; empty if nothing did.
    #[serde(default)]
    pub error: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

config_payload!(Work, |e| Some(e.work_id.clone()));
