//! What the daemons share.
//!
//! Invariant: an event is in the log before anybody hears of it.

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
use p2p::{P2pHandle, blobs::BlobStore};
use raft::{ProposeError, RaftHandle};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Instant};
use tokio_util::sync::CancellationToken;

/// The gossip topic of events.
pub const EVENTS_TOPIC: &str = "ringrift/events/1";
/// The same, told to every peer and passed on by none.
pub(crate) const EVENTS_DIRECT_TOPIC: &str = "ringrift/events/1/direct";

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
}

/// Runs what blocks off the asynchronous threads.
///
/// # Errors
/// [`WorkError::TaskPanicked`], or [`WorkError::Stopped`] when the runtime is going down.
pub async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, WorkError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| if error.is_panic() { WorkError::TaskPanicked } else { WorkError::Stopped })
}
