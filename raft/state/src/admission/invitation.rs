//! A ticket as a text, which an operator hands to a new host: `<address with /p2p/ID>/ticket/<64 hex
//! digits>`.
//!
//! Invariant: a text is read in one way only, and `Debug` does not print the token.

use std::{fmt, str::FromStr};
use wire::Hash;

/// What comes between the address and the token.
const TICKET: &str = "/ticket/";
/// Longest text, in bytes.
const BYTES_MAX: usize = 1024;

/// Where a member listens, and the token of a ticket for its cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Multiaddress of a member, which ends in `/p2p/` and its peer id.
    pub address: String,
    /// The token of the ticket.
    pub token: [u8; 32],
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation").field("address", &self.address).finish_non_exhaustive()
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{TICKET}{}", self.address, Hash(self.token))
    }
}

/// A text that should be a ticket is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvitationError {
    /// There is no ticket in it: it may be a plain address.
    #[error("there is no {TICKET} in it")]
    NoTicket,
    /// The token is cut short or changed.
    #[error("a ticket ends in {TICKET} and 64 hex digits: was it copied as a whole?")]
    Token,
    /// The address names no peer, or is too long.
    #[error("before {TICKET} a ticket has the address of a member, which ends in /p2p/ and its peer id")]
    Address,
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, InvitationError> {
        let (address, token) = text.split_once(TICKET).ok_or(InvitationError::NoTicket)?;
        let peer = address.rsplit_once("/p2p/").map(|(_, peer)| peer).unwrap_or_default();
        if text.len() > BYTES_MAX || !address.starts_with('/') || peer.is_empty() || peer.contains('/') {
            return Err(InvitationError::Address);
        }
        let token: Hash = token.parse().map_err(|_| InvitationError::Token)?;
        Ok(Self { address: address.to_owned(), token: token.0 })
    }
}
