//! Announcements of models over gossip: a node that hears one fetches the model at once, before the cluster
//! has agreed that it exists.
//!
//! Invariant: a node follows only a member's announcement of a bounded size for a known configuration, and a
//! few at a time. An announcement only prefetches: what a node should hold follows from the replicated state.

use super::{Context, WorkError, quota::UnregisteredQuota};
use cluster_state::{ConfigKey, ModelId};
use kernels::CHECKPOINT_BYTES_MAX;
use p2p::Judgement;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::{sync::Semaphore, task::JoinSet};
use wire::WireError;

/// The gossip topic of models.
pub const MODELS_TOPIC: &str = "ringrift/models/1";
/// Frame kind of an announcement.
pub(crate) const KIND: u8 = 0x53;
/// Largest announcement in bytes.
pub(crate) const BYTES_MAX: usize = 512;
/// Maximum number of models that are fetched at once.
const FETCHED_MAX: usize = 2;

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
    permits: Arc<Semaphore>,
    fetching: JoinSet<()>,
}

impl AnnouncementFollower {
    pub(crate) fn new(quota: Arc<UnregisteredQuota>) -> Self {
        Self { quota, permits: Arc::new(Semaphore::new(FETCHED_MAX)), fetching: JoinSet::new() }
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
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else { return Judgement::Accept };
        let room = self.quota.left(&from, |hash| state.models.contains_key(&ModelId(*hash)));
        if manifest.size > room.min(CHECKPOINT_BYTES_MAX as u64) {
            return Judgement::Ignore;
        }
        let (node, quota) = (Arc::clone(node), Arc::clone(&self.quota));
        self.fetching.spawn(async move {
            let fetch = node.fetch_from_swarm(manifest.model.0, Some(manifest.size), vec![from.clone()]);
            match node.shutdown.run_until_cancelled(fetch).await {
                Some(Ok(())) => quota.add(&from, manifest.model.0, manifest.size),
                Some(Err(error)) => {
                    tracing::debug!(model = manifest.model.short(), %error, "no head start");
                }
                None => {}
            }
            drop(permit);
        });
        Judgement::Accept
    }
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
