//! The openraft types of this cluster. No other crate names openraft.

use cluster_state::{NodeId, Proposal, Response};
use openraft::type_config::alias::{EntryOf, LogIdOf, SnapshotMetaOf, StoredMembershipOf, VoteOf};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// How a member is reached: by the peer id that its connection must prove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) peer_id: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.peer_id)
    }
}

// An entry is kept by the log's cache, by the replication to each member and by whoever applies it: they
// share its proposal.
openraft::declare_raft_types!(
    pub(crate) TypeConfig:
        D = Arc<Proposal>,
        R = Response,
        NodeId = NodeId,
        Node = Member,
);

pub(crate) type Entry = EntryOf<TypeConfig>;
pub(crate) type LogId = LogIdOf<TypeConfig>;
pub(crate) type Vote = VoteOf<TypeConfig>;
pub(crate) type Membership = StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::machine::Machine>;

/// The frame kinds of the wire codec that consensus uses, on disk and between peers.
/// [`cluster_state::rows::kind`] has the others.
pub(crate) mod kind {
    pub(crate) const ENTRY: u8 = 0x20;
    pub(crate) const VOTE: u8 = 0x21;
    pub(crate) const LOG_ID: u8 = 0x22;
    pub(crate) const APPLIED: u8 = 0x23;
    pub(crate) const SNAPSHOT: u8 = 0x2a;
    pub(crate) const REQUEST: u8 = 0x2b;
    pub(crate) const REPLY: u8 = 0x2c;
}

/// Largest number that is accepted in an id. No cluster gets that far; beyond it, adding one could overflow.
pub(crate) const ID_MAX: u64 = 1 << 62;
/// The most terms that a message may be ahead of this node. Elections take half a second at least, so a node
/// would have to miss a hundred days of nothing but elections.
pub(crate) const TERM_STEP_MAX: u64 = 1 << 24;
/// Largest log entry in bytes, encoded: the membership of [`cluster_state::state_machine::NODES_MAX`] nodes.
pub(crate) const ENTRY_BYTES_MAX: usize = 512 * 1024;
/// Largest message between peers, in bytes.
pub(crate) const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Maximum number of bytes of log entries that are sent at once, unless a single entry is larger.
pub(crate) const APPEND_BYTES_MAX: usize = 1024 * 1024;
/// Largest snapshot in bytes: a state at all of its bounds fits.
pub(crate) const SNAPSHOT_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Size of the pieces in which a snapshot is sent, in bytes.
pub(crate) const SNAPSHOT_CHUNK_BYTES: usize = 1024 * 1024;
