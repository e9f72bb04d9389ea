//! Peers and bytes: who is connected, requests between peers, gossip, and content by its hash.
//!
//! A node starts the service with [`P2p::start`], talks to the other peers through a [`P2pHandle`] and
//! receives through a [`P2pInbox`]. The crate knows nothing of games, of what events mean, or of consensus.
//!
//! ```text
//!   start      binds the addresses, spawns the two tasks below, returns handle and inbox
//!     |
//!     |----------------> transfer    serves content to peers; fetches it from several peers at once
//!     v                     |
//!   service                 |        the task that owns the swarm: dials, hellos, requests, gossip
//!     |                     |
//!   behaviour, transport    |        the protocols with their limits; TCP, Noise, yamux
//!   handshake, keys         |        which key both ends share; who is let in, and who is told why not
//!   book, bootstrap         |        pure: which peers are known, and when to dial them
//!     |                     v
//!     |----------------> handle      what callers hold: requests, publish, who is connected
//!                           |
//!                         blobs      content on disk, its pieces, and what an unfinished transfer has
//!                           |
//!   door, lobby            who may begin a handshake, and who makes room
//!   drops                  what is not taken of peers, counted
//!   codec, hello, addrs, class, gossip, identity, error, backoff      formats, limits, keys, pauses
//! ```
//!
//! Reading order: `class` and `handle` (what the crate offers), `book` (whom to dial), `service` (the task),
//! then `blobs` and `transfer`.
//!
//! Three promises differ in strength, and a caller must not confuse them:
//!
//! - A *request* is answered or fails, and a failure leaves open whether the peer acted.
//! - *Gossip* is a hint. It usually arrives within milliseconds, and it may not arrive at all.
//! - *Content* is exact. Bytes have the hash that is their name, or they are not there.

mod addrs;
mod backoff;
mod behaviour;
pub mod blobs;
mod book;
mod bootstrap;
mod class;
mod codec;
mod door;
mod drops;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod gossip;
mod handle;
mod handshake;
mod hello;
mod identity;
mod incoming;
mod keys;
mod lobby;
mod permits;
mod rates;
mod service;
mod start;
pub mod transfer;
mod transport;

pub use addrs::Scope;
pub use class::Class;
pub use drops::{DropReason, Drops};
pub use error::{EntryRefusal, P2pError, PublishError, RequestError};
pub use gossip::GOSSIP_BYTES_MAX;
pub use handle::{BootstrapStatus, GossipMessage, Judgement, P2pHandle, P2pInbox, PeerInfo};
pub use hello::ADDRS_MAX;
pub use identity::{IdentityError, Signer, load_or_create, verify};
pub use incoming::{IncomingRequest, ReplyError, Responder};
pub use keys::{DoorKey, Exclusion, KEYS_MAX, KeyRing};
pub use libp2p::{Multiaddr, PeerId};
pub use lobby::{Guest, Lobby};
pub use permits::{PeerPermit, PeerPermits};
pub use start::{P2p, P2pConfig};
pub use wire::Hash;
