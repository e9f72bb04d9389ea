//! UnifiedReplicationDaemon: keeps every segment on as many online nodes as asked for.
//!
//! Which nodes those are follows from the state alone, so that all nodes agree without talking.

use super::work::rendezvous;
use crate::{
    clock::now_ms,
    node::{Context, WorkError, blocking},
    store::Segment,
};
use raft::{ClusterState, Command, NodeId, Segment as Registered};
use std::{collections::BTreeSet, time::Duration};
use wire::Hash;

/// Between looks at the segments, and after a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// Segments fetched between two looks.
const BATCH: usize = 64;

/// Whether node `me` should get a copy of a segment that `copies` nodes shall hold.
fn due(state: &ClusterState, me: NodeId, hash: &Hash, segment: &Registered, copies: usize) -> bool {
    if segment.holders.contains(&me) {
        return false;
    }
    let online: Vec<NodeId> = state.online().map(|node| node.id).collect();
    let have = online.iter().filter(|id| segment.holders.contains(id)).count();
    let missing = copies.min(online.len()).saturating_sub(have);
    let mut others: Vec<NodeId> = online.into_iter().filter(|id| !segment.holders.contains(id)).collect();
    others.sort_by_key(|id| rendezvous(&hash.0, *id));
    others.iter().take(missing).any(|id| *id == me)
}

/// Runs until the shutdown.
///
/// # Errors
/// When the disk fails.
pub async fn run(node: Context) -> Result<(), WorkError> {
    let copies = node.config.segment_copies;
    loop {
        let state = node.raft.local();
        let missing: Vec<(Hash, BTreeSet<NodeId>)> = state
            .segments
            .iter()
            .filter(|(hash, segment)| due(&state, node.id, hash, segment, copies))
            .take(BATCH)
            .map(|(hash, segment)| (*hash, segment.holders.clone()))
            .collect();
        for (hash, holders) in missing {
            match node.shutdown.run_until_cancelled(copy(&node, hash, &holders)).await {
                None => return Ok(()),
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::info!(segment = hash.short(), %error, "a segment is not copied yet");
                    break;
                }
            }
        }
        if node.shutdown.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return Ok(());
        }
    }
}

async fn copy(node: &Context, hash: Hash, holders: &BTreeSet<NodeId>) -> Result<(), WorkError> {
    let bytes = node.obtain(hash, holders).await?;
    blocking(move || Segment::open(bytes).map(|_| ())).await??;
    node.propose(Command::AddSegmentHolder { hash, node: node.id, at_ms: now_ms() }).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;

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
