//! The callers' side of the service.

use crate::{
    addrs::transport_part,
    blobs::{
        local::LocalContent,
        store::{BlobError, BlobStore},
    },
    class::Class,
    codec::AnswerBytes,
    error::{PublishError, RequestError},
    gossip::GOSSIP_BYTES_MAX,
};
use libp2p::{Multiaddr, PeerId};
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use wire::Hash;

/// A peer that is connected now and has said who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its id, proved by its key.
    pub peer_id: String,
    /// Where it listens.
    pub addrs: Vec<String>,
    /// Random per process: a change under one id is a restart.
    pub boot: u64,
    /// The last ping, if there was one yet.
    pub rtt: Option<Duration>,
}

/// How one bootstrap address fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapStatus {
    /// The address as configured.
    pub addr: String,
    /// Whether the peer behind it is connected (or is this node itself).
    pub reached: bool,
    /// Failed attempts since it was last reached.
    pub failures: u32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// A message from another peer. Messages of this node are not delivered to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipMessage {
    /// One of the configured topics.
    pub topic: String,
    /// The author, proved by a signature or, on a direct topic, by the connection; not necessarily who passed it on.
    pub from: String,
    /// At most [`GOSSIP_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// A request from another peer.
#[derive(Debug)]
pub struct IncomingRequest {
    /// Its class.
    pub class: Class,
    /// Who asks: the peer at the other end of the connection.
    pub from: String,
    /// At most [`Class::bytes_max`].
    pub bytes: Vec<u8>,
    /// Where the answer goes. Dropped unused, the caller is told so at once.
    pub reply: Responder,
}

/// The way back to the caller.
#[derive(Debug)]
pub struct Responder {
    pub(crate) class: Class,
    pub(crate) answer: oneshot::Sender<AnswerBytes>,
}

/// Why an answer did not go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Larger than [`Class::bytes_max`].
    #[error("answer exceeds the limit of its class")]
    TooLarge,
    /// The caller gave up or is gone.
    #[error("the caller is gone")]
    Gone,
}

impl Responder {
    /// Answers. Never blocks.
    ///
    /// # Errors
    /// [`ReplyError`]; the caller then sees a failed request.
    pub fn send(self, bytes: Vec<u8>) -> Result<(), ReplyError> {
        if bytes.len() > self.class.bytes_max() {
            return Err(ReplyError::TooLarge);
        }
        self.answer.send(AnswerBytes { bytes, permit: None }).map_err(|_| ReplyError::Gone)
    }

    /// Answers, and keeps `permit` until the connection has taken all of it.
    pub(crate) fn send_holding(self, bytes: Vec<u8>, permit: OwnedSemaphorePermit) -> Result<(), ReplyError> {
        self.answer.send(AnswerBytes { bytes, permit: Some(permit) }).map_err(|_| ReplyError::Gone)
    }

    /// Whether the caller is gone, so that the work can be spared.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }
}

/// What arrives from other peers. Every queue is bounded: requests beyond it are refused as busy, gossip beyond it
/// is lost (which gossip may be anyway). A queue whose receiver was dropped refuses everything.
#[derive(Debug)]
pub struct P2pInbox {
    /// Requests of class [`Class::Raft`].
    pub raft: mpsc::Receiver<IncomingRequest>,
    /// Requests of class [`Class::Control`].
    pub control: mpsc::Receiver<IncomingRequest>,
    /// Gossip on the configured topics.
    pub gossip: mpsc::Receiver<GossipMessage>,
}

/// What the handle asks of the service.
#[derive(Debug)]
pub(crate) enum ServiceCommand {
    Request {
        class: Class,
        peer: PeerId,
        bytes: Vec<u8>,
        reply: oneshot::Sender<Result<Vec<u8>, RequestError>>,
    },
    Publish {
        topic: String,
        bytes: Vec<u8>,
    },
    AddPeer {
        peer: PeerId,
        addrs: Vec<Multiaddr>,
    },
    ForgetPeer {
        peer: PeerId,
    },
}

/// Cheap to clone. The service ends with its shutdown token, not with the last handle.
#[derive(Clone, Debug)]
pub struct P2pHandle(pub(crate) Arc<HandleInner>);

#[derive(Debug)]
pub(crate) struct HandleInner {
    pub(crate) peer_id: PeerId,
    pub(crate) topics: Vec<String>,
    pub(crate) listen: watch::Receiver<Vec<Multiaddr>>,
    pub(crate) peers: watch::Receiver<Vec<PeerInfo>>,
    pub(crate) bootstrap: watch::Receiver<Vec<BootstrapStatus>>,
    pub(crate) commands: mpsc::Sender<ServiceCommand>,
    pub(crate) permits: [Semaphore; Class::ALL.len()],
    pub(crate) content: LocalContent,
}

impl P2pHandle {
    /// This node's id.
    #[must_use]
    pub fn peer_id(&self) -> String {
        self.0.peer_id.to_string()
    }

    /// Where this node listens, with its id: what others use to join.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<String> {
        let id = self.0.peer_id;
        self.0.listen.borrow().iter().map(|addr| format!("{addr}/p2p/{id}")).collect()
    }

    /// The peers connected now, sorted by id.
    #[must_use]
    pub fn peers(&self) -> watch::Receiver<Vec<PeerInfo>> {
        self.0.peers.clone()
    }

    /// How the bootstrap addresses fare. An unreachable one is tried for ever.
    #[must_use]
    pub fn bootstrap(&self) -> watch::Receiver<Vec<BootstrapStatus>> {
        self.0.bootstrap.clone()
    }

    /// Whether `peer` is connected now.
    #[must_use]
    pub fn is_connected(&self, peer: &str) -> bool {
        self.0.peers.borrow().binary_search_by(|p| p.peer_id.as_str().cmp(peer)).is_ok()
    }

    /// Remembers a peer, so that it is dialled until [`P2pHandle::forget_peer`]. Returns whether the id and at
    /// least one of the addresses (`/ip4|ip6/../tcp/..`, with or without `/p2p/ID`) are usable.
    pub async fn add_peer(&self, peer: &str, addrs: &[String]) -> bool {
        let addrs: Vec<Multiaddr> =
            addrs.iter().filter_map(|a| a.parse().ok()).filter_map(|a| transport_part(&a)).collect();
        match peer.parse() {
            Ok(peer) if !addrs.is_empty() => {
                self.0.commands.send(ServiceCommand::AddPeer { peer, addrs }).await.is_ok()
            }
            _ => false,
        }
    }

    /// Stops dialling a peer and closes its connection. It is dialled again when it connects or others name it.
    pub async fn forget_peer(&self, peer: &str) {
        if let Ok(peer) = peer.parse() {
            let _ = self.0.commands.send(ServiceCommand::ForgetPeer { peer }).await; // a stopped service dials nobody
        }
    }

    /// Gossips `bytes` to every peer subscribed to `topic`; on a direct topic, to those that are connected to this node.
    ///
    /// Publishing is not delivery. Success says that the message was queued; a peer may miss it while it connects,
    /// while queues are full, or for good. Whatever must arrive needs a record and a repair of its own.
    ///
    /// # Errors
    /// [`PublishError`]: it was not even queued.
    pub fn publish(&self, topic: &str, bytes: Vec<u8>) -> Result<(), PublishError> {
        if bytes.len() > GOSSIP_BYTES_MAX {
            return Err(PublishError::TooLarge);
        }
        if !self.0.topics.iter().any(|t| t == topic) {
            return Err(PublishError::Topic);
        }
        let command = ServiceCommand::Publish { topic: topic.to_owned(), bytes };
        self.0.commands.try_send(command).map_err(|_| PublishError::Busy)
    }

    /// Asks `peer` and awaits its answer for at most `timeout`. Fails at once if the peer is not connected.
    ///
    /// # Errors
    /// [`RequestError`]; after [`RequestError::Timeout`] the peer may still act on the request.
    pub async fn request(
        &self,
        class: Class,
        peer: &str,
        bytes: Vec<u8>,
        timeout: Duration,
    ) -> Result<Vec<u8>, RequestError> {
        if bytes.len() > class.bytes_max() {
            return Err(RequestError::TooLarge);
        }
        if !self.is_connected(peer) {
            return Err(RequestError::NotConnected);
        }
        let peer = peer.parse().map_err(|_| RequestError::NotConnected)?;
        let exchange = async {
            let _permit = self.0.permits[class.index()].acquire().await;
            let (reply, answer) = oneshot::channel();
            let stopped = || RequestError::Failed("service stopped".into());
            self.0
                .commands
                .send(ServiceCommand::Request { class, peer, bytes, reply })
                .await
                .map_err(|_| stopped())?;
            answer.await.map_err(|_| stopped())?
        };
        tokio::time::timeout(timeout, exchange).await.map_err(|_| RequestError::Timeout)?
    }

    /// The content of this node. Its calls block.
    #[must_use]
    pub fn blobs(&self) -> &BlobStore {
        &self.0.content.store
    }

    /// Keeps content, off the runtime's threads. See [`BlobStore::put`].
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn put_blob(&self, content: Vec<u8>) -> Result<Hash, BlobError> {
        self.0.content.put(content).await
    }

    /// Reads content of this node, off the runtime's threads. See [`BlobStore::get`].
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn get_blob(&self, hash: Hash) -> Result<Option<Vec<u8>>, BlobError> {
        self.0.content.get(hash).await
    }
}
