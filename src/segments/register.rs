//! Acknowledges one segment: first a second disk has it, then Raft knows it, then the list forgets it.
//!
//! Invariant: the cluster learns of a segment only by the receipts of as many nodes as it requires, each of
//! which has synced the segment, and the list forgets it only after the cluster has learned of it. A request
//! that is repeated after a kill at any point does no harm.

use super::{Segments, receipt};
use crate::{
    clock::now_ms,
    events::caused::node_name,
    peer::{Context, WorkError, blocking, control::Control},
    store::{PendingSegment, PendingSegments},
};
use cluster_state::{
    ClusterState, Command, NodeId, Receipt, SegmentFacts, Signature, command::RegisterSegment,
};
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
        let (blobs, hash) = (node.blobs.clone(), segment.hash);
        let outline = blocking(move || blobs.known_outline(hash.0)).await??;
        let bytes = outline.ok_or(WorkError::Missing(hash.0))?.size();
        let receipts = async {
            let (state, facts) = (node.raft.local(), segment.facts(bytes));
            let mut receipts =
                vec![Receipt { node: node.id, signature: receipt::sign(&node.signer, &facts)? }];
            if state.required_segment_holders() > 1 {
                receipts.push(keep_elsewhere(node, &state, &facts).await?);
            }
            Ok(receipts)
        };
        let register = async |command| node.propose(command).await.map(drop).map_err(WorkError::from);
        in_order(&self.0.pending, segment, bytes, receipts, register).await
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

/// Runs the steps in the order on which the promise depends: those who gave `receipts` have the segment,
/// which has this size, `register` reports it to the cluster, and only then the list forgets it.
pub(super) async fn in_order(
    list: &Arc<PendingSegments>,
    segment: &PendingSegment,
    bytes: u64,
    receipts: impl Future<Output = Result<Vec<Receipt>, WorkError>>,
    register: impl AsyncFnOnce(Command) -> Result<(), WorkError>,
) -> Result<(), WorkError> {
    let receipts = receipts.await?;
    register(Command::RegisterSegment(RegisterSegment {
        hash: segment.hash,
        config_key: segment.config_key.clone(),
        games: segment.games,
        samples: segment.samples,
        bytes,
        source: segment.source.clone(),
        model: segment.model,
        receipts,
        at_ms: now_ms(),
    }))
    .await?;
    let (list, hash) = (Arc::clone(list), segment.hash);
    blocking(move || list.acknowledged(&hash)).await??;
    Ok(())
}

/// Asks the other online nodes in the order of their ids, beginning after this node, until one has synced the
/// content and signed the same counts. Nodes that drain are asked last, because they may leave soon.
async fn keep_elsewhere(
    node: &Context,
    state: &ClusterState,
    facts: &SegmentFacts<'_>,
) -> Result<Receipt, WorkError> {
    let order: BTreeMap<(bool, bool, NodeId), &str> = state
        .online()
        .filter(|other| other.id != node.id && node.p2p.is_connected(&other.peer_id))
        .map(|other| ((other.draining.is_some(), other.id < node.id, other.id), other.peer_id.as_str()))
        .collect();
    let mut trouble = "no other node is connected".to_owned();
    for ((_, _, id), peer) in order {
        let request = Control::Keep { hash: facts.hash.0 }.encode()?;
        match node.p2p.request(Class::Control, peer, request, KEEP).await {
            Ok(answer) => match read_receipt(&answer, peer, facts) {
                Ok(signature) => return Ok(Receipt { node: id, signature }),
                Err(error) => trouble = format!("{}: {error}", node_name(id)),
            },
            Err(error) => trouble = format!("{}: {error}", node_name(id)),
        }
    }
    Err(WorkError::NoSecondCopy(trouble))
}

/// The signature in the answer of `peer`, if it is for this segment.
fn read_receipt(answer: &[u8], peer: &str, facts: &SegmentFacts<'_>) -> Result<Signature, String> {
    let signature = Control::read_kept(answer)?;
    let fits = facts.is_signed(peer, &signature);
    fits.then_some(signature).ok_or_else(|| "its receipt is for something else".to_owned())
}
