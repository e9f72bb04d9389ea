//! Announcements of models over gossip: a node that hears one fetches the model at once, before the cluster
//! has agreed that it exists.
//!
//! Invariant: a node follows only a member's announcement of a bounded size for a known configuration, and a
//! few at a time. An announcement only prefetches: what a node should hold follows from the replicated state.

use super::{ContentKind, Context, WorkError, blocking, quota::UnregisteredQuota};
use cluster_state::{ConfigKey, ModelId};
use kernels::{CHECKPOINT_BYTES_MAX, Checkpoint, CheckpointError};
use p2p::{Judgement, PeerPermits};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::task::JoinSet;
use wire::WireError;

/// The gossip topic of models.
pub const MODELS_TOPIC: &str = "ringrift/models/1";
/// Frame kind of an announcement.
pub(crate) const KIND: u8 = 0x53;
/// Largest announcement in bytes.
pub(crate) const BYTES_MAX: usize = 512;
/// Maximum number of announced models that are fetched at once.
const FETCHED_MAX: usize = 4;
/// Of those, the most of one peer.
const PER_PEER_MAX: usize = 2;

/// The announcement of a new model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub config_key: ConfigKey,
    /// The checkpoint, by content.
    pub model: ModelId,
    /// Size in bytes.
    pub size: u64,
}

/// Announces a model that is here to the other nodes.
///
/// # Errors
/// Returns [`WorkError::Wire`] for a name that is too long.
pub fn announce(node: &Context, manifest: &Manifest) -> Result<(), WorkError> {
    let message = wire::encode(KIND, manifest, BYTES_MAX)?;
    if let Err(error) = node.p2p.publish(MODELS_TOPIC, message) {
        tracing::debug!(%error, "a model was not announced");
    }
    Ok(())
}

/// Fetches the models that are announced.
pub(crate) struct AnnouncementFollower {
    quota: Arc<UnregisteredQuota>,
    permits: Arc<PeerPermits>,
    fetching: JoinSet<()>,
}

impl AnnouncementFollower {
    pub(crate) fn new(quota: Arc<UnregisteredQuota>) -> Self {
        Self { quota, permits: PeerPermits::new(FETCHED_MAX, PER_PEER_MAX), fetching: JoinSet::new() }
    }

    /// Handles an announcement of peer `from`, and says what to make of it.
    pub(crate) fn hear(&mut self, node: &Context, from: String, message: &[u8]) -> Judgement {
        while self.fetching.try_join_next().is_some() {}
        let manifest = match read(message) {
            Ok(manifest) => manifest,
            Err(error) => {
                tracing::warn!(from, %error, "an announcement was refused");
                return Judgement::Reject;
            }
        };
        let state = node.raft.local();
        let is_heard = state.node_of_peer(&from).is_some() && !node.events.is_shunned(&from);
        if !is_heard || state.config(&manifest.config_key).is_none() {
            return Judgement::Ignore;
        }
        let known = node.nonsense.has(ContentKind::Model, manifest.model.0);
        if known || manifest.size > CHECKPOINT_BYTES_MAX as u64 {
            return Judgement::Ignore;
        }
        let Some(permit) = self.permits.try_take(&from) else { return Judgement::Accept };
        let (node, quota) = (Arc::clone(node), Arc::clone(&self.quota));
        self.fetching.spawn(async move {
            let fetched = prefetch(&node, &quota, &from, &manifest);
            if let Some(Err(error)) = node.shutdown.run_until_cancelled(fetched).await {
                tracing::debug!(from, model = manifest.model.short(), %error, "no head start");
            }
            drop(permit);
        });
        Judgement::Accept
    }
}

/// Fetches an announced model, if its announcer has room for it. What is no model is removed again.
async fn prefetch(
    node: &Context,
    quota: &Arc<UnregisteredQuota>,
    from: &str,
    manifest: &Manifest,
) -> Result<(), WorkError> {
    let (hash, size) = (manifest.model.0, manifest.size);
    if node.blobs.has(hash) {
        return Ok(());
    }
    let (book, peer, state) = (Arc::clone(quota), from.to_owned(), node.raft.local());
    let room = blocking(move || book.make_room(&peer, hash, (size, size), |hash| state.knows(hash)));
    let _room = room.await??.ok_or_else(|| WorkError::TooMuch(from.to_owned()))?;
    let fetched = node.fetch_from_swarm(hash, size, vec![from.to_owned()]).await;
    fetched.map_err(|error| WorkError::Announced(error.to_string()))?;
    let bytes = node.get_content(hash).await?.ok_or(WorkError::Missing(hash))?;
    if let Err(error) = blocking(move || Checkpoint::from_bytes(&bytes).map(|_| ())).await? {
        if !matches!(error, CheckpointError::Version { .. }) {
            node.drop_nonsense(ContentKind::Model, hash).await?;
        }
        return Err(error.into());
    }
    Ok(())
}

pub(crate) fn read(message: &[u8]) -> Result<Manifest, WireError> {
    wire::decode::<_, BYTES_MAX>(KIND, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::Hash;

    #[test]
    fn an_announcement_is_read_back_and_others_are_refused() {
        let manifest = Manifest { config_key: "hex8_2p".into(), model: ModelId(Hash([3; 32])), size: 9 };
        let message = wire::encode(KIND, &manifest, BYTES_MAX).unwrap();
        assert_eq!(read(&message), Ok(manifest));
        assert!(read(&message[1..]).is_err());
        assert!(read(&[0; 600]).is_err());
    }
}
