//! What the cluster agrees on, as plain data.
//!
//! Invariant: the state is a function of the log alone. Copies share what did not change between them, so a reader
//! may keep one for as long as it likes.

use crate::{
    command::{Evidence, LeaseKind, ModelInfo, NodeId, SelfplayTarget, TrainingReport},
    shards::Shards,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use wire::Hash;

/// Elo of the seeded, untrained network of every configuration.
pub const ELO_INITIAL: f64 = 1000.0;

/// A registered member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// libp2p peer id.
    pub peer_id: String,
    /// Host name.
    pub name: String,
    /// Dialable addresses.
    pub addrs: Vec<String>,
    /// Base URL of its HTTP interface.
    pub http: String,
    /// Version of its binary.
    pub version: String,
    /// The latest start of its process.
    pub boot: u64,
    /// Reachable, as the leader last saw it.
    pub online: bool,
    /// Why it is online or offline.
    pub reason: String,
    /// When `online` last changed.
    pub since_ms: u64,
    /// First registration.
    pub joined_ms: u64,
}

/// The leader that announced itself last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Which node.
    pub node: NodeId,
    /// Its term.
    pub term: u64,
    /// When it announced itself.
    pub since_ms: u64,
    /// Leaders announced so far.
    pub elections: u64,
}

/// Exclusive work granted to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Unique: log index of the grant.
    pub id: u64,
    /// Kind of work.
    pub kind: LeaseKind,
    /// Configuration.
    pub config_key: String,
    /// Holder.
    pub node: NodeId,
    /// Counts the grants of this kind and configuration, from 1.
    pub epoch: u64,
    /// The candidate, for an evaluation.
    pub subject: Option<Hash>,
    /// The last threshold crossing at the time of the grant, for a training.
    pub crossing: u64,
    /// When granted.
    pub granted_ms: u64,
    /// Last sign of life.
    pub renewed_ms: u64,
    /// How long the holder may stay silent.
    pub ttl_ms: u64,
}

/// The leases of one kind for one configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseSlot {
    /// Last epoch granted.
    pub epoch: u64,
    /// Who works now.
    pub live: Option<Lease>,
    /// How the last failed or expired lease ended.
    pub last_error: Option<String>,
    /// Leases in a row that failed or expired.
    pub failures: u32,
}

/// One step of the history of champions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promotion {
    /// Number of this champion; the seeded network is 0.
    pub generation: u64,
    /// The new champion.
    pub model: Hash,
    /// The one it replaced.
    pub previous: Hash,
    /// Elo of the replaced champion.
    pub previous_elo: f64,
    /// Elo of the new champion.
    pub new_elo: f64,
    /// Gain.
    pub elo_delta: f64,
    /// Why.
    pub reason: String,
    /// When.
    pub at_ms: u64,
    /// Where in the log.
    pub log_index: u64,
}

/// One configuration of the game.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigState {
    /// Such as `hex8_2p`.
    pub config_key: String,
    /// Champion 0, the seeded network.
    pub initial: Hash,
    /// The model that plays.
    pub champion: Hash,
    /// Its number.
    pub generation: u64,
    /// Its rating.
    pub elo: f64,
    /// Every online node held the champion at some time since its promotion.
    pub distributed: bool,
    /// The model that training goes on from.
    pub newest: Hash,
    /// Self-play games registered.
    pub games_total: u64,
    /// Self-play games since the last crossing.
    pub games_since_training: u64,
    /// Games that cause a training.
    pub threshold: u64,
    /// Times that the threshold was crossed.
    pub crossings: u64,
    /// The last crossing that a completed training used up.
    pub consumed: u64,
    /// Training.
    pub training: LeaseSlot,
    /// Evaluation.
    pub evaluation: LeaseSlot,
    /// Models that wait for their verdict, oldest first.
    pub candidates: Vec<Hash>,
    /// What self-play shall do.
    pub target: SelfplayTarget,
    /// Promotions, oldest first. Stored apart from the rest.
    #[serde(skip)]
    pub history: Vec<Arc<Promotion>>,
}

impl ConfigState {
    /// The lease slot of `kind`.
    #[must_use]
    pub fn lease(&self, kind: LeaseKind) -> &LeaseSlot {
        match kind {
            LeaseKind::Training => &self.training,
            LeaseKind::Evaluation => &self.evaluation,
        }
    }

    pub(crate) fn lease_mut(&mut self, kind: LeaseKind) -> &mut LeaseSlot {
        match kind {
            LeaseKind::Training => &mut self.training,
            LeaseKind::Evaluation => &mut self.evaluation,
        }
    }
}

/// What became of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelStatus {
    /// Waits for a verdict.
    Candidate,
    /// Plays.
    Champion,
    /// Played once.
    Retired,
    /// Will not play.
    Rejected {
        /// Why.
        reason: String,
    },
}

/// A known model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Content.
    pub info: ModelInfo,
    /// Configuration.
    pub config_key: String,
    /// What became of it.
    pub status: ModelStatus,
    /// Nodes that hold it, verified and synced.
    pub holders: BTreeSet<NodeId>,
    /// Who trained it; none for the seeded network.
    pub trained_by: Option<NodeId>,
    /// Epoch of the training lease, 0 for the seeded network.
    pub epoch: u64,
    /// How training went.
    pub report: Option<TrainingReport>,
    /// The latest evaluation.
    pub evidence: Option<Evidence>,
    /// When it became known.
    pub at_ms: u64,
    /// Where in the log.
    pub log_index: u64,
}

/// An acknowledged segment of games.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Configuration.
    pub config_key: String,
    /// Games in it.
    pub games: u64,
    /// Positions in it.
    pub samples: u64,
    /// Who played.
    pub source: String,
    /// The model that played.
    pub model: Hash,
    /// Nodes that synced it.
    pub holders: BTreeSet<NodeId>,
    /// When it was acknowledged.
    pub at_ms: u64,
    /// Where in the log.
    pub log_index: u64,
}

/// The whole replicated state. Cloning is cheap.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterState {
    /// Log index of the last entry applied; 0 before the first.
    pub applied: u64,
    /// The next node's id, less one.
    pub(crate) last_node_id: NodeId,
    /// Members by id.
    pub nodes: Arc<BTreeMap<NodeId, Arc<Node>>>,
    /// Configurations by key.
    pub configs: Arc<BTreeMap<String, Arc<ConfigState>>>,
    /// Models by content hash.
    pub models: Shards<Model>,
    /// Acknowledged segments by content hash.
    pub segments: Shards<Segment>,
    /// The leader that announced itself last.
    pub leader: Option<Leader>,
}

impl ClusterState {
    /// The member with this peer id.
    #[must_use]
    pub fn node_of_peer(&self, peer_id: &str) -> Option<&Node> {
        self.nodes.values().find(|node| node.peer_id == peer_id).map(Arc::as_ref)
    }

    /// Members that are online.
    pub fn online(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().map(Arc::as_ref).filter(|node| node.online)
    }

    /// Whether a member is online.
    #[must_use]
    pub fn is_online(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.online)
    }

    /// A configuration.
    #[must_use]
    pub fn config(&self, config_key: &str) -> Option<&ConfigState> {
        self.configs.get(config_key).map(Arc::as_ref)
    }

    /// Online holders that a segment needs to be acknowledged: 2, or 1 in a cluster of one.
    #[must_use]
    pub fn required_segment_holders(&self) -> u64 {
        (self.online().count() as u64).clamp(1, 2)
    }

    /// Online holders that a model needs to be promoted: min(3, online nodes).
    #[must_use]
    pub fn required_model_holders(&self) -> u64 {
        (self.online().count() as u64).clamp(1, 3)
    }

    pub(crate) fn online_among(&self, holders: &BTreeSet<NodeId>) -> u64 {
        holders.iter().filter(|node| self.is_online(**node)).count() as u64
    }
}
