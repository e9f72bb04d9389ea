//! Who may become a member: the secret of the cluster, tickets, and who is shut out.
//!
//! The token of a ticket is the seed of an Ed25519 key. Its holder never sends it: it signs who it is, and
//! the signature admits that peer and no other.
//!
//! Invariant: of a ticket's token the state holds the public key and a key of the door that is derived from
//! it, never the token itself. `Debug` prints no key. Every collection here has a bound, which
//! [`crate::state_machine`] keeps.

use crate::{
    cause::UnknownCause,
    id::NodeId,
    receipt::{Signature, is_signed_by},
};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use wire::Hash;

mod invitation;

pub use invitation::{Invitation, InvitationError};

/// Maximum number of tickets that are kept.
pub const TICKETS_MAX: usize = 1024;
/// Maximum number of peers that are shut out.
pub const SHUT_OUT_MAX: usize = 4096;
/// Maximum number of earlier secrets that still open the door to members.
pub const PREVIOUS_MAX: usize = 8;
/// Maximum number of nodes that one ticket admits.
pub const TICKET_USES_MAX: u32 = 1024;
/// Longest time for which a ticket is valid, in milliseconds: 30 days.
pub const TICKET_TTL_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;

/// Why the leases of a removed node end.
pub const REMOVED: &str = "the node was removed";

/// Makes `Debug` of a type that holds keys: it prints the listed fields only.
macro_rules! debug_without_keys {
    ($name:ident { $($field:ident),* }) => {
        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use debug_without_keys;

/// What opens the door of the cluster, who may become a member, and who may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admissions {
    /// The secret that members prove to each other. None in a cluster that admits everybody.
    pub secret: Option<Secret>,
    /// Earlier secrets, the newest first. They open the door to those that are members already, and admit
    /// nobody.
    pub previous: Vec<Secret>,
    /// Whether a peer that proves the present secret becomes a member without a ticket.
    pub by_secret: bool,
    /// Tickets that were issued, also those that are used up or expired, until their room is needed.
    pub tickets: BTreeMap<TicketId, Ticket>,
    /// Members at which operators are believed; every one if it is empty.
    pub operators: BTreeSet<NodeId>,
    /// Peers that were removed or banned, by peer id.
    pub shut_out: BTreeMap<String, ShutOut>,
}

impl Admissions {
    /// Whether an operator who asks this member is believed.
    #[must_use]
    pub fn takes_operators(&self, node: NodeId) -> bool {
        self.operators.is_empty() || self.operators.contains(&node)
    }
}

/// A secret of the cluster.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The secret itself.
    pub bytes: [u8; 32],
    /// When it became the secret, in milliseconds since the epoch.
    pub since_ms: u64,
    /// Its number; the first secret is 1.
    pub number: u64,
}

debug_without_keys!(Secret { since_ms, number });

/// Name of a ticket: its public key, of which people see the first 8 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TicketId(pub Hash);

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.short())
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the state knows of a ticket.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The key that its holder proves at the door.
    pub key: [u8; 32],
    /// Number of nodes that it may still admit.
    pub uses_left: u32,
    /// When it expires, in milliseconds since the epoch.
    pub expires_ms: u64,
    /// When it was issued, in milliseconds since the epoch; later than each removal before it, whatever the
    /// clocks say.
    pub issued_ms: u64,
    /// What it is for, in words for people.
    pub note: String,
}

debug_without_keys!(Ticket { uses_left, expires_ms, issued_ms, note });

/// A peer that is no member any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShutOut {
    /// Id that it had as a member.
    pub node: NodeId,
    /// Name of its host.
    pub name: String,
    /// Whether it is banned for good; else a new ticket admits it again.
    pub ban: bool,
    /// When it was removed, in milliseconds since the epoch.
    pub at_ms: u64,
    /// Why, in words for people.
    pub why: String,
}

/// What a peer shows to become a member.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Admission {
    /// Nothing: it is a member already, or it founds the cluster, or the cluster admits everybody.
    Known,
    /// The proof that it knows the secret, made by [`secret_proof`] for its own peer id.
    Secret([u8; 32]),
    /// The signature with the token of a ticket under the peer's own id, made by [`Self::by_ticket`].
    Ticket {
        /// Name of the ticket.
        ticket: TicketId,
        /// The signature, which is of no use to another peer.
        signature: Signature,
    },
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known => f.write_str("Known"),
            Self::Secret(_) => f.write_str("Secret(..)"),
            Self::Ticket { ticket, .. } => write!(f, "Ticket({ticket})"),
        }
    }
}

/// What the signature of a ticket covers begins with.
const TICKET_DOMAIN: &[u8] = b"ringrift ticket 1\0";

/// What the holder of a ticket signs. The ticket stands for its cluster: no other one knows its key.
fn ticket_message(ticket: TicketId, peer_id: &str) -> Vec<u8> {
    [TICKET_DOMAIN, &ticket.0.0, peer_id.as_bytes()].concat()
}

impl Admission {
    /// What peer `peer_id` shows that holds the ticket with this token.
    #[must_use]
    pub fn by_ticket(token: &[u8; 32], peer_id: &str) -> Self {
        let ticket = ticket_id(token);
        let signature = SigningKey::from_bytes(token).sign(&ticket_message(ticket, peer_id));
        Self::Ticket { ticket, signature: signature.into() }
    }
}

/// Whether the holder of this ticket signed for this peer.
#[must_use]
pub(crate) fn is_signed_for(ticket: TicketId, peer_id: &str, signature: &Signature) -> bool {
    VerifyingKey::from_bytes(&ticket.0.0)
        .is_ok_and(|key| is_signed_by(&key, &ticket_message(ticket, peer_id), signature))
}

/// How a member was admitted. On disk and on the wire it is a text; a text of another version is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It founded the cluster.
    Founder,
    /// It proved the secret.
    Secret,
    /// A ticket with this id, in its short form, admitted it.
    Ticket(String),
    /// The cluster had no secret and admitted everybody.
    Open,
    /// In a way of another version.
    Other(UnknownCause),
}

/// What comes before the id in the text of [`Admitted::Ticket`].
const BY_TICKET: &str = "ticket ";

impl Admitted {
    /// The way with this text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text {
            "founder" => Self::Founder,
            "secret" => Self::Secret,
            "open" => Self::Open,
            other => match other.strip_prefix(BY_TICKET) {
                Some(id) if id.len() == 8 && id.bytes().all(digit) => Self::Ticket(id.to_owned()),
                Some(_) | None => Self::Other(UnknownCause::of(other)),
            },
        }
    }
}

impl fmt::Display for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Founder => f.pad("founder"),
            Self::Secret => f.pad("secret"),
            Self::Ticket(id) => f.pad(&format!("{BY_TICKET}{id}")),
            Self::Open => f.pad("open"),
            Self::Other(text) => f.pad(text.as_str()),
        }
    }
}

impl Serialize for Admitted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Admitted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::of(&text))
    }
}

/// Why a peer does not become a member, as a sentence that says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum NotAdmitted {
    /// The peer is banned.
    #[error(
        "this peer is banned from the cluster; a host with a new identity (an empty data folder) and a ticket may join"
    )]
    Banned,
    /// The peer was removed, and shows no ticket that was issued since.
    #[error(
        "this peer was removed from the cluster: to take it back, make a ticket with `ringrift cluster ticket` on a member"
    )]
    Removed,
    /// The peer shows nothing.
    #[error(
        "this cluster admits only who shows a ticket: make one with `ringrift cluster ticket` on a member"
    )]
    NothingShown,
    /// The peer proves a secret, but only tickets admit.
    #[error(
        "the secret alone admits nobody to this cluster: make a ticket with `ringrift cluster ticket` on a member"
    )]
    TicketsOnly,
    /// The proof does not fit the present secret.
    #[error(
        "this is not the present secret of the cluster: use the present one, or make a ticket with `ringrift cluster ticket` on a member"
    )]
    WrongSecret,
    /// The cluster has no such ticket.
    #[error(
        "the cluster does not know this ticket (revoked, or of another cluster): make one with `ringrift cluster ticket` on a member"
    )]
    UnknownTicket,
    /// The ticket has admitted as many nodes as it may.
    #[error("this ticket has been used up: make one with `ringrift cluster ticket` on a member")]
    UsedUp,
    /// The ticket has expired.
    #[error("this ticket has expired: make one with `ringrift cluster ticket` on a member")]
    Expired,
    /// The signature is not that of the ticket's holder for this peer.
    #[error(
        "this is not the signature of the ticket's holder for this peer: start the node with the ticket itself"
    )]
    WrongSignature,
}

/// Name of the ticket with this token.
#[must_use]
pub fn ticket_id(token: &[u8; 32]) -> TicketId {
    TicketId(Hash(SigningKey::from_bytes(token).verifying_key().to_bytes()))
}

/// The key that the holder of this token proves at the door.
#[must_use]
pub fn ticket_key(token: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("ringrift 2026 ticket key", token)
}

/// The proof that peer `peer_id` knows `secret`. It is of no use to any other peer.
#[must_use]
pub fn secret_proof(secret: &[u8; 32], peer_id: &str) -> [u8; 32] {
    let key = blake3::derive_key("ringrift 2026 secret proof", secret);
    *blake3::keyed_hash(&key, peer_id.as_bytes()).as_bytes()
}

/// The secret that a text of the operator stands for. White space around the text does not count.
#[must_use]
pub fn secret_of_text(text: &str) -> [u8; 32] {
    blake3::derive_key("ringrift 2026 cluster secret", text.trim().as_bytes())
}

#[cfg(test)]
mod tests;
