//! Classes of requests. Each has its own protocol, queues and limits, so that slow calls of one class never take
//! the slots of another.

use std::time::Duration;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Consensus traffic: small, urgent, many.
    Raft,
    /// Questions between nodes.
    Control,
    /// Pieces of content.
    Blob,
}

impl Class {
    /// Every class, in the order of their declaration.
    pub const ALL: [Class; 3] = [Class::Raft, Class::Control, Class::Blob];

    /// Largest request or reply.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self {
            Class::Raft => 8 * 1024 * 1024,
            Class::Control => 1024 * 1024,
            Class::Blob => 1536 * 1024,
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    pub(crate) const fn protocol(self) -> &'static str {
        match self {
            Class::Raft => "/ringrift/raft/1",
            Class::Control => "/ringrift/control/1",
            Class::Blob => "/ringrift/blob/1",
        }
    }

    /// Requests of this node that may be under way at once, to all peers together.
    pub(crate) const fn in_flight_max(self) -> usize {
        match self {
            Class::Raft => 512,
            Class::Control => 256,
            Class::Blob => 48,
        }
    }

    /// Requests under way to one peer, those included whose caller gave up but whose stream is still open.
    pub(crate) const fn per_peer_max(self) -> usize {
        match self {
            Class::Raft => 64,
            Class::Control => 32,
            Class::Blob => 16,
        }
    }

    /// Incoming requests that may wait to be received from the inbox; more are refused as busy.
    pub(crate) const fn inbox_capacity(self) -> usize {
        match self {
            Class::Raft => 256,
            Class::Control => 128,
            Class::Blob => 64,
        }
    }

    /// The longest that a request or its answer may take; callers' own timeouts are shorter.
    pub(crate) const fn stream_timeout(self) -> Duration {
        match self {
            Class::Raft => Duration::from_secs(10),
            Class::Control | Class::Blob => Duration::from_secs(30),
        }
    }
}
