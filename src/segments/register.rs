//! Acknowledges one segment: first a second disk has it, then Raft knows it, then the list forgets it.
//!
//! Invariant: the cluster learns of a segment only after as many nodes have synced it as the cluster
//! requires, and the list forgets it only after the cluster has learned of it. A request that is repeated
//! after a kill at any point does no harm.

use super::Segments;
use crate::{
    clock::now_ms,
    events::caused::node_name,
    peer::{Context, WorkError, blocking, control::Control},
    store::{PendingSegment, PendingSegments},
};
use cluster_state::{ClusterState, Command, NodeId, SegmentId, command::RegisterSegment};
use p2p::Class;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long another node may take to fetch and check a segment.
const KEEP: Duration = Duration::from_secs(20);
/// How long [`Segments::acknowledge_in_time`] keeps trying.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between the attempts of [`Segments::acknowledge_in_time`].
const PAUSE: Duration = Duration::from_secs(1);

impl Segments {
    /// Gets a segment synced on another node and registered. Once this returns without an error, the segment
    /// is acknowledged.
    ///
    /// # Errors
    /// [`WorkError`]; the segment stays pending, and another attempt does no harm.
    pub(super) async fn acknowledge(&self, segment: &PendingSegment) -> Result<(), WorkError> {
        let node = &self.0.node;
        let holders = async {
            let state = node.raft.local();
            let mut holders = vec![node.id];
            if state.required_segment_holders() > 1 {
                holders.push(keep_elsewhere(node, &state, segment.hash).await?);
            }
            Ok(holders)
        };
        let register = async |command| node.propose(command).await.map(drop).map_err(WorkError::from);
        in_order(&self.0.pending, segment, holders, register).await
    }

    /// Gets a segment acknowledged, and keeps trying for a minute, because the games of an evaluation must
    /// not be thrown away while a leader or the second holder is being replaced.
    ///
    /// # Errors
    /// [`WorkError`] of the last attempt; the segment stays pending.
    pub async fn acknowledge_in_time(&self, segment: &PendingSegment) -> Result<(), WorkError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.acknowledge(segment).await {
                Err(error) if Instant::now() < deadline => {
                    tracing::info!(segment = segment.hash.short(), %error, "not acknowledged yet");
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// Runs the steps in the order on which the promise depends: `holders` have the segment, `register` reports
/// it to the cluster, and only then the list forgets it.
pub(super) async fn in_order(
    list: &Arc<PendingSegments>,
    segment: &PendingSegment,
    holders: impl Future<Output = Result<Vec<NodeId>, WorkError>>,
    register: impl AsyncFnOnce(Command) -> Result<(), WorkError>,
) -> Result<(), WorkError> {
    let holders = holders.await?;
    register(Command::RegisterSegment(RegisterSegment {
        hash: segment.hash,
        config_key: segment.config_key.clone(),
        games: segment.games,
        samples: segment.samples,
        source: segment.source.clone(),
        model: segment.model,
        holders,
        at_ms: now_ms(),
    }))
    .await?;
    let (list, hash) = (Arc::clone(list), segment.hash);
    blocking(move || list.acknowledged(&hash)).await??;
    Ok(())
}

/// Asks the other online nodes in the order of their ids, beginning after this node, until one has synced the
/// content. Nodes that drain are asked last, because they may leave soon.
async fn keep_elsewhere(node: &Context, state: &ClusterState, hash: SegmentId) -> Result<NodeId, WorkError> {
    let order: BTreeMap<(bool, bool, NodeId), &str> = state
        .online()
        .filter(|other| other.id != node.id && node.p2p.is_connected(&other.peer_id))
        .map(|other| ((other.draining.is_some(), other.id < node.id, other.id), other.peer_id.as_str()))
        .collect();
    let mut trouble = "no other node is connected".to_owned();
    for ((_, _, id), peer) in order {
        let request = Control::Keep { hash: hash.0 }.encode()?;
        match node.p2p.request(Class::Control, peer, request, KEEP).await {
            Ok(answer) => match Control::read_kept(&answer) {
                Ok(()) => return Ok(id),
                Err(error) => trouble = format!("{}: {error}", node_name(id)),
            },
            Err(error) => trouble = format!("{}: {error}", node_name(id)),
        }
    }
    Err(WorkError::NoSecondCopy(trouble))
}
