//! UnifiedReplicationDaemon: keeps every segment on as many online nodes as asked for, and on this one if the cluster
//! believes that it is here.
//!
//! Which nodes those are follows from the state alone, so that all nodes agree without talking. A node that drains takes
//! no copies, and those it has do not count: they may go with it.

mod retries;

pub use retries::Retries;

use crate::events::{DataSync, DataSyncFailed, Event, caused, log::Logged};
use crate::{
    clock::now_ms,
    peer::{Context, WorkError, blocking},
    store::Segment,
};
use crate::{events::runner::Handled, leader::placement::rendezvous};
use cluster_state::command::AddSegmentHolder;
use cluster_state::{ClusterState, Command, NodeId, Segment as Registered};
use futures::StreamExt;
use retries::Quota;
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};
use wire::Hash;

/// Between looks at the segments, and after a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// Segments fetched between two looks.
const BATCH: usize = 64;
/// Segments fetched at once.
const AT_ONCE: usize = 4;
/// Between looks whether what should be here is.
const CHECK: Duration = Duration::from_secs(60);
/// So long after the start a segment waits until one of its holders has connected; then every way is tried.
const START: Duration = Duration::from_secs(10);
/// Events about copies, each minute: what is beyond is done and not told.
const TOLD_MAX: u32 = 120;

/// Who counts as a place for copies: online, and not about to go.
struct Places {
    ids: Vec<NodeId>,
}

impl Places {
    fn of(state: &ClusterState) -> Self {
        let staying = state.online().filter(|node| node.draining.is_none());
        Self { ids: staying.map(|node| node.id).collect() }
    }

    /// Copies of a segment that count.
    fn copies(&self, segment: &Registered) -> usize {
        self.ids.iter().filter(|id| segment.holders.contains(id)).count()
    }

    /// Whether node `me` should get a copy of a segment that `copies` nodes shall hold.
    fn due(&self, me: NodeId, hash: &Hash, segment: &Registered, copies: usize) -> bool {
        if segment.holders.contains(&me) {
            return false;
        }
        let missing = copies.min(self.ids.len()).saturating_sub(self.copies(segment));
        if missing == 0 {
            return false;
        }
        let mut others: Vec<NodeId> =
            self.ids.iter().copied().filter(|id| !segment.holders.contains(id)).collect();
        others.sort_by_key(|id| rendezvous(&hash.0, *id));
        others.iter().take(missing).any(|id| *id == me)
    }
}

/// Segments that the cluster believes node `me` to hold and that are not among `here`: lost or set aside as corrupt.
fn absent(state: &ClusterState, me: NodeId, here: &BTreeSet<Hash>) -> BTreeSet<Hash> {
    let ours = state.segments.iter().filter(|(_, segment)| segment.holders.contains(&me));
    ours.map(|(hash, _)| *hash).filter(|hash| !here.contains(hash)).collect()
}

/// What node `me` is to get now: the segments of which there are the fewest copies first, then the oldest. `may`: whether
/// one can be tried now.
fn missing(
    state: &ClusterState,
    me: NodeId,
    lost: &BTreeSet<Hash>,
    copies: usize,
    may: impl Fn(&Hash, &Registered) -> bool,
) -> Vec<(Hash, Registered)> {
    let places = Places::of(state);
    if !places.ids.contains(&me) {
        return Vec::new();
    }
    let wanted = state.segments.iter().filter(|(hash, segment)| {
        (lost.contains(hash) || places.due(me, hash, segment, copies)) && may(hash, segment)
    });
    let mut found: Vec<(usize, u64, Hash)> = wanted
        .map(|(hash, segment)| {
            let copies = places.copies(segment) - usize::from(lost.contains(hash));
            (copies, segment.log_index, *hash)
        })
        .collect();
    found.sort_unstable();
    let segment = |(_, _, hash): (usize, u64, Hash)| Some((hash, state.segments.get(&hash)?.clone()));
    found.into_iter().take(BATCH).filter_map(segment).collect()
}

/// Runs until the shutdown.
///
/// # Errors
/// When the disk fails.
pub async fn run(node: Context) -> Result<(), WorkError> {
    let copies = node.config.segment_copies;
    let mut peers = node.p2p.peers();
    let mut known = BTreeSet::new();
    let mut lost = BTreeSet::new();
    let mut checked: Option<Instant> = None;
    let mut quota = Quota::new(TOLD_MAX);
    loop {
        let state = node.raft.local();
        if checked.is_none_or(|at| at.elapsed() >= CHECK) {
            let blobs = node.blobs.clone();
            let here = blocking(move || blobs.list()).await??;
            lost = absent(&state, node.id, &here.into_iter().map(|(hash, _)| hash).collect());
            checked = Some(Instant::now());
        }
        let connected: BTreeSet<NodeId> = {
            let peers = peers.borrow_and_update();
            peers.iter().filter_map(|peer| state.node_of_peer(&peer.peer_id)).map(|node| node.id).collect()
        };
        let now = Instant::now();
        let came: BTreeSet<NodeId> = connected.difference(&known).copied().collect();
        if !came.is_empty() {
            // What failed may be had from them.
            node.retries.release(|hash| {
                state.segments.get(hash).is_none_or(|segment| !segment.holders.is_disjoint(&came))
            });
        }
        known = connected;
        let starting = node.started.elapsed() < START;
        let todo = missing(&state, node.id, &lost, copies, |hash, segment| {
            node.retries.allows(hash, now) && (!starting || !segment.holders.is_disjoint(&known))
        });
        let context = &node;
        let copied = futures::stream::iter(todo.into_iter().map(|(hash, segment)| async move {
            let began = Instant::now();
            let copied = Box::pin(copy(context, hash, &segment.holders)).await;
            (hash, segment, began, copied)
        }));
        let mut copied = copied.buffer_unordered(AT_ONCE);
        loop {
            let next = node.shutdown.run_until_cancelled(copied.next()).await;
            let Some(next) = next else { return Ok(()) };
            let Some((hash, segment, began, copied)) = next else { break };
            match copied {
                Ok(bytes) => {
                    lost.remove(&hash);
                    node.retries.succeeded(&hash);
                    if quota.take(Instant::now()) {
                        completed(&node, hash, &segment, bytes, began).await?;
                    }
                }
                // No leader for this one is none for the others; what is here stays.
                Err(WorkError::Propose(error)) => {
                    tracing::info!(segment = hash.short(), %error, "a copy is not registered yet");
                    break;
                }
                Err(error) => {
                    let attempts = node.retries.failed(hash, Instant::now());
                    tracing::info!(segment = hash.short(), attempts, %error, "a segment is not copied yet");
                    if quota.take(Instant::now()) {
                        failed(&node, hash, &segment, attempts, &error).await?;
                    }
                }
            }
        }
        tokio::select! {
            () = node.shutdown.cancelled() => return Ok(()),
            () = node.wakes.replication.notified() => {}
            changed = peers.changed() => if changed.is_err() { return Ok(()) },
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Gets a copy, checks it and registers it; how many bytes that are.
async fn copy(node: &Context, hash: Hash, holders: &BTreeSet<NodeId>) -> Result<u64, WorkError> {
    let bytes = node.obtain(hash, holders).await?;
    let size = bytes.len() as u64;
    blocking(move || Segment::open(bytes).map(|_| ())).await??;
    node.propose(Command::AddSegmentHolder(AddSegmentHolder { hash, node: node.id, at_ms: now_ms() }))
        .await?;
    Ok(size)
}

async fn completed(
    node: &Context,
    hash: Hash,
    segment: &Registered,
    bytes: u64,
    began: Instant,
) -> Result<(), WorkError> {
    node.emit(Event::DataSyncCompleted(DataSync {
        config_key: segment.config_key.clone(),
        node_id: node.name(),
        host: segment.holders.iter().map(|id| caused::node_name(*id)).collect::<Vec<_>>().join(","),
        games_synced: segment.games,
        bytes_transferred: bytes,
        duration: began.elapsed().as_secs_f64(),
        segment: hash,
        timestamp: caused::seconds(now_ms()),
    }))
    .await
}

async fn failed(
    node: &Context,
    hash: Hash,
    segment: &Registered,
    attempts: u32,
    error: &WorkError,
) -> Result<(), WorkError> {
    node.emit(Event::DataSyncFailed(DataSyncFailed {
        config_key: segment.config_key.clone(),
        node_id: node.name(),
        segment: hash,
        error: error.to_string().chars().take(500).collect(),
        retry_count: attempts,
        timestamp: caused::seconds(now_ms()),
    }))
    .await
}

/// Looks at the state now.
///
/// # Errors
/// None.
pub async fn handle(node: Context, _: Arc<Logged>) -> Handled {
    node.wakes.replication.notify_one();
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;
    use cluster_state::command::SetDraining;

    fn drain(world: &mut World, node: NodeId, draining: bool) {
        world.apply(Command::SetDraining(SetDraining {
            node,
            draining,
            reason: "test".into(),
            at_ms: world.now,
        }));
    }

    fn takers(world: &World, hash: Hash, copies: usize) -> Vec<NodeId> {
        let segment = world.state.segments.get(&hash).unwrap();
        let places = Places::of(&world.state);
        world.state.nodes.keys().copied().filter(|id| places.due(*id, &hash, segment, copies)).collect()
    }

    #[test]
    fn what_should_be_here_and_is_not_is_found() {
        let mut world = World::with_nodes(3);
        let (here, gone) = (world.play_on(10, vec![1, 2]), world.play_on(10, vec![1, 2]));
        world.play_on(10, vec![2, 3]);
        let found = absent(&world.state, 1, &BTreeSet::from([here]));
        assert_eq!(found, BTreeSet::from([gone]));
    }

    #[test]
    fn as_many_nodes_as_needed_take_a_copy() {
        let mut world = World::with_nodes(5);
        let hash = world.play_on(10, vec![1, 2]);
        assert!(takers(&world, hash, 2).is_empty());
        let third = takers(&world, hash, 3);
        assert!(third.len() == 1 && third[0] > 2, "{third:?}");
        world.offline(2);
        let more = takers(&world, hash, 3);
        assert!(more.len() == 2 && more.contains(&third[0]), "the first choice stays: {more:?}");
        assert_eq!(takers(&world, hash, 9), [3, 4, 5]);
    }

    #[test]
    fn a_node_that_drains_takes_no_copies_and_its_own_do_not_count() {
        let mut world = World::with_nodes(5);
        let hash = world.play_on(10, vec![1, 2, 3]);
        assert!(takers(&world, hash, 3).is_empty());
        drain(&mut world, 2, true);
        let fourth = takers(&world, hash, 3);
        assert!(fourth.len() == 1 && fourth[0] > 3, "{fourth:?}");
        drain(&mut world, fourth[0], true);
        let fifth = takers(&world, hash, 3);
        assert!(fifth.len() == 1 && fifth != fourth && fifth[0] > 3, "{fifth:?}");
        let copies = Places::of(&world.state).copies(world.state.segments.get(&hash).unwrap());
        assert_eq!(copies, 2);
        drain(&mut world, 2, false);
        assert!(takers(&world, hash, 3).is_empty(), "back again");
        // A drained node that lost its copy does not fetch it for the little time it has.
        drain(&mut world, 1, true);
        let lost = BTreeSet::from([hash]);
        assert_eq!(missing(&world.state, 1, &lost, 3, |_, _| true), []);
        assert_eq!(missing(&world.state, 2, &lost, 3, |_, _| true).len(), 1);
    }

    #[test]
    fn the_rarest_first() {
        let mut world = World::with_nodes(4);
        let plenty = world.play_on(10, vec![1, 2, 3]);
        let two = world.play_on(10, vec![1, 2]);
        let later = world.play_on(10, vec![2, 3]);
        let order = |world: &World, lost: &[Hash], may: &dyn Fn(&Hash) -> bool| -> Vec<Hash> {
            let lost = lost.iter().copied().collect();
            let found = missing(&world.state, 4, &lost, 9, |hash, _| may(hash));
            found.into_iter().map(|(hash, _)| hash).collect()
        };
        assert_eq!(order(&world, &[], &|_| true), [two, later, plenty], "the oldest of equals");
        assert_eq!(order(&world, &[], &|hash| *hash != two), [later, plenty]);
        world.offline(3);
        assert_eq!(
            order(&world, &[], &|_| true),
            [later, plenty, two],
            "one copy is left, of the others two"
        );
        world.online(3, true);
        let own = world.play_on(10, vec![3, 4]);
        assert_eq!(order(&world, &[own], &|hash| *hash == own || *hash == plenty), [own, plenty]);
    }
}
