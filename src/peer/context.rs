//! What the daemons share: the handles of a running peer.
//!
//! Invariant: an event is in the log before any peer or daemon hears of it.

use super::{activity::Activity, error::WorkError, nonsense::Nonsense, settings::PeerSettings};
use crate::{
    events::{Emission, Event, caused::node_name, log::EventLog},
    store::DataFolder,
};
use cluster_state::{Command, NodeId, Response};
use p2p::{P2pHandle, Signer, blobs::BlobStore};
use raft::{ProposeError, RaftHandle};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Instant};
use tokio_util::sync::CancellationToken;

/// The gossip topic of events.
pub const EVENTS_TOPIC: &str = "ringrift/events/1";
/// The gossip topic of events that go to every peer directly; no peer forwards them.
pub(crate) const EVENTS_DIRECT_TOPIC: &str = "ringrift/events/1/direct";

/// The handles that every part of a running peer needs.
pub struct PeerContext {
    /// Id of this node.
    pub id: NodeId,
    pub settings: PeerSettings,
    pub folder: Arc<DataFolder>,
    /// Consensus, and the replicated state.
    pub raft: RaftHandle,
    /// Connections to other peers.
    pub p2p: P2pHandle,
    /// Signs in the name of this node's libp2p id.
    pub signer: Signer,
    pub blobs: BlobStore,
    /// Content that is not what it was said to be.
    pub nonsense: Nonsense,
    pub events: Arc<EventLog>,
    /// What this node is doing right now, for people.
    pub activity: Activity,
    /// Cancelled when the peer must stop.
    pub shutdown: CancellationToken,
    pub started: Instant,
    /// Random number that is new at each start of the process.
    pub boot: u64,
    /// Address of the HTTP interface.
    pub http: SocketAddr,
}

/// The shared context; it is cheap to clone.
pub type Context = Arc<PeerContext>;

impl PeerContext {
    /// The name of this node in events, such as `node-3`.
    #[must_use]
    pub fn name(&self) -> String {
        node_name(self.id)
    }

    /// The absolute path of a relative path, as events name it.
    #[must_use]
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.join(relative)
    }

    /// Proposes a command to the cluster.
    ///
    /// # Errors
    /// Returns [`ProposeError`] when the command was not applied, as far as is known.
    pub async fn propose(&self, command: Command) -> Result<Response, ProposeError> {
        let name = command.name();
        // A proposal is large, and its future holds it more than once.
        logged(name, Box::pin(self.raft.propose(command)).await)
    }

    /// Proposes a command for an operator, who has shown this node's token.
    ///
    /// # Errors
    /// Returns [`ProposeError`] when the command was not applied, as far as is known.
    pub async fn propose_for_operator(&self, command: Command) -> Result<Response, ProposeError> {
        let name = command.name();
        logged(name, Box::pin(self.raft.propose_for_operator(command)).await)
    }

    /// Keeps an event of this node and sends it to the other nodes.
    ///
    /// # Errors
    /// Fails when the log cannot be written; then no node was notified.
    pub async fn emit(&self, event: Event) -> Result<(), WorkError> {
        self.emit_as(event.into()).await
    }

    /// Does the same as [`Self::emit`], with the causes of the event and whether it was injected.
    ///
    /// # Errors
    /// Fails when the log cannot be written; then no node was notified.
    pub async fn emit_as(&self, emission: Emission) -> Result<(), WorkError> {
        self.emit_all(vec![emission]).await
    }

    /// Does the same as [`Self::emit`], with another change of `node.db` in the same transaction.
    ///
    /// # Errors
    /// Fails when the log cannot be written; then no node was notified and nothing changed.
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

    /// Keeps events of this node, all or none, and sends them to the other nodes.
    ///
    /// # Errors
    /// Fails when the log cannot be written; then no node was notified.
    pub async fn emit_all(&self, emissions: Vec<Emission>) -> Result<(), WorkError> {
        let log = Arc::clone(&self.events);
        let signed = blocking(move || log.emit_all(emissions)).await??;
        for signed in signed {
            self.gossip(signed.encode()?);
        }
        Ok(())
    }

    /// Sends an event that is in the log to the other nodes, unless they must not be told yet; then they ask
    /// for it later.
    pub fn gossip(&self, message: Vec<u8>) {
        if !self.settings.events.gossip || !self.events.may_tell() {
            return;
        }
        let topic = if self.reaches_everybody() { EVENTS_DIRECT_TOPIC } else { EVENTS_TOPIC };
        // Without peers there is no receiver; the log has the event.
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

/// Logs the outcome of a proposal.
fn logged(command: &str, outcome: Result<Response, ProposeError>) -> Result<Response, ProposeError> {
    match &outcome {
        Ok(response) => tracing::debug!(command, ?response, "applied"),
        Err(error) => tracing::debug!(command, %error, "not applied"),
    }
    outcome
}

/// Runs work that blocks outside of the asynchronous threads.
///
/// # Errors
/// Returns [`WorkError::TaskPanicked`], or [`WorkError::Stopped`] when the runtime is shutting down.
pub async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, WorkError> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.map_err(|error| if error.is_panic() { WorkError::TaskPanicked } else { WorkError::Stopped })
}
