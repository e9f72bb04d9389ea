//! The callers' side of the service.
//!
//! Invariant: every queue between the callers and the service is bounded, and every request ends with an
//! answer or an error within the caller's timeout.

use crate::{
    addrs::transport_part,
    blobs::{
        local::LocalContent,
        store::{BlobError, BlobStore},
    },
    class::Class,
    drops::Drops,
    error::{EntryRefusal, PublishError, RequestError},
    gossip::GOSSIP_BYTES_MAX,
    hello::ADDRS_MAX,
    incoming::IncomingRequest,
    keys::{self, Exclusion, KeyRing},
    lobby::Lobby,
};
use libp2p::{Multiaddr, PeerId, gossipsub::MessageId};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use wire::Hash;

/// A peer that is connected now and has said who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// The peer's id, proved by its key.
    pub peer_id: String,
    /// The addresses on which it listens.
    pub addrs: Vec<String>,
    /// A number that each process draws at random. If it changes for one id, the peer was restarted.
    pub boot: u64,
    /// Whether the peer is on this host.
    pub local: bool,
    /// The round-trip time of the last ping, if there was one yet.
    pub rtt: Option<Duration>,
}

/// The state of one bootstrap address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapStatus {
    /// The address as the settings name it.
    pub addr: String,
    /// Whether the peer behind it is connected (or is this node itself).
    pub reached: bool,
    /// The number of failed attempts since it was last reached.
    pub failures: u32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// Who answers there does not let this node in, and this is why.
    pub refusal: Option<EntryRefusal>,
}

/// A gossip message from another peer. A node does not receive its own messages.
///
/// No peer passes it on before [`GossipMessage::judge`] has accepted it, and one on a direct topic never.
#[derive(Debug)]
pub struct GossipMessage {
    /// One of the topics that the settings name.
    pub topic: String,
    /// The author, proved by a signature or, on a direct topic, by the connection. Another peer may have
    /// passed the message on.
    pub from: String,
    /// The message, at most [`GOSSIP_BYTES_MAX`] bytes.
    pub bytes: Vec<u8>,
    pub(crate) letter: Letter,
    pub(crate) verdicts: mpsc::Sender<JudgedLetter>,
}

/// What a receiver makes of a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is what it should be, and may go to other peers.
    Accept,
    /// Nobody did wrong, and it goes no further.
    Ignore,
    /// It is malformed or forged. The peer that sent it is heard less, and in the end hardly at all.
    Reject,
}

/// The name of a gossip message between this node and the peer that sent it.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) id: MessageId,
    pub(crate) source: PeerId,
    /// It came on a direct topic, and is not passed on in any case.
    pub(crate) direct: bool,
}

#[derive(Debug)]
pub(crate) struct JudgedLetter {
    pub(crate) letter: Letter,
    pub(crate) judgement: Judgement,
}

impl GossipMessage {
    /// Says what to make of it. The first word counts.
    pub fn judge(&self, judgement: Judgement) {
        if self.letter.direct && judgement != Judgement::Reject {
            return; // nobody waits for it
        }
        let verdict = JudgedLetter { letter: self.letter.clone(), judgement };
        // While the service is busy the message is forgotten, as one that is ignored.
        let _ = self.verdicts.try_send(verdict);
    }
}

/// What arrives from other peers. Every queue is bounded: requests that do not fit are refused as busy, and
/// gossip that does not fit is lost, which may happen to gossip anyway. A queue whose receiver was dropped
/// refuses everything.
#[derive(Debug)]
pub struct P2pInbox {
    /// Requests of class [`Class::Raft`].
    pub raft: mpsc::Receiver<IncomingRequest>,
    /// Requests of class [`Class::Control`].
    pub control: mpsc::Receiver<IncomingRequest>,
    /// Gossip that goes on to other peers once it was accepted.
    pub gossip: mpsc::Receiver<GossipMessage>,
    /// Gossip on the direct topics, which goes no further.
    pub direct: mpsc::Receiver<GossipMessage>,
}

/// What a handle asks of the service.
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
    Members {
        peers: HashSet<PeerId>,
    },
    ShutOut {
        peers: HashSet<PeerId>,
    },
    ForgetPeer {
        peer: PeerId,
    },
}

impl ServiceCommand {
    /// Whether this is of the traffic between peers, which changes nothing that is due at some time.
    pub(crate) fn is_traffic(&self) -> bool {
        match self {
            Self::Request { .. } | Self::Publish { .. } => true,
            Self::AddPeer { .. } | Self::Members { .. } | Self::ShutOut { .. } | Self::ForgetPeer { .. } => {
                false
            }
        }
    }
}

/// Talks to the service. Clones are cheap. The service ends with its shutdown token, not with the last
/// handle.
#[derive(Clone, Debug)]
pub struct P2pHandle(pub(crate) Arc<HandleInner>);

#[derive(Debug)]
pub(crate) struct HandleInner {
    pub(crate) peer_id: PeerId,
    pub(crate) topics: Vec<String>,
    pub(crate) listen: watch::Receiver<Vec<Multiaddr>>,
    pub(crate) peers: watch::Receiver<Vec<PeerInfo>>,
    pub(crate) bootstrap: watch::Receiver<Vec<BootstrapStatus>>,
    pub(crate) refusals: watch::Receiver<BTreeMap<String, EntryRefusal>>,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) commands: mpsc::Sender<ServiceCommand>,
    pub(crate) permits: [Semaphore; Class::ALL.len()],
    pub(crate) content: LocalContent,
    pub(crate) lobby: Arc<Lobby>,
    pub(crate) drops: Arc<Drops>,
}

impl P2pHandle {
    /// This node's id.
    #[must_use]
    pub fn peer_id(&self) -> String {
        self.0.peer_id.to_string()
    }

    /// The addresses on which this node listens, with its id, as other nodes name them to join; at most
    /// [`ADDRS_MAX`].
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<String> {
        let id = self.0.peer_id;
        self.0.listen.borrow().iter().take(ADDRS_MAX).map(|addr| format!("{addr}/p2p/{id}")).collect()
    }

    /// The peers that are connected now, sorted by id.
    #[must_use]
    pub fn peers(&self) -> watch::Receiver<Vec<PeerInfo>> {
        self.0.peers.clone()
    }

    /// The states of the bootstrap addresses. One that is not reached is tried for ever.
    #[must_use]
    pub fn bootstrap(&self) -> watch::Receiver<Vec<BootstrapStatus>> {
        self.0.bootstrap.clone()
    }

    /// How many connections of others were refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.lobby.refused()
    }

    /// Where requests and gossip that are not taken are counted.
    #[must_use]
    pub fn drops(&self) -> &Drops {
        &self.0.drops
    }

    /// Whether `peer` is connected now.
    #[must_use]
    pub fn is_connected(&self, peer: &str) -> bool {
        self.0.peers.borrow().binary_search_by(|p| p.peer_id.as_str().cmp(peer)).is_ok()
    }

    /// Whether `peer` is connected now, and on this host.
    #[must_use]
    pub fn is_local(&self, peer: &str) -> bool {
        let peers = self.0.peers.borrow();
        let found = peers.binary_search_by(|p| p.peer_id.as_str().cmp(peer));
        found.is_ok_and(|index| peers[index].local)
    }

    /// Says which peers are members. Of others at most 16 may be connected, each for half a minute, unless
    /// this node was told to join through them. They are answered only by Raft, which lets them join; they
    /// get no gossip, and none of theirs is heard. This node passes none of their addresses on, and dials
    /// none that a third peer names.
    pub async fn set_members(&self, members: &BTreeSet<String>) {
        let peers: HashSet<PeerId> = members.iter().filter_map(|peer| peer.parse().ok()).collect();
        self.0.keys.set_members(peers.clone());
        // An error means that the service has stopped.
        let _ = self.0.commands.send(ServiceCommand::Members { peers }).await;
    }

    /// Says who is shut out: their connections are closed, new ones are refused in the handshake, nobody
    /// dials them, and what they gossip goes no further.
    pub async fn shut_out(&self, peers: BTreeMap<String, Exclusion>) {
        let peers = keys::by_peer(peers);
        let ids = peers.keys().copied().collect();
        self.0.keys.set_shut_out(peers);
        // An error means that the service has stopped.
        let _ = self.0.commands.send(ServiceCommand::ShutOut { peers: ids }).await;
    }

    /// The keys of the door, which take effect for the connections to come.
    #[must_use]
    pub fn keys(&self) -> &KeyRing {
        &self.0.keys
    }

    /// The peers that did not let this node in when it last dialled them, and why. Each has proved its id.
    #[must_use]
    pub fn refusals(&self) -> watch::Receiver<BTreeMap<String, EntryRefusal>> {
        self.0.refusals.clone()
    }

    /// Remembers a member and dials it until [`P2pHandle::forget_peer`]. Returns whether the id and at least
    /// one of the addresses (`/ip4|ip6/../tcp/..`, with or without `/p2p/ID`) are usable.
    pub async fn add_peer(&self, peer: &str, addrs: &[String]) -> bool {
        let addrs: Vec<Multiaddr> =
            addrs.iter().filter_map(|a| a.parse().ok()).filter_map(|a| transport_part(&a)).collect();
        match peer.parse() {
            Ok(peer) if !addrs.is_empty() => {
                self.0.commands.send(ServiceCommand::AddPeer { peer, addrs }).await.is_ok()
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// Stops dialling a peer and closes its connection. It is dialled again after it connects or another peer
    /// names it.
    pub async fn forget_peer(&self, peer: &str) {
        if let Ok(peer) = peer.parse() {
            // An error means that the service has stopped, and then it dials no peer.
            let _ = self.0.commands.send(ServiceCommand::ForgetPeer { peer }).await;
        }
    }

    /// Gossips `bytes` to every peer that is subscribed to `topic`; on a direct topic, to those connected to
    /// this node.
    ///
    /// To publish is not to deliver. Success means that the message was queued; a peer may miss it while it
    /// connects or while queues are full, and nobody sends it again. What must arrive needs a record and a
    /// repair of its own.
    ///
    /// # Errors
    /// [`PublishError`] if the message was not even queued.
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

    /// Asks `peer` and awaits its answer for at most `timeout`. It fails at once if the peer is not
    /// connected.
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

    /// The content on this node's disk. Its calls block.
    #[must_use]
    pub fn blobs(&self) -> &BlobStore {
        &self.0.content.store
    }

    /// [`BlobStore::put`] on a thread that may block.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn put_blob(&self, content: Vec<u8>) -> Result<Hash, BlobError> {
        self.0.content.put(content).await
    }

    /// [`BlobStore::get`] on a thread that may block.
    ///
    /// # Errors
    /// [`BlobError`].
    pub async fn get_blob(&self, hash: Hash) -> Result<Option<Vec<u8>>, BlobError> {
        self.0.content.get(hash).await
    }
}
