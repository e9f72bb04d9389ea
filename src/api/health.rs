//! The health of the hosts and of the cluster, as one node sees it, and the failed daemons of that node.

use cluster_state::{ClusterState, NodeId};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a node knows about the state of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// The host can be reached.
    Online,
    /// The host cannot be reached, or an operator said so.
    Offline,
    /// Nothing is known yet.
    Unknown,
}

/// The health of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// The node has seen too little to tell.
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
    /// One word for what is wrong: an alert of the same name is raised once.
    pub name: String,
    /// What is wrong, in a sentence.
    pub message: String,
    /// When the alert was raised, in milliseconds since the epoch.
    pub since_ms: u64,
}

/// The cluster as this node sees it. A view needs no quorum, and no decision that other nodes must share
/// follows from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterView {
    pub standing: Standing,
    /// Why the cluster is unhealthy, if it is.
    pub unhealthy: Option<String>,
    /// When the standing last changed, in milliseconds since the epoch.
    pub since_ms: u64,
    /// Health from 0 to 100; none while too little is known.
    pub score: Option<f64>,
    /// Hosts by id.
    pub hosts: BTreeMap<NodeId, HostState>,
    /// Hosts that an operator says are offline, whatever this node sees of them.
    pub claimed: BTreeSet<NodeId>,
    /// What a person should look at.
    pub alerts: Vec<Alert>,
}

impl ClusterView {
    /// The state that decisions should use: a host that is claimed to be offline counts as offline.
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

/// The failures of one daemon of the answering node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonFailures {
    pub daemon: String,
    /// How often the daemon failed since the process began.
    pub failures: u64,
    /// How often the daemon failed without a successful run in between.
    pub in_row: u32,
    /// Whether the daemon fails again and again.
    pub crash_loop: bool,
    /// How often the daemon was restarted because of an event.
    pub restarts: u64,
    pub last_error: String,
}
