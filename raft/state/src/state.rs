//! What the cluster agrees on, as plain data.
//!
//! Invariant: the state is a function of the log alone. Copies share what did not change between them, so a reader
//! may keep one for as long as it likes.

use crate::{
    command::{Evidence, Feedback, LeaseKind, ModelInfo, NodeId, SelfplayTarget, Severity, TrainingReport},
    shards::Shards,
    state_machine::ROLLED_BACK,
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
    /// It gets no more work and hands on what it holds: why.
    pub draining: Option<String>,
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

impl Promotion {
    /// Whether an earlier champion came back.
    #[must_use]
    pub fn is_rollback(&self) -> bool {
        self.reason.starts_with(ROLLED_BACK)
    }
}

/// A champion that plays worse than it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// Which champion.
    pub champion: Hash,
    /// How badly.
    pub severity: Severity,
    /// Elo points lost.
    pub elo_drop: f64,
    /// Why.
    pub reason: String,
    /// The champion before it is back.
    pub rolled_back: bool,
    /// When it was reported, or rolled back.
    pub since_ms: u64,
}

/// More candidates wait than evaluation can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backpressure {
    /// How many waited when it began.
    pub depth: u64,
    /// Where it ends.
    pub release_threshold: u64,
    /// When it began.
    pub since_ms: u64,
}

/// The champion's games against the one before it since its promotion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// The one before.
    pub opponent: Hash,
    /// Games.
    pub games: u64,
    /// Of these, won by the champion.
    pub wins: u64,
    /// Of these, lost.
    pub losses: u64,
    /// Evaluations that played them.
    pub rounds: u32,
    /// The last one's epoch.
    pub epoch: u64,
    /// When the last one ended.
    pub at_ms: u64,
}

/// What holds a configuration back or drives it on: written by the leader's daemons, each its own part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steering {
    /// Curriculum: the share of self-play it deserves.
    pub weight: f64,
    /// Why.
    pub weight_reason: String,
    /// The weight is that of an emergency.
    pub emergency: bool,
    /// Feedback: what it asks for.
    pub feedback: Feedback,
    /// Training: the learning rate as a factor of the setting.
    pub learning_rate: f64,
    /// Why.
    pub learning_rate_reason: String,
    /// Regression: how the champion fares.
    pub regression: Option<Regression>,
    /// Its games since its promotion.
    pub watch: Option<Watch>,
    /// Evaluation: it cannot keep up.
    pub backpressure: Option<Backpressure>,
}

impl Default for Steering {
    fn default() -> Self {
        Self {
            weight: 1.0,
            weight_reason: String::new(),
            emergency: false,
            feedback: Feedback::default(),
            learning_rate: 1.0,
            learning_rate_reason: String::new(),
            regression: None,
            watch: None,
            backpressure: None,
        }
    }
}

/// The champion that a rollback brings back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fallback {
    /// The model.
    pub model: Hash,
    /// Its number when it was champion.
    pub generation: u64,
    /// Its rating then.
    pub elo: f64,
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
    /// Self-play games registered that the present champion played.
    pub champion_games: u64,
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
    /// What holds it back or drives it on.
    pub steering: Steering,
    /// Promotions, oldest first. Stored apart from the rest.
    #[serde(skip)]
    pub history: Vec<Arc<Promotion>>,
}

impl ConfigState {
    /// What a rollback would bring back: the champion that the present one replaced when its reign began. A rollback
    /// undoes the last promotion that is not undone yet, so that one after the other ends at the seeded network.
    #[must_use]
    pub fn fallback(&self) -> Option<Fallback> {
        let mut undone = 0u64;
        for promotion in self.history.iter().rev() {
            match (promotion.is_rollback(), undone) {
                (true, _) => undone += 1,
                (false, 0) => {
                    return Some(Fallback {
                        model: promotion.previous,
                        generation: promotion.generation.saturating_sub(1),
                        elo: promotion.previous_elo,
                    });
                }
                (false, _) => undone -= 1,
            }
        }
        None
    }

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
    /// The events that commands were proposed for, oldest first.
    pub(crate) triggers: Arc<Vec<Hash>>,
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
