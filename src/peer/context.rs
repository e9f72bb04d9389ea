//! What the daemons share.
//!
//! Invariant: an event is in the log before anybody hears of it, and bytes are verified and synced before anybody
//! is told that they are here.

use super::{activity::Activity, error::WorkError, settings::PeerSettings};
use crate::{
    events::{
        Event,
        caused::node_name,
        log::{Emission, EventLog},
    },
    store::DataFolder,
};
use cluster_state::{Command, NodeId, Response};
use p2p::{
    P2pHandle,
    blobs::{BlobError, BlobStore},
    transfer::FetchLimits,
};
use raft::{ProposeError, RaftHandle};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use wire::Hash;

/// The gossip topic of events.
pub const EVENTS_TOPIC: &str = "ringrift/events/1";
/// The same, told to every peer and passed on by none.
pub(crate) const EVENTS_DIRECT_TOPIC: &str = "ringrift/events/1/direct";
/// Largest content of ours: a model.
const CONTENT_BYTES_MAX: u64 = kernels::CHECKPOINT_BYTES_MAX as u64;
/// How long a fetch may take before it is tried again; what arrived is kept.
const FETCH: Duration = Duration::from_secs(120);

/// What every part of a running peer needs.
pub struct PeerContext {
    /// This node.
    pub id: NodeId,
    pub settings: PeerSettings,
    /// Its data folder.
    pub folder: Arc<DataFolder>,
    /// Consensus, and the replicated state.
    pub raft: RaftHandle,
    /// Connections to other peers.
    pub p2p: P2pHandle,
    /// Content by hash.
    pub blobs: BlobStore,
    /// The log of events.
    pub events: Arc<EventLog>,
    /// What goes on here, for people.
    pub activity: Activity,
    /// Ends everything.
    pub shutdown: CancellationToken,
    /// When the process began.
    pub started: Instant,
    /// Random number of this start.
    pub boot: u64,
    /// Address of the HTTP interface.
    pub http: SocketAddr,
}

/// Cheap to clone.
pub type Context = Arc<PeerContext>;

impl PeerContext {
    /// What this node is called in events.
    #[must_use]
    pub fn name(&self) -> String {
        node_name(self.id)
    }

    /// The absolute path of a path as events name it.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.join(relative)
    }

    /// Proposes a command.
    ///
    /// # Errors
    /// [`ProposeError`].
    pub async fn propose(&self, command: Command) -> Result<Response, ProposeError> {
        let name = command.name();
        let outcome = self.raft.propose(command).await;
        match &outcome {
            Ok(response) => tracing::debug!(command = name, ?response, "applied"),
            Err(error) => tracing::debug!(command = name, %error, "not applied"),
        }
        outcome
    }

    /// Keeps an event of this node and tells the others.
    ///
    /// # Errors
    /// When the log cannot be written; then nobody was told.
    pub async fn emit(&self, event: Event) -> Result<(), WorkError> {
        self.emit_as(event.into()).await
    }

    /// [`Self::emit`], with what the event follows and who wants it.
    ///
    /// # Errors
    /// When the log cannot be written; then nobody was told.
    pub async fn emit_as(&self, emission: Emission) -> Result<(), WorkError> {
        self.emit_all(vec![emission]).await
    }

    /// [`Self::emit`], and with it another change of `node.db`: both or neither.
    ///
    /// # Errors
    /// When the log cannot be written; then nobody was told and nothing changed.
    pub async fn emit_with(
        &self,
        event: Event,
        change: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<(), WorkError> {
        let log = Arc::clone(&self.events);
        let message = blocking(move || log.emit_with(event, change)).await??;
        self.gossip(message);
        Ok(())
    }

    /// Keeps events of this node, all or none, and tells the others.
    ///
    /// # Errors
    /// When the log cannot be written; then nobody was told.
    pub async fn emit_all(&self, emissions: Vec<Emission>) -> Result<(), WorkError> {
        let log = Arc::clone(&self.events);
        let signed = blocking(move || log.emit_all(emissions)).await??;
        for signed in signed {
            self.gossip(signed.encode()?);
        }
        Ok(())
    }

    /// Tells the others of an event that is in the log.
    pub fn gossip(&self, message: Vec<u8>) {
        if !self.settings.events.gossip {
            return;
        }
        let topic = if self.reaches_everybody() { EVENTS_DIRECT_TOPIC } else { EVENTS_TOPIC };
        // Without peers there is nobody to tell; the log has it.
        if let Err(error) = self.p2p.publish(topic, message) {
            tracing::debug!(%error, "an event was not gossiped");
        }
    }

    /// Whether this node is connected to every node that the cluster counts as online.
    fn reaches_everybody(&self) -> bool {
        let state = self.raft.local();
        state.online().all(|node| node.id == self.id || self.p2p.is_connected(&node.peer_id))
    }

    /// The content, from here or from one of `holders` by whichever way leads to it, verified and kept.
    ///
    /// # Errors
    /// [`WorkError`] when nobody who can be reached has it.
    pub async fn obtain(&self, hash: Hash, holders: &BTreeSet<NodeId>) -> Result<Vec<u8>, WorkError> {
        if let Some(bytes) = self.stored(hash).await? {
            return Ok(bytes);
        }
        let size = self.raft.local().models.get(&hash).map(|model| model.info.size);
        self.bring(hash, size, CONTENT_BYTES_MAX, holders).await?;
        self.stored(hash).await?.ok_or(WorkError::Missing(hash))
    }

    /// Fetches content from the swarm into the store.
    ///
    /// # Errors
    /// [`WorkError::Fetch`].
    pub async fn fetch(&self, hash: Hash, size: Option<u64>, peers: Vec<String>) -> Result<(), WorkError> {
        let limits = FetchLimits { bytes_max: CONTENT_BYTES_MAX, timeout: FETCH, ..FetchLimits::default() };
        self.p2p.fetch(hash, size, peers, limits).await?;
        Ok(())
    }

    /// The content if it is here; a corrupt copy is set aside and counts as missing.
    ///
    /// # Errors
    /// [`WorkError`] when the disk fails.
    pub async fn stored(&self, hash: Hash) -> Result<Option<Vec<u8>>, WorkError> {
        let blobs = self.blobs.clone();
        match blocking(move || blobs.get(hash)).await? {
            Err(error @ BlobError::Corrupt { .. }) => {
                tracing::error!(%hash, %error, "a corrupt copy was set aside; another will be fetched");
                Ok(None)
            }
            other => Ok(other?),
        }
    }

    /// Keeps content here.
    ///
    /// # Errors
    /// [`WorkError`] when the disk fails.
    pub async fn keep(&self, bytes: Vec<u8>) -> Result<Hash, WorkError> {
        let blobs = self.blobs.clone();
        Ok(blocking(move || blobs.put(&bytes)).await??)
    }
}

/// Runs what blocks off the asynchronous threads.
///
/// # Errors
/// [`WorkError::TaskPanicked`], or [`WorkError::Stopped`] when the runtime is going down.
pub async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, WorkError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| if error.is_panic() { WorkError::TaskPanicked } else { WorkError::Stopped })
}
