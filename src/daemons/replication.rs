//! UnifiedReplicationDaemon: keeps every segment on as many online nodes as asked for, and on this one if the cluster
//! believes that it is here.
//!
//! Which nodes those are follows from the state alone, so that all nodes agree without talking.

use super::handlers::Handled;
use super::work::rendezvous;
use crate::events::log::Logged;
use crate::{
    clock::now_ms,
    node::{Context, WorkError, blocking},
    store::Segment,
};
use raft::{ClusterState, Command, NodeId, Segment as Registered};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use wire::Hash;

/// Between looks at the segments, and after a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// Segments fetched between two looks.
const BATCH: usize = 64;
/// A segment that could not be had is tried again after this; the others meanwhile.
const AGAIN: Duration = Duration::from_secs(30);
/// Between looks whether what should be here is.
const CHECK: Duration = Duration::from_secs(60);

/// Whether node `me` should get a copy of a segment that `copies` nodes shall hold.
fn due(state: &ClusterState, me: NodeId, hash: &Hash, segment: &Registered, copies: usize) -> bool {
    if segment.holders.contains(&me) {
        return false;
    }
    let online: Vec<NodeId> = state.online().map(|node| node.id).collect();
    let have = online.iter().filter(|id| segment.holders.contains(id)).count();
    let missing = copies.min(online.len()).saturating_sub(have);
    if missing == 0 {
        return false;
    }
    let mut others: Vec<NodeId> = online.into_iter().filter(|id| !segment.holders.contains(id)).collect();
    others.sort_by_key(|id| rendezvous(&hash.0, *id));
    others.iter().take(missing).any(|id| *id == me)
}

/// Segments that the cluster believes node `me` to hold and that are not among `here`: lost or set aside as corrupt.
fn absent(state: &ClusterState, me: NodeId, here: &BTreeSet<Hash>) -> BTreeSet<Hash> {
    let ours = state.segments.iter().filter(|(_, segment)| segment.holders.contains(&me));
    ours.map(|(hash, _)| *hash).filter(|hash| !here.contains(hash)).collect()
}

/// Runs until the shutdown.
///
/// # Errors
/// When the disk fails.
pub async fn run(node: Context) -> Result<(), WorkError> {
    let copies = node.config.segment_copies;
    let mut failed: BTreeMap<Hash, Instant> = BTreeMap::new();
    let mut lost = BTreeSet::new();
    let mut checked: Option<Instant> = None;
    loop {
        let state = node.raft.local();
        if checked.is_none_or(|at| at.elapsed() >= CHECK) {
            let blobs = node.blobs.clone();
            let here = blocking(move || blobs.list()).await??;
            lost = absent(&state, node.id, &here.into_iter().map(|(hash, _)| hash).collect());
            checked = Some(Instant::now());
        }
        failed.retain(|_, at| at.elapsed() < AGAIN);
        let wanted = |hash: &Hash, segment: &Registered| {
            !failed.contains_key(hash) && (lost.contains(hash) || due(&state, node.id, hash, segment, copies))
        };
        let missing: Vec<(Hash, BTreeSet<NodeId>)> = state
            .segments
            .iter()
            .filter(|(hash, segment)| wanted(hash, segment))
            .take(BATCH)
            .map(|(hash, segment)| (*hash, segment.holders.clone()))
            .collect();
        for (hash, holders) in missing {
            match node.shutdown.run_until_cancelled(copy(&node, hash, &holders)).await {
                None => return Ok(()),
                Some(Ok(())) => {
                    lost.remove(&hash);
                }
                Some(Err(error)) => {
                    tracing::info!(segment = hash.short(), %error, "a segment is not copied yet");
                    if matches!(error, WorkError::Propose(_)) {
                        break; // no leader for this one is none for the others
                    }
                    failed.insert(hash, Instant::now());
                }
            }
        }
        tokio::select! {
            () = node.shutdown.cancelled() => return Ok(()),
            () = node.wakes.replication.notified() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn copy(node: &Context, hash: Hash, holders: &BTreeSet<NodeId>) -> Result<(), WorkError> {
    let bytes = node.obtain(hash, holders).await?;
    blocking(move || Segment::open(bytes).map(|_| ())).await??;
    node.propose(Command::AddSegmentHolder { hash, node: node.id, at_ms: now_ms() }).await?;
    Ok(())
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
        let takers = |world: &World, copies| -> Vec<NodeId> {
            let segment = world.state.segments.get(&hash).unwrap();
            (1..=5).filter(|id| due(&world.state, *id, &hash, segment, copies)).collect()
        };
        assert!(takers(&world, 2).is_empty());
        let third = takers(&world, 3);
        assert!(third.len() == 1 && third[0] > 2, "{third:?}");
        world.offline(2);
        let more = takers(&world, 3);
        assert!(more.len() == 2 && more.contains(&third[0]), "the first choice stays: {more:?}");
        assert_eq!(takers(&world, 9), [3, 4, 5]);
    }
}
