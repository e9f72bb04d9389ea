//! What can go wrong, as a caller sees it.

use crate::{blobs::store::BlobError, gossip::GOSSIP_BYTES_MAX, identity::IdentityError};
use libp2p::Multiaddr;

/// Why the peer-to-peer service did not start.
#[derive(Debug, thiserror::Error)]
pub enum P2pError {
    /// The node's key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The folder for content.
    #[error(transparent)]
    Store(#[from] BlobError),
    /// Another process listens there, or the address is not this host's.
    #[error("cannot listen on {addr} ({reason}): choose another address, or stop what listens there")]
    Listen {
        /// The address asked for.
        addr: Multiaddr,
        /// The system's words.
        reason: String,
    },
    /// An address that this build cannot use.
    #[error("{0} is no TCP address; expected e.g. /ip4/192.0.2.1/tcp/4001")]
    Address(Multiaddr),
    /// The settings contradict the library's rules: a bug.
    #[error("setup: {0}")]
    Setup(String),
}

/// Why a request got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No connection to the peer, or it closed before the answer. In the second case the peer may have acted.
    #[error("peer is not connected")]
    NotConnected,
    /// No answer in time; the peer may have acted.
    #[error("no answer in time")]
    Timeout,
    /// The peer, or the queue of requests to it, is full; nothing was done. Try again in a moment.
    #[error("peer is busy")]
    Busy,
    /// Anything else, in words. The peer may have acted.
    #[error("request failed: {0}")]
    Failed(String),
    /// The request is larger than its class allows.
    #[error("request exceeds the limit of its class")]
    TooLarge,
}

impl RequestError {
    /// Whether the peer is merely busy.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        *self == Self::Busy
    }
}

/// Why a message was not even tried. Success means only that it was queued: see [`crate::P2pHandle::publish`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Larger than [`GOSSIP_BYTES_MAX`].
    #[error("message exceeds {GOSSIP_BYTES_MAX} bytes")]
    TooLarge,
    /// Not one of the configured topics.
    #[error("unknown topic")]
    Topic,
    /// The service is behind, or has stopped.
    #[error("service is busy or stopped")]
    Busy,
}
