//! Payloads of the events of hosts and leaders.

use super::{Payload, cluster_payload};
use serde::{Deserialize, Serialize};

/// Payload of HOST_ONLINE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostOnline {
    /// Name of the host's node, such as `node-3`.
    pub node_id: String,
    /// The host's name.
    #[serde(default)]
    pub host: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of HOST_OFFLINE.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostOffline {
    /// Name of the host's node, such as `node-3`.
    pub node_id: String,
    /// The host's name.
    #[serde(default)]
    pub host: String,
    /// What the leader observed.
    #[serde(default)]
    pub reason: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of LEADER_ELECTED.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeaderElected {
    /// Name of the leader, such as `node-3`.
    pub leader_id: String,
    /// The same name, because every payload has `node_id`.
    pub node_id: String,
    /// Raft term.
    pub term: u64,
    /// Name of the leader before, if there was one.
    #[serde(default)]
    pub previous_leader_id: Option<String>,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

/// Payload of P2P_CLUSTER_HEALTHY and P2P_CLUSTER_UNHEALTHY.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterHealth {
    /// Name of the node that judges.
    pub node_id: String,
    /// Number of members.
    pub node_count: u64,
    /// Number of members that can be reached.
    pub healthy_nodes: u64,
    /// Whether the cluster can take decisions.
    #[serde(default)]
    pub quorum_met: bool,
    /// Name of the leader, if one is known.
    #[serde(default)]
    pub leader_id: Option<String>,
    #[serde(default)]
    pub reason: String,
    /// Time of the event, in seconds since the epoch.
    pub timestamp: f64,
}

cluster_payload!(HostOnline, |e| Some(e.node_id.clone()));
cluster_payload!(HostOffline, |e| Some(e.node_id.clone()));
cluster_payload!(LeaderElected, |e| Some(e.term.to_string()));
cluster_payload!(ClusterHealth, |_| None);
