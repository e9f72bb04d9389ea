//! Classes of requests.
//!
//! Invariant: each class has its own protocol, queues and limits, so that slow requests of one class never
//! take the slots of another.

use std::time::Duration;

/// What a request is for. The class decides how large and how slow it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Consensus: many small and urgent requests.
    Raft,
    /// Questions from node to node.
    Control,
    /// Pieces of content.
    Blob,
}

impl Class {
    /// Every class, in the order of their indices.
    pub const ALL: [Class; 3] = [Class::Raft, Class::Control, Class::Blob];

    /// The largest request or answer, in bytes.
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
            Class::Raft => "/ringrift/raft/5",
            Class::Control => "/ringrift/control/1",
            Class::Blob => "/ringrift/blob/1",
        }
    }

    /// How many requests of this node may be under way at once, to all peers together.
    pub(crate) const fn in_flight_max(self) -> usize {
        match self {
            Class::Raft => 512,
            Class::Control => 256,
            Class::Blob => 48,
        }
    }

    /// How many requests may be under way to one peer, including those whose caller gave up but whose stream
    /// is open.
    pub(crate) const fn per_peer_max(self) -> usize {
        match self {
            Class::Raft => 64,
            Class::Control => 32,
            Class::Blob => 16,
        }
    }

    /// How many incoming requests may wait in the inbox; more are refused as busy.
    pub(crate) const fn inbox_capacity(self) -> usize {
        match self {
            Class::Raft => 256,
            Class::Control => 128,
            Class::Blob => 64,
        }
    }

    /// The longest time that a request with its answer may take. The timeouts of callers are shorter.
    pub(crate) const fn stream_timeout(self) -> Duration {
        match self {
            Class::Raft => Duration::from_secs(10),
            Class::Control | Class::Blob => Duration::from_secs(30),
        }
    }
}
