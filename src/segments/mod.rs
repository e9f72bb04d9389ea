//! Segments of games, from the last move to the second disk and beyond.
//!
//! Invariant: a segment is acknowledged only when two disks have it (one in a cluster of one) and Raft knows
//! it. Whenever a process is killed, a closed segment is neither lost nor counted twice.
//!
//! The life of a segment, in order:
//!
//! 1. `close`: finished games become content of this node, synced, and the segment is listed as pending.
//! 2. `emit`: SELFPLAY_COMPLETE is emitted, once, however often the process is killed.
//! 3. `acknowledge`: a daemon takes the pending segments one by one, and
//!    finds again what a kill left unlisted.
//! 4. `register`: for one segment, another node is asked to keep it. Once that node has given its receipt,
//!    the cluster registers both as holders, and the list forgets it.
//! 5. `keep`: the other side of that request. It fetches the segment, checks it, syncs it, and signs the
//!    `receipt`.
//! 6. `copy`: a daemon brings registered segments to as many nodes as the settings ask for.
//! 7. `collect`: a daemon removes content that the cluster never came to know.
//!
//! The list of pending segments is [`PendingSegments`], in a file of its own. What merges segments into a
//! database of games is `daemons::consolidation`.

pub mod acknowledge;
mod close;
pub mod collect;
pub mod copy;
mod emit;
mod keep;
mod receipt;
mod register;
#[cfg(test)]
mod tests;

use crate::{
    clock::now_ms,
    peer::{Context, Wake, quota::UnregisteredQuota},
    store::{self, DbError, PendingSegments},
};
use acknowledge::AcknowledgeDaemon;
use cluster_state::SegmentId;
use collect::CollectDaemon;
use copy::{CopyDaemon, Retries};
use std::{path::Path, sync::Arc};
use tokio::sync::{Semaphore, watch};

/// Maximum number of segments of other nodes that are checked at once: more than one peer has kept at once.
const CHECKS_MAX: usize = 4;

/// The segments of this node. A clone is a cheap handle.
#[derive(Clone)]
pub struct Segments(Arc<SegmentsInner>);

struct SegmentsInner {
    node: Context,
    /// Segments made here that are not acknowledged yet.
    pending: Arc<PendingSegments>,
    /// Games in the pending segments, as of the last look at the list.
    unacknowledged: watch::Sender<u64>,
    /// Wakes the daemon that gets them acknowledged.
    acknowledge: Wake,
    /// Wakes the daemon that copies segments.
    copy: Wake,
    /// Segments that could not be copied.
    retries: Retries,
    /// Bounds what other nodes make this node keep.
    quota: Arc<UnregisteredQuota>,
    /// Segments of other nodes that are being checked.
    checks: Semaphore,
}

impl Segments {
    /// `pending` is the list of this node's folder, see [`open_list`]; `quota` bounds what other nodes make
    /// this node keep.
    #[must_use]
    pub(crate) fn new(node: Context, pending: PendingSegments, quota: Arc<UnregisteredQuota>) -> Self {
        Self(Arc::new(SegmentsInner {
            node,
            pending: Arc::new(pending),
            unacknowledged: watch::Sender::new(0),
            acknowledge: Wake::default(),
            copy: Wake::default(),
            retries: Retries::default(),
            quota,
            checks: Semaphore::new(CHECKS_MAX),
        }))
    }

    /// Builds the daemons of this module. The cluster keeps each segment on `copies` nodes, if it has that
    /// many.
    #[must_use]
    pub fn daemons(&self, copies: usize) -> (AcknowledgeDaemon, CopyDaemon, CollectDaemon) {
        (
            AcknowledgeDaemon::new(self.clone()),
            CopyDaemon::new(self.clone(), copies),
            CollectDaemon::new(self.clone()),
        )
    }

    /// Whether a segment was made here and is not acknowledged yet.
    ///
    /// # Errors
    /// [`DbError`] when the list cannot be read.
    pub fn is_pending(&self, segment: &SegmentId) -> Result<bool, DbError> {
        self.0.pending.lists(segment)
    }

    /// Games in segments that are not acknowledged yet, as of the last look at the list.
    #[must_use]
    pub fn unacknowledged(&self) -> u64 {
        *self.0.unacknowledged.borrow()
    }

    /// Sets the number of games that are not acknowledged, also in the activity that the node shows.
    fn set_unacknowledged(&self, games: u64) {
        self.0.unacknowledged.send_replace(games);
        self.0.node.activity.update(|work| work.selfplay.unacknowledged = games);
    }
}

/// Opens the list of pending segments. A damaged list is moved away, because the segments that it listed are
/// found again among the content.
///
/// # Errors
/// When the file can neither be used nor moved.
pub(crate) fn open_list(path: &Path) -> Result<PendingSegments, DbError> {
    match PendingSegments::open(path) {
        Err(DbError::Corrupt { detail, .. }) => {
            let aside = store::set_aside(path, &now_ms().to_string())?;
            tracing::error!(aside = %aside.display(), detail, "the list of segments was damaged");
            PendingSegments::open(path)
        }
        outcome => outcome,
    }
}
