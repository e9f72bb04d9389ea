//! UnifiedHealthManager: how hosts and the cluster fare, as this node sees it.

use super::handlers::{Handled, decide as decide_now};
use crate::{events::log::Logged, node::Context};
use raft::NodeId;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// What this node knows of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Host {
    /// It can be reached.
    Online,
    /// It cannot, or somebody said so.
    Offline,
    /// Nothing is known yet: neither good nor bad.
    Unknown,
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What about, in one word: the same alert is raised once.
    pub name: String,
    /// In a sentence.
    pub message: String,
    /// Since when, milliseconds since the epoch.
    pub since_ms: u64,
}

/// The cluster as this node sees it. It needs no quorum, and decides nothing that others must agree on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Why the cluster is unhealthy, if so.
    pub unhealthy: Option<String>,
    /// Since when it has been as it is, milliseconds since the epoch.
    pub since_ms: u64,
    /// 0 to 100; none while too little is known.
    pub score: Option<f64>,
    /// Hosts by id.
    pub hosts: BTreeMap<NodeId, Host>,
    /// What a person should look at.
    pub alerts: Vec<Alert>,
}

/// Has the leader look at the state now.
///
/// # Errors
/// When no leader is known.
pub async fn handle(node: Context, _: Arc<Logged>) -> Handled {
    decide_now(node).await
}
