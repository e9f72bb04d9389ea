//! What both sides of gossip must agree on: the size of a message, and the topic that this crate keeps for
//! itself.

/// Largest gossip message, in bytes.
pub const GOSSIP_BYTES_MAX: usize = 48 * 1024;

/// The topic on which peers announce their addresses. It is not for callers.
pub(crate) const PEERS_TOPIC: &str = "ringrift/peers/1";
