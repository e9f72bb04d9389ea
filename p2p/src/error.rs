//! What can go wrong, as a caller sees it.
//!
//! Invariant: each failure of a request says whether the peer may have acted.

use crate::{blobs::store::BlobError, gossip::GOSSIP_BYTES_MAX, identity::IdentityError};
use libp2p::Multiaddr;

/// Why the peer-to-peer service did not start.
#[derive(Debug, thiserror::Error)]
pub enum P2pError {
    /// The node's key cannot be loaded or made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The folder for content cannot be opened.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// Another process listens on this address, or the address is not of this host.
    #[error("cannot listen on {addr} ({reason}): choose another address, or stop what listens there")]
    Listen {
        /// The address that the settings name.
        addr: Multiaddr,
        /// The error of the operating system as text.
        reason: String,
    },
    /// An address is not one of IP or name with a TCP port.
    #[error("{0} is no TCP address; expected e.g. /ip4/192.0.2.1/tcp/4001")]
    Address(Multiaddr),
    /// The libraries refused the settings, which is a bug.
    #[error("setup: {0}")]
    Setup(String),
}

/// Why a peer does not let this node in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryRefusal {
    /// It knows none of this node's keys. Who answers at the address has not proved who it is.
    #[error(
        "this peer does not know our key (is the ticket used up, revoked or expired? is it another cluster? a plain \
         address needs the cluster's secret)"
    )]
    UnknownKey,
    /// It was told to keep this node out.
    #[error("{0}")]
    ShutOut(String),
    /// Another process is connected to it with this node's identity.
    #[error("another process runs with this node's identity (was its data folder copied?)")]
    Duplicate,
    /// The key that both have lets in members only, and this node is none.
    #[error("{0}")]
    Closed(String),
}

/// Why a request got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no connection to the peer, or it closed before the answer. In the second case the peer may
    /// have acted.
    #[error("peer is not connected")]
    NotConnected,
    /// No answer came in time. The peer may have acted.
    #[error("no answer in time")]
    Timeout,
    /// The queue of the peer, or of requests to it, is full. Nothing was done; try again in a moment.
    #[error("peer is busy")]
    Busy,
    /// The request failed for another reason, given as text. The peer may have acted.
    #[error("request failed: {0}")]
    Failed(String),
    /// The request is larger than its class allows.
    #[error("request exceeds the limit of its class")]
    TooLarge,
}

impl RequestError {
    /// Whether the same request can succeed in a moment, because a queue was full.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        *self == Self::Busy
    }
}

/// Why a gossip message was not even queued. [`crate::P2pHandle::publish`] says what success means.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The message is larger than [`GOSSIP_BYTES_MAX`].
    #[error("message exceeds {GOSSIP_BYTES_MAX} bytes")]
    TooLarge,
    /// The topic is not one of those that the settings name.
    #[error("unknown topic")]
    Topic,
    /// The service's queue is full, or the service has stopped.
    #[error("service is busy or stopped")]
    Busy,
}
