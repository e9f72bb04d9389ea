//! Garbage collection: removes content that the cluster does not know, because it was sent here and never
//! registered, or because an abandoned transfer left it. No component of the event-flow map does this.
//!
//! Invariant: this daemon never removes a model, a registered segment, a segment that is pending here, or
//! content that was touched within the last day. A quorum confirms what the cluster knows, because the state
//! of this node may be old.

use super::Segments;
use crate::peer::{Daemon, WorkError, blocking};
use cluster_state::{ClusterState, ModelId, SegmentId};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};
use wire::Hash;

/// Pause between two rounds.
const EVERY: Duration = Duration::from_secs(3600);
/// Content that was touched within this time stays.
const AGE: Duration = Duration::from_secs(24 * 3600);
/// How long a quorum may take to confirm the state.
const CONFIRM: Duration = Duration::from_secs(5);
/// Most contents removed in one round.
const REMOVED_MAX: usize = 10_000;

/// Of the content that was not touched for long, the part that neither the cluster nor the list of `pending`
/// segments knows.
fn garbage(
    untouched: &[(Hash, u64)],
    state: &ClusterState,
    pending: &BTreeSet<SegmentId>,
) -> Vec<(Hash, u64)> {
    let known = |hash: &Hash| {
        pending.contains(&SegmentId(*hash))
            || state.knows(hash)
            || state.configs.values().any(|config| {
                let model = ModelId(*hash);
                [config.initial, config.champion, config.newest].contains(&model)
                    || config.history.iter().any(|promotion| promotion.model == model)
            })
    };
    untouched.iter().filter(|(hash, _)| !known(hash)).take(REMOVED_MAX).copied().collect()
}

pub struct CollectDaemon {
    segments: Segments,
}

impl Daemon for CollectDaemon {
    const NAME: &'static str = "collection";

    async fn run(&mut self) -> Result<(), WorkError> {
        let shutdown = &self.segments.0.node.shutdown;
        let rounds = async {
            loop {
                self.collect(SystemTime::now() - AGE).await?;
                tokio::time::sleep(EVERY).await;
            }
        };
        shutdown.run_until_cancelled(rounds).await.unwrap_or(Ok(()))
    }
}

impl CollectDaemon {
    pub(super) fn new(segments: Segments) -> Self {
        Self { segments }
    }

    async fn collect(&self, before: SystemTime) -> Result<(), WorkError> {
        let node = &self.segments.0.node;
        let blobs = node.blobs.clone();
        let untouched = blocking(move || blobs.untouched(before)).await??;
        // The state is requested after the listing, so that it contains everything that was registered until
        // then.
        let Ok(state) = node.raft.linearizable_within(CONFIRM).await else { return Ok(()) };
        let (blobs, list) = (node.blobs.clone(), Arc::clone(&self.segments.0.pending));
        let quota = Arc::clone(&self.segments.0.quota);
        let (removed, bytes, leftovers) = blocking(move || {
            let pending = list.pending()?.into_iter().map(|segment| segment.hash).collect();
            let (mut removed, mut bytes) = (0u64, 0);
            for (hash, size) in garbage(&untouched, &state, &pending) {
                if blobs.remove_untouched(hash, before)? {
                    (removed, bytes) = (removed + 1, bytes + size);
                }
            }
            let leftovers = blobs.clear_leftovers(before)?;
            quota.settle(|hash| state.knows(hash))?;
            Ok::<_, WorkError>((removed, bytes, leftovers))
        })
        .await??;
        if removed > 0 || leftovers > 0 {
            tracing::info!(removed, bytes, leftovers, "content that the cluster does not know was removed");
        }
        node.activity.update(|work| work.collected += removed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::{World, hash};

    #[test]
    fn only_what_nobody_knows_is_garbage() {
        let mut world = World::with_nodes(2);
        world.train("candidate", 1);
        world.held("candidate", 2);
        world.evaluate("candidate", 1, true);
        world.promote("candidate");
        world.train("rejected", 1);
        let segment = world.play_on(10, vec![1, 2]);
        let (stray, pending) = (hash("stray"), hash("pending"));
        let models = ["untrained", "candidate", "rejected"].map(hash::<Hash>);
        let all: Vec<(Hash, u64)> =
            models.into_iter().chain([segment.0, stray, pending]).map(|hash| (hash, 1)).collect();
        assert_eq!(garbage(&all, &world.state, &BTreeSet::from([SegmentId(pending)])), [(stray, 1)]);
        assert_eq!(garbage(&all, &ClusterState::default(), &BTreeSet::new()).len(), all.len());
        assert_eq!(garbage(&[], &world.state, &BTreeSet::new()), []);
    }
}
