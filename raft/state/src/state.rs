//! The whole replicated state.
//!
//! Invariant: the state is a function of the log alone. Copies share what did not change between them, so a
//! reader may keep one for as long as it needs.

use crate::{
    admission::Admissions,
    config::ConfigState,
    id::{ModelId, NodeId, SegmentId, TriggerId},
    key::ConfigKey,
    model::Model,
    node::{Forgery, Leader, Node, Pardon},
    segment::RegisteredSegment,
    shards::Shards,
};
use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use wire::Hash;

/// The whole replicated state. It is cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterState {
    /// Log index of the last entry applied; 0 before the first.
    pub applied: u64,
    /// The id that was assigned last; the next node gets one more.
    pub(crate) last_node_id: NodeId,
    /// Members by id.
    pub nodes: Arc<BTreeMap<NodeId, Arc<Node>>>,
    /// Configurations by key.
    pub configs: Arc<BTreeMap<ConfigKey, Arc<ConfigState>>>,
    /// Models by content hash.
    pub models: Shards<ModelId, Model>,
    /// Acknowledged segments by content hash.
    pub segments: Shards<SegmentId, RegisteredSegment>,
    /// Who may become a member, and who may not.
    pub admissions: Arc<Admissions>,
    /// The nodes that forged games, with the proof. They stay here when they are removed, and so do their
    /// segments.
    pub forgeries: Arc<BTreeMap<NodeId, Arc<Forgery>>>,
    /// The nodes that an operator has pardoned. They stay here, because their games of before do not count.
    pub pardons: Arc<BTreeMap<NodeId, Arc<Pardon>>>,
    /// The leader that announced itself last.
    pub leader: Option<Leader>,
    /// The events that commands were proposed for, oldest first.
    pub(crate) triggers: Arc<Vec<TriggerId>>,
}

impl ClusterState {
    /// The member with this peer id.
    #[must_use]
    pub fn node_of_peer(&self, peer_id: &str) -> Option<&Node> {
        self.nodes.values().find(|node| node.peer_id == peer_id).map(Arc::as_ref)
    }

    /// Whether this peer is a member, or was one before it was removed.
    #[must_use]
    pub fn was_member(&self, peer_id: &str) -> bool {
        self.node_of_peer(peer_id).is_some() || self.admissions.shut_out.contains_key(peer_id)
    }

    /// Whether a member with this id was removed. An id that was never given is none.
    #[must_use]
    pub fn was_removed(&self, node: NodeId) -> bool {
        node != NodeId(0) && node <= self.last_node_id && !self.nodes.contains_key(&node)
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

    /// Whether the games of a node count: no audit has shown that it forged one.
    #[must_use]
    pub fn is_trusted(&self, node: NodeId) -> bool {
        !self.forgeries.contains_key(&node)
    }

    /// Whether the games of a segment count: its player is trusted, and if it was pardoned, the segment came
    /// later.
    #[must_use]
    pub fn counts(&self, segment: &RegisteredSegment) -> bool {
        let origin = segment.origin;
        let since = self.pardons.get(&origin).map_or(0, |pardon| pardon.games_after);
        self.is_trusted(origin) && segment.log_index > since
    }

    /// The configuration with this key, or with this text as its key.
    #[must_use]
    pub fn config<K: Ord + ?Sized>(&self, config_key: &K) -> Option<&ConfigState>
    where
        ConfigKey: Borrow<K>,
    {
        self.configs.get(config_key).map(Arc::as_ref)
    }

    /// Whether a known model or an acknowledged segment has this content hash.
    #[must_use]
    pub fn knows(&self, content: &Hash) -> bool {
        self.models.contains_key(&ModelId(*content)) || self.segments.contains_key(&SegmentId(*content))
    }

    /// Number of online holders that a segment needs to be acknowledged: 2, or 1 in a cluster of one.
    #[must_use]
    pub fn required_segment_holders(&self) -> u64 {
        (self.online().count() as u64).clamp(1, 2)
    }

    /// Number of online holders that a model needs to be promoted: min(3, online nodes).
    #[must_use]
    pub fn required_model_holders(&self) -> u64 {
        (self.online().count() as u64).clamp(1, 3)
    }

    pub(crate) fn online_among(&self, holders: &BTreeSet<NodeId>) -> u64 {
        holders.iter().filter(|node| self.is_online(**node)).count() as u64
    }
}
