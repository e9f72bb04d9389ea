//! Members of the cluster, and the leader among them.

use crate::{
    admission::Admitted,
    cause::DrainCause,
    id::{NodeId, SegmentId},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A registered member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Id of the member.
    pub id: NodeId,
    /// The node's libp2p peer id.
    pub peer_id: String,
    /// Name of the node's host.
    pub name: String,
    /// Multiaddresses at which other nodes can dial the node.
    pub addrs: Vec<String>,
    /// Base URL of the node's HTTP interface.
    pub http: String,
    /// Version of the node's binary.
    pub version: String,
    /// Random number of the latest start of its process.
    pub boot: u64,
    /// Whether the leader could reach the node when it last looked.
    pub online: bool,
    /// Why the node is online or offline.
    pub reason: String,
    /// When `online` last changed, in milliseconds since the epoch.
    pub since_ms: u64,
    /// When the node registered first, in milliseconds since the epoch.
    pub joined_ms: u64,
    /// How the node was admitted.
    pub admitted: Admitted,
    /// Why the node drains (it gets no more work and hands over what it holds); none while it works.
    pub draining: Option<Draining>,
    /// What it has reported of the games of others.
    pub standing: ReportRecord,
}

/// What a node has reported of the games of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportRecord {
    /// The node's reports that no verdict has followed yet, oldest first.
    pub reports: Vec<ForgeryReport>,
    /// How many of its reports gave way to newer ones before anybody confirmed them, when the log had
    /// `counted_at` entries.
    pub(crate) unconfirmed: u64,
    /// Log index up to which `unconfirmed` has faded.
    pub(crate) counted_at: u64,
}

/// Unconfirmed reports at which a node is not listened to for a while. No more are counted, so that one fades
/// after [`UNCONFIRMED_FADES`] entries however many there were.
pub const UNCONFIRMED_MAX: u64 = 16;
/// One unconfirmed report fades with so many log entries, the clock that all replicas share: some thousand
/// segments, each of which is an occasion for an honest auditor to be right. A liar is listened to once in
/// that time.
pub const UNCONFIRMED_FADES: u64 = 4096;

impl ReportRecord {
    /// How many of its reports nobody confirmed, of those that have not faded at log entry `applied`.
    #[must_use]
    pub fn unconfirmed(&self, applied: u64) -> u64 {
        let faded = applied.saturating_sub(self.counted_at) / UNCONFIRMED_FADES;
        self.unconfirmed.saturating_sub(faded)
    }

    /// Whether others judge its reports at log entry `applied`: too few came to nothing.
    #[must_use]
    pub fn is_heard(&self, applied: u64) -> bool {
        self.unconfirmed(applied) < UNCONFIRMED_MAX
    }

    /// Counts a report that came to nothing, at log entry `index`.
    pub(crate) fn count_unconfirmed(&mut self, index: u64) {
        let left = self.unconfirmed(index);
        let since = index.saturating_sub(self.counted_at);
        self.counted_at = if left == 0 { index } else { index - since % UNCONFIRMED_FADES };
        self.unconfirmed = (left + 1).min(UNCONFIRMED_MAX);
    }
}

/// A node's report about a game that another node played.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgeryReport {
    /// Hash of the segment's content.
    pub segment: SegmentId,
    /// The game, counted from 0 in the order of the segment.
    pub game: u32,
    /// The first step that proves it.
    pub ply: u32,
    /// When it was reported, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// A forged game, which proves that its player is not to be trusted. Everybody who has the segment and the
/// model can check it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgery {
    /// Hash of the segment's content.
    pub segment: SegmentId,
    /// The game, counted from 0 in the order of the segment.
    pub game: u32,
    /// The first step that proves it, as the last of the reporters saw it.
    pub ply: u32,
    /// The nodes that made the decision again and found another.
    pub confirmed_by: BTreeSet<NodeId>,
    /// When enough of them had, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// An operator's pardon of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pardon {
    /// Log index up to which the games of the node do not count; 0 if none was found forged.
    pub games_after: u64,
    /// The epochs of the node's events in which it said two things under one number: nothing more of them is
    /// taken.
    pub epochs: BTreeSet<i64>,
    /// When it was pardoned last, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Why, in words for people.
    pub reason: String,
}

/// Why a node drains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    /// Who asked for it, and so who ends it.
    pub cause: DrainCause,
    /// The cause, in words for people.
    pub reason: String,
}

/// The leader that announced itself last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Id of the leader.
    pub node: NodeId,
    /// Raft term in which it leads.
    pub term: u64,
    /// When it announced itself, in milliseconds since the epoch.
    pub since_ms: u64,
    /// Number of leaders that have announced themselves so far.
    pub elections: u64,
}
