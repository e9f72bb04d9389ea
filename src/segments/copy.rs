//! UnifiedReplicationDaemon: keeps every segment on as many online nodes as the settings ask for, and on this
//! node if the cluster believes that it is here.
//!
//! Invariant: this node gives its receipt only after the copy passed the rules and is synced here.

mod plan;
mod retries;

pub(super) use retries::Retries;

use super::{Segments, receipt};
use crate::{
    clock::now_ms,
    events::{DataSync, DataSyncFailed, Event, Logged, caused, runner::Handled},
    peer::{ContentKind, Context, Daemon, WorkError, blocking},
    store::Segment,
    text,
};
use cluster_state::{ClusterState, Command, NodeId, RegisteredSegment, SegmentId, command::AddSegmentHolder};
use futures::StreamExt;
use retries::RateLimit;
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// Pause between two looks at the state when nothing is new, and after a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// Most segments fetched at the same time.
const AT_ONCE: usize = 4;
/// Pause between two comparisons of the content folder with what the cluster believes to be here.
const CHECK: Duration = Duration::from_secs(60);
/// For this long after the start, a segment waits until one of its holders has connected. Then every source
/// is tried.
const START: Duration = Duration::from_secs(10);
/// Failures in a row after which what has arrived of a segment is removed, so that holders which keep the
/// last piece back do not fill the disk.
const UNFINISHED_MAX: u32 = 3;
/// Most events about copies in a minute. Beyond that, segments are still copied, but without an event.
const EVENTS_MAX: u32 = 120;
/// Longest text of an error in an event, in bytes.
const ERROR_BYTES_MAX: usize = 500;

pub struct CopyDaemon {
    segments: Segments,
    /// Number of nodes that should hold each segment.
    copies: usize,
}

impl Daemon for CopyDaemon {
    const NAME: &'static str = "replication";

    async fn run(&mut self) -> Result<(), WorkError> {
        Rounds::new(&self.segments, self.copies).follow().await
    }
}

impl CopyDaemon {
    pub(super) fn new(segments: Segments, copies: usize) -> Self {
        Self { segments, copies }
    }
}

/// Looks at the state now, because an event says that copies may be missing or can be fetched.
///
/// # Errors
/// This handler never fails.
pub async fn handle(segments: Segments, _: Arc<Logged>) -> Handled {
    segments.0.copy.wake();
    Ok(None)
}

/// What one run of the daemon remembers from round to round.
struct Rounds<'a> {
    segments: &'a Segments,
    node: &'a Context,
    copies: usize,
    /// Segments that the cluster believes to be here and that were missing at the last check.
    lost: BTreeSet<SegmentId>,
    checked: Option<Instant>,
    connected: BTreeSet<NodeId>,
    events: RateLimit,
}

impl<'a> Rounds<'a> {
    fn new(segments: &'a Segments, copies: usize) -> Self {
        Self {
            segments,
            node: &segments.0.node,
            copies,
            lost: BTreeSet::new(),
            checked: None,
            connected: BTreeSet::new(),
            events: RateLimit::per_minute(EVENTS_MAX),
        }
    }

    /// Copies segments until the shutdown.
    async fn follow(&mut self) -> Result<(), WorkError> {
        let mut peers = self.node.p2p.peers();
        loop {
            let state = self.node.raft.local();
            self.check(&state).await?;
            let connected = {
                let peers = peers.borrow_and_update();
                let members = peers.iter().filter_map(|peer| state.node_of_peer(&peer.peer_id));
                members.map(|member| member.id).collect()
            };
            self.connect(&state, connected);
            self.copy_wanted(&state).await?;
            tokio::select! {
                () = self.node.shutdown.cancelled() => return Ok(()),
                () = self.segments.0.copy.woken() => {}
                changed = peers.changed() => if changed.is_err() { return Ok(()) },
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Compares the content folder with the state, once every [`CHECK`].
    async fn check(&mut self, state: &ClusterState) -> Result<(), WorkError> {
        if self.checked.is_none_or(|at| at.elapsed() >= CHECK) {
            let blobs = self.node.blobs.clone();
            let here = blocking(move || blobs.list()).await??;
            self.lost =
                plan::lost(state, self.node.id, &here.into_iter().map(|(hash, _)| SegmentId(hash)).collect());
            self.checked = Some(Instant::now());
        }
        Ok(())
    }

    /// Records which nodes are connected. A segment that could not be copied may now be fetched from a node
    /// that is new among them.
    fn connect(&mut self, state: &ClusterState, connected: BTreeSet<NodeId>) {
        let new: BTreeSet<NodeId> = connected.difference(&self.connected).copied().collect();
        if !new.is_empty() {
            self.segments.0.retries.release(|hash| {
                state.segments.get(hash).is_none_or(|segment| !segment.holders.is_disjoint(&new))
            });
        }
        self.connected = connected;
    }

    /// Copies the segments that should be here and can be tried now. Trouble with consensus ends the round,
    /// because no other copy could be registered either; the copies that arrived stay here.
    async fn copy_wanted(&mut self, state: &ClusterState) -> Result<(), WorkError> {
        let (node, retries, now) = (self.node, &self.segments.0.retries, Instant::now());
        let starting = node.started.elapsed() < START;
        let wanted = plan::wanted(state, node.id, &self.lost, self.copies, |hash, segment| {
            retries.allows(hash, now)
                && (!starting || !segment.holders.is_disjoint(&self.connected))
                && !node.nonsense.has(ContentKind::Segment, hash.0)
        });
        let copies = futures::stream::iter(wanted.into_iter().map(|(hash, segment)| async move {
            let copying = Copying { hash, segment, began: Instant::now() };
            let copied = Box::pin(copy(node, hash, &copying.segment.holders)).await;
            (copying, copied)
        }));
        let mut copies = copies.buffer_unordered(AT_ONCE);
        // The shutdown ends a copy, but not the writing of an event.
        while let Some(Some((copying, copied))) = node.shutdown.run_until_cancelled(copies.next()).await {
            let event = match copied {
                Ok(bytes) => {
                    self.lost.remove(&copying.hash);
                    retries.succeeded(&copying.hash);
                    copying.completed(node.name(), bytes)
                }
                Err(WorkError::Propose(error)) => {
                    tracing::info!(segment = copying.hash.short(), %error, "a copy is not registered yet");
                    break;
                }
                Err(error) => {
                    let attempts = retries.failed(copying.hash, Instant::now());
                    if attempts >= UNFINISHED_MAX {
                        let (blobs, hash) = (node.blobs.clone(), copying.hash.0);
                        blocking(move || blobs.remove_unfinished(hash)).await??;
                    }
                    tracing::info!(segment = copying.hash.short(), attempts, %error, "a segment is not copied yet");
                    copying.failed(node.name(), attempts, &error.to_string())
                }
            };
            if self.events.take(Instant::now()) {
                node.emit(event).await?;
            }
        }
        Ok(())
    }
}

/// Fetches a copy, checks it and registers it. Returns its size in bytes.
async fn copy(node: &Context, hash: SegmentId, holders: &BTreeSet<NodeId>) -> Result<u64, WorkError> {
    let bytes = node.get_or_fetch_segment(hash, holders).await?;
    let (size, signer) = (bytes.len() as u64, node.signer.clone());
    let opened = move || Segment::open(bytes).map(|segment| receipt::sign(&signer, &segment.facts()));
    let signature = match blocking(opened).await? {
        Ok(signature) => signature?,
        Err(error) => {
            if !error.is_foreign() {
                node.drop_nonsense(ContentKind::Segment, hash.0).await?;
            }
            return Err(error.into());
        }
    };
    let holder = AddSegmentHolder { hash, node: node.id, signature, at_ms: now_ms() };
    node.propose(Command::AddSegmentHolder(holder)).await?;
    Ok(size)
}

/// A segment that is being copied.
struct Copying {
    hash: SegmentId,
    segment: RegisteredSegment,
    began: Instant,
}

impl Copying {
    fn completed(&self, node_id: String, bytes: u64) -> Event {
        let holders = self.segment.holders.iter().map(|id| caused::node_name(*id));
        Event::DataSyncCompleted(DataSync {
            config_key: self.segment.config_key.clone(),
            node_id,
            host: holders.collect::<Vec<_>>().join(","),
            games_synced: self.segment.games,
            bytes_transferred: bytes,
            duration: self.began.elapsed().as_secs_f64(),
            segment: self.hash,
            timestamp: caused::seconds(now_ms()),
        })
    }

    fn failed(&self, node_id: String, attempts: u32, error: &str) -> Event {
        Event::DataSyncFailed(DataSyncFailed {
            config_key: self.segment.config_key.clone(),
            node_id,
            segment: self.hash,
            error: text::clip(error, ERROR_BYTES_MAX).to_owned(),
            retry_count: attempts,
            timestamp: caused::seconds(now_ms()),
        })
    }
}
