//! Peers and bytes.
//!
//! A node starts the service with [`P2p::start`], talks to the other peers through a [`P2pHandle`] and receives
//! through an [`Inbox`]. Knows nothing of games, of what events mean, or of consensus.
//!
//! Three promises differ in strength, and callers must not confuse them. A *request* is answered or fails, and a
//! failure leaves open whether the peer acted. *Gossip* is a hint that usually arrives within milliseconds and may
//! not arrive at all. *Content* is exact: bytes have the name they hash to, or they are not there.

mod behaviour;
pub mod blobs;
mod book;
mod bootstrap;
mod class;
mod codec;
mod error;
mod handle;
mod hello;
mod identity;
mod service;
mod start;
mod transport;

pub use class::Class;
pub use error::{P2pError, PublishError, RequestError};
pub use handle::{
    BootstrapStatus, GossipMessage, Inbox, IncomingRequest, P2pHandle, PeerInfo, Reply, ReplyError,
};
pub use identity::{IdentityError, Signer, load_or_create, verify};
pub use libp2p::{Multiaddr, PeerId};
pub use start::{P2p, P2pConfig};
pub use wire::Hash;

/// Largest gossip message.
pub const GOSSIP_BYTES_MAX: usize = 48 * 1024;

/// Where peers announce their addresses; not for callers.
const PEERS_TOPIC: &str = "ringrift/peers/1";
