//! How hosts and the cluster fare, as one node sees it, and the daemons of that node that failed.

use cluster_state::{ClusterState, NodeId};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a node knows of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// It can be reached.
    Online,
    /// It cannot be reached, or an operator said so.
    Offline,
    /// Nothing is known yet: neither good nor bad.
    Unknown,
}

/// How the cluster stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Too little was seen to say.
    #[default]
    Unknown,
    /// More than half of the members can be reached.
    Healthy,
    /// A majority of the members cannot be reached.
    Unhealthy,
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is about, in one word: the same alert is raised once.
    pub name: String,
    /// What is wrong, in a sentence.
    pub message: String,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: u64,
}

/// The cluster as this node sees it. A view needs no quorum, and decides nothing that others must agree on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterView {
    pub standing: Standing,
    /// Why the cluster is unhealthy, if it is.
    pub unhealthy: Option<String>,
    /// Since when the standing has been the same, in milliseconds since the epoch.
    pub since_ms: u64,
    /// 0 to 100; none while too little is known.
    pub score: Option<f64>,
    /// Hosts by id.
    pub hosts: BTreeMap<NodeId, HostState>,
    /// Hosts that an operator says are offline, whatever this node sees of them.
    pub claimed: BTreeSet<NodeId>,
    /// What a person should look at.
    pub alerts: Vec<Alert>,
}

impl ClusterView {
    /// The state as one should decide by it: hosts that are said to be offline count as offline.
    #[must_use]
    pub fn through(&self, state: &ClusterState) -> ClusterState {
        let mut seen = state.clone();
        if !self.claimed.is_empty() {
            let nodes = Arc::make_mut(&mut seen.nodes);
            let claimed = nodes.iter_mut().filter(|(id, _)| self.claimed.contains(id));
            claimed.for_each(|(_, node)| Arc::make_mut(node).online = false);
        }
        seen
    }
}

/// How a daemon of the answering node failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonFailures {
    /// The name of the daemon.
    pub daemon: String,
    /// How often it failed since the process began.
    pub failures: u64,
    /// How often it failed without a sound run in between.
    pub in_row: u32,
    /// It fails again and again.
    pub crash_loop: bool,
    /// How often it was restarted because of an event.
    pub restarts: u64,
    /// The last failure.
    pub last_error: String,
}
