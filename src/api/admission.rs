//! Who may become a member: tickets, the secret, where operators are believed, and who was removed.
//!
//! Invariant: a token and a secret are in the request or the answer that is about them and nowhere else, and
//! `Debug` does not print them.

use cluster_state::NodeId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Asks for a ticket, which admits new nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TicketOrder {
    /// For how long the ticket is valid, in milliseconds.
    pub ttl_ms: u64,
    /// Number of nodes that it may admit.
    pub uses: u32,
    /// Multiaddress of the answering node, as the new nodes reach it; none: the node chooses one.
    #[serde(default)]
    pub address: Option<String>,
    /// What it is for, in words for people.
    #[serde(default)]
    pub note: String,
}

/// A ticket that was just made. Its text is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedTicket {
    /// Name of the ticket: 8 hex digits.
    pub id: String,
    /// The ticket itself, which a new node gets with `--bootstrap`.
    pub ticket: String,
    /// Number of nodes that it may admit.
    pub uses: u32,
    /// When it expires, in milliseconds since the epoch.
    pub expires_ms: u64,
}

impl fmt::Debug for IssuedTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedTicket").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A ticket, as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketView {
    /// Name of the ticket: 8 hex digits.
    pub id: String,
    /// `valid`, `used up` or `expired`.
    pub state: String,
    /// Number of nodes that it may still admit.
    pub uses_left: u32,
    /// When it expires, in milliseconds since the epoch.
    pub expires_ms: u64,
    /// When it was made, in milliseconds since the epoch.
    pub issued_ms: u64,
    /// What it is for, in words for people.
    pub note: String,
}

/// Asks that a ticket admits nobody any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// Name of the ticket, or the beginning of it.
    pub id: String,
}

/// Asks that a member is removed. The answer repeats it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    pub node: NodeId,
    /// Whether it may never come back with its identity, not even with a ticket.
    pub ban: bool,
    /// The cause, in words for people.
    #[serde(default)]
    pub reason: String,
}

/// A peer that was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutOutView {
    /// Id that it had as a member.
    pub node: NodeId,
    /// The peer's libp2p id.
    pub peer_id: String,
    pub host: String,
    /// Whether it may never come back.
    pub banned: bool,
    /// When it was removed, in milliseconds since the epoch.
    pub at_ms: u64,
    /// The cause, in words for people.
    pub reason: String,
}

/// Asks for another secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretOrder {
    /// The secret that an operator's file stands for, as 64 hex digits: whoever proves it becomes a member.
    /// None: the node makes one, and only tickets admit.
    #[serde(default)]
    pub secret: Option<String>,
}

impl fmt::Debug for SecretOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretOrder").finish_non_exhaustive()
    }
}

/// What may be told of the secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretView {
    /// Number of the secret, from 1; 0 in a cluster without one, which admits everybody.
    pub number: u64,
    /// When it became the secret, in milliseconds since the epoch.
    pub since_ms: u64,
    /// Whether whoever proves it becomes a member without a ticket.
    pub admits: bool,
}

/// At which members operators are believed. It is the question and the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operators {
    /// Every member, if there is none.
    pub nodes: Vec<NodeId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let secret = "ab".repeat(32);
        let issued = IssuedTicket { id: "01234567".into(), ticket: secret.clone(), uses: 1, expires_ms: 2 };
        let printed = format!("{issued:?} {:?}", SecretOrder { secret: Some(secret) });
        assert!(!printed.contains("abab") && printed.contains("01234567"), "{printed}");
    }
}
