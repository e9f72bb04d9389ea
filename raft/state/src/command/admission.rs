//! Commands about who may be a member.

use crate::{
    admission::{TicketId, debug_without_keys},
    id::NodeId,
};
use serde::{Deserialize, Serialize};

/// Replaces the secret of the cluster, or sets the first one.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct SetSecret {
    /// The new secret.
    pub secret: [u8; 32],
    /// Whether a peer that proves this secret becomes a member without a ticket.
    pub by_secret: bool,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

debug_without_keys!(SetSecret { by_secret, at_ms });

/// Issues a ticket, which admits new nodes. The command names the public key of its token.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct IssueTicket {
    /// Name of the ticket, made of its token by [`crate::admission::ticket_id`].
    pub ticket: TicketId,
    /// The key that its holder proves at the door, made by [`crate::admission::ticket_key`].
    pub key: [u8; 32],
    /// Number of nodes that it may admit.
    pub uses: u32,
    /// When it expires, in milliseconds since the epoch.
    pub expires_ms: u64,
    /// What it is for, in words for people.
    pub note: String,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

debug_without_keys!(IssueTicket { ticket, uses, expires_ms, note, at_ms });

/// Revokes a ticket: it admits nobody any more and opens no door.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevokeTicket {
    /// Name of the ticket.
    pub ticket: TicketId,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// Removes a member. The secret changes and every ticket is revoked, because the member may know them.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoveNode {
    /// Id of the member.
    pub node: NodeId,
    /// Whether its peer is banned for good; else a new ticket admits it again, under another id.
    pub ban: bool,
    /// The new secret.
    pub secret: [u8; 32],
    /// Why, in words for people.
    pub reason: String,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}

debug_without_keys!(RemoveNode { node, ban, reason, at_ms });

/// Says at which members operators are believed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetOperators {
    /// Ids of these members; every member if there is none.
    pub nodes: Vec<NodeId>,
    /// The proposer's clock, in milliseconds since the epoch.
    pub at_ms: u64,
}
