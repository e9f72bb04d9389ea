//! Peers and bytes.
//!
//! A node starts the service with [`P2p::start`], talks to the other peers through a [`P2pHandle`] and receives
//! through an [`Inbox`]. Knows nothing of games, of what events mean, or of consensus.
//!
//! Three promises differ in strength, and callers must not confuse them. A *request* is answered or fails, and a
//! failure leaves open whether the peer acted. *Gossip* is a hint that usually arrives within milliseconds and may
//! not arrive at all. *Content* is exact: bytes have the name they hash to, or they are not there.

mod addrs;
mod backoff;
mod behaviour;
pub mod blobs;
mod book;
mod bootstrap;
mod class;
mod codec;
mod error;
mod gossip;
mod handle;
mod hello;
mod identity;
mod service;
mod start;
pub mod transfer;
mod transport;

pub use class::Class;
pub use error::{P2pError, PublishError, RequestError};
pub use gossip::GOSSIP_BYTES_MAX;
pub use handle::{
    BootstrapStatus, GossipMessage, IncomingRequest, P2pHandle, P2pInbox, PeerInfo, ReplyError, Responder,
};
pub use identity::{IdentityError, Signer, load_or_create, verify};
pub use libp2p::{Multiaddr, PeerId};
pub use start::{P2p, P2pConfig};
pub use wire::Hash;
