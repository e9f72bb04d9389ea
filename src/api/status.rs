//! The status report: one report for the command line, the HTTP interface and the demo.
//!
//! Invariant: every key is always present. A report that is not `stale` comes from the leader's state,
//! confirmed by a quorum after the report was asked for.

use super::{
    activity::NodeActivity,
    autoscaler::Recommendation,
    cluster::{LeaderView, NodeView, RaftRole},
    devices::DevicesView,
    events::EventsView,
    health::{ClusterView, DaemonFailures},
    models::PromotionView,
    work::{LeaseView, TrainingPause},
};
use cluster_state::{ConfigKey, ModelId, NodeId, Steering};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the report's format.
pub const SCHEMA: u32 = 1;

/// The health of the cluster in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthWord {
    /// Every node is up.
    #[serde(rename = "HEALTHY")]
    Healthy,
    /// At least one node is down, but the cluster can still take decisions.
    #[serde(rename = "DEGRADED")]
    Degraded,
    /// Too few voters are up, so the cluster can take no decision.
    #[serde(rename = "NO QUORUM")]
    NoQuorum,
}

impl HealthWord {
    /// The word as people read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Degraded => "DEGRADED",
            Self::NoQuorum => "NO QUORUM",
        }
    }
}

/// One configuration of the game.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigView {
    /// Key of the configuration, such as `hex8_2p`.
    pub config_key: ConfigKey,
    /// The champion, which plays the games.
    pub champion: ModelId,
    /// The champion's number; 0 is the seeded network.
    pub generation: u64,
    pub elo: f64,
    /// Whether every online node holds the champion.
    pub distributed: bool,
    /// Nodes that hold the champion.
    pub holders: Vec<String>,
    /// Acknowledged self-play games.
    pub games_total: u64,
    /// Acknowledged self-play games since the last time that they crossed the threshold.
    pub games_since_training: u64,
    /// Number of games after which a training starts.
    pub threshold: u64,
    /// Models that wait for a verdict.
    pub candidates: Vec<ModelId>,
    /// Why no training starts, as the answering node sees it: a set of causes, each of which ends
    /// automatically.
    pub training_paused: Vec<TrainingPause>,
    /// What holds training back or speeds it up.
    pub steering: Steering,
    pub training: LeaseView,
    pub evaluation: LeaseView,
    /// Loss of the newest model on the validation games.
    pub val_loss: Option<f64>,
    /// What self-play should do for this configuration.
    pub target: String,
    /// All promotions, oldest first.
    pub history: Vec<PromotionView>,
}

/// What the answering node did not take of others since it started. What it refused of events is in
/// [`EventsView`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedView {
    /// To the HTTP interface: those that made room for others, or found none.
    pub http: u64,
    /// Of peers: those, and those that failed in the handshake.
    pub p2p: u64,
    /// Gossip that was not taken, by reason.
    pub gossip: BTreeMap<String, u64>,
    /// Requests of peers that were dropped, by reason.
    pub requests: BTreeMap<String, u64>,
}

/// The status report of one node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`SCHEMA`].
    pub schema: u32,
    pub cluster: String,
    pub health: HealthWord,
    /// True when no quorum confirmed the report: it is then this node's own view.
    pub stale: bool,
    /// Age of the report in milliseconds, if it is stale; otherwise 0.
    pub age_ms: u64,
    /// The name of the node that answers.
    pub answered_by: String,
    pub role: RaftRole,
    /// It is none while the answering node knows no leader.
    pub leader: Option<LeaderView>,
    /// Raft's term.
    pub term: u64,
    /// Index of the last log entry applied at this node.
    pub applied: u64,
    pub voters: Vec<NodeId>,
    /// Number of voters that the answering node is connected to, including itself.
    pub voters_up: usize,
    /// Number of voters that a decision needs.
    pub quorum: usize,
    pub nodes: Vec<NodeView>,
    pub configs: Vec<ConfigView>,
    /// Number of acknowledged segments.
    pub segments: usize,
    /// The devices that the answering node computes on.
    pub devices: DevicesView,
    /// What the answering node does right now.
    pub work: NodeActivity,
    /// The failed daemons of the answering node.
    pub failures: Vec<DaemonFailures>,
    /// Counts of the events at the answering node.
    pub events: EventsView,
    /// Hosts and cluster as the answering node sees them.
    pub view: ClusterView,
    /// How many peers the cluster should have, as the answering node sees it.
    pub recommendation: Option<Recommendation>,
    /// The longest recent delay of the answering node's tasks.
    pub delay_ms: u64,
    /// Connections, gossip and requests that were not taken.
    pub refused: RefusedView,
    /// The work that cannot continue, each with its cause.
    pub blocked: Vec<String>,
    /// Milliseconds since the answering process began.
    pub uptime_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report with a value in every part, as other programs read it.
    const GOLDEN: &str = include_str!("status.json");

    #[test]
    fn a_report_keeps_its_keys_their_order_and_its_words() {
        let status: Status = serde_json::from_str(GOLDEN).unwrap();
        assert_eq!(serde_json::to_string_pretty(&status).unwrap() + "\n", GOLDEN);
    }

    #[test]
    fn words_of_a_report() {
        let check = |value: serde_json::Value, expected: &str| assert_eq!(value.to_string(), expected);
        let words = [HealthWord::Healthy, HealthWord::Degraded, HealthWord::NoQuorum];
        check(serde_json::json!(words), r#"["HEALTHY","DEGRADED","NO QUORUM"]"#);
        assert!(words.iter().all(|word| serde_json::json!(word) == word.as_str()));
        let roles =
            [RaftRole::Learner, RaftRole::Follower, RaftRole::Candidate, RaftRole::Leader, RaftRole::Stopped];
        check(serde_json::json!(roles), r#"["learner","follower","candidate","leader","stopped"]"#);
    }
}
