//! Hosts and leaders.

use super::{Payload, cluster_payload};
use serde::{Deserialize, Serialize};

/// Payload of HOST_ONLINE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostOnline {
    /// Who.
    pub node_id: String,
    /// Its name.
    #[serde(default)]
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
    #[serde(default)]
    pub host: String,
    /// What the leader saw.
    #[serde(default)]
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
    #[serde(default)]
    pub previous_leader_id: Option<String>,
    /// Unix seconds.
    pub timestamp: f64,
}

/// Payload of P2P_CLUSTER_HEALTHY and P2P_CLUSTER_UNHEALTHY.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterHealth {
    /// Who judges.
    pub node_id: String,
    /// Members.
    pub node_count: u64,
    /// Members that can be reached.
    pub healthy_nodes: u64,
    /// Whether decisions can be taken.
    #[serde(default)]
    pub quorum_met: bool,
    /// Who leads, if known.
    #[serde(default)]
    pub leader_id: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Unix seconds.
    pub timestamp: f64,
}

cluster_payload!(HostOnline, |e| Some(e.node_id.clone()));
cluster_payload!(HostOffline, |e| Some(e.node_id.clone()));
cluster_payload!(LeaderElected, |e| Some(e.term.to_string()));
cluster_payload!(ClusterHealth, |_| None);
