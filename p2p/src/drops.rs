//! What this node does not take from its peers, counted by reason.
//!
//! Invariant: the reasons are those of [`DropReason`], so the counts are bounded and cost an addition.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// Why a request or a gossip message of a peer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// A request of somebody who is no member.
    RequestOfStranger,
    /// A request that found the inbox of its class full.
    RequestInboxFull,
    /// A request beyond those that are served at once, of all peers or of this one.
    RequestBusy,
    /// Gossip whose author is shut out.
    GossipShutOut,
    /// Gossip beyond what its author may send.
    GossipRate,
    /// Gossip that found the inbox full.
    GossipInboxFull,
    /// Gossip that is malformed or forged, as far as this crate can tell.
    GossipMalformed,
    /// The announcement of a model that is not followed.
    GossipAnnouncement,
    /// Gossip that somebody sends who is no member.
    GossipOfStranger,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::RequestOfStranger,
        Self::RequestInboxFull,
        Self::RequestBusy,
        Self::GossipShutOut,
        Self::GossipRate,
        Self::GossipInboxFull,
        Self::GossipMalformed,
        Self::GossipAnnouncement,
        Self::GossipOfStranger,
    ];

    /// Whether it is about gossip, not about a request.
    #[must_use]
    pub const fn is_gossip(self) -> bool {
        match self {
            Self::RequestOfStranger | Self::RequestInboxFull | Self::RequestBusy => false,
            Self::GossipShutOut
            | Self::GossipRate
            | Self::GossipInboxFull
            | Self::GossipMalformed
            | Self::GossipAnnouncement
            | Self::GossipOfStranger => true,
        }
    }

    /// In one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestOfStranger | Self::GossipOfStranger => "stranger",
            Self::RequestInboxFull | Self::GossipInboxFull => "full",
            Self::RequestBusy => "busy",
            Self::GossipShutOut => "shut_out",
            Self::GossipRate => "rate",
            Self::GossipMalformed => "malformed",
            Self::GossipAnnouncement => "announcement",
        }
    }
}

/// How often each reason occurred since the process began.
#[derive(Debug, Default)]
pub struct Drops([AtomicU64; DropReason::ALL.len()]);

impl Drops {
    /// Counts one.
    pub fn count(&self, reason: DropReason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The counts of gossip, or those of requests, by the reason's name; without those that are 0.
    #[must_use]
    pub fn by_name(&self, gossip: bool) -> BTreeMap<String, u64> {
        let all = DropReason::ALL.into_iter().filter(|reason| reason.is_gossip() == gossip);
        let counted =
            all.map(|reason| (reason.name().to_owned(), self.0[reason as usize].load(Ordering::Relaxed)));
        counted.filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_count() {
        let drops = Drops::default();
        for (times, reason) in (1..).zip(DropReason::ALL) {
            assert_eq!(reason as usize, times - 1, "the order is that of the list");
            (0..times).for_each(|_| drops.count(reason));
        }
        let counts = |gossip| -> Vec<(String, u64)> { drops.by_name(gossip).into_iter().collect() };
        let named =
            |all: &[(&str, u64)]| all.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();
        assert_eq!(counts(false), named(&[("busy", 3), ("full", 2), ("stranger", 1)]));
        let gossip = [
            ("announcement", 8),
            ("full", 6),
            ("malformed", 7),
            ("rate", 5),
            ("shut_out", 4),
            ("stranger", 9),
        ];
        assert_eq!(counts(true), named(&gossip));
        assert!(Drops::default().by_name(true).is_empty());
    }
}
