//! Exclusive work.

use super::{Payload, config_payload};
use serde::{Deserialize, Serialize};

/// Payload of WORK_QUEUED, WORK_CLAIMED, WORK_COMPLETED, WORK_FAILED, WORK_TIMEOUT and WORK_CANCELLED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Configuration.
    pub config_key: String,
    /// The holder, or who says so while there is none.
    pub node_id: String,
    /// The lease, as `training:hex8_2p:EPOCH`.
    pub work_id: String,
    /// `training` or `evaluation`.
    pub work_type: String,
    /// What went wrong, if anything.
    #[serde(default)]
    pub error: String,
    /// Unix seconds.
    pub timestamp: f64,
}

config_payload!(Work, |e| Some(e.work_id.clone()));
