//! How many files and sockets this process may have open, and who gets how many.
//!
//! Invariant: strangers' connections get a part of the descriptors, so that members and SQLite always find
//! one.

use rustix::process::{Resource, getrlimit, setrlimit};

/// As many as are ever wanted. Some systems allow any number, and have tables of that size.
const WANTED: u64 = 65_536;
/// Kept for SQLite, content, members, devices and the runtime's own.
const KEPT: u64 = 96;

/// What strangers may hold at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// Connections to the HTTP interface.
    pub(super) http: usize,
    /// Connections of peers that are not through the handshake.
    pub(super) pending: u32,
}

impl Shares {
    fn of(descriptors: u64) -> Self {
        let quarter = descriptors.saturating_sub(KEPT) / 4;
        Self { http: quarter.clamp(4, 256) as usize, pending: quarter.clamp(4, 128) as u32 }
    }
}

/// Raises the limit of open files as far as the system allows.
pub(super) fn raise() -> Shares {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(WANTED).min(WANTED);
    if limit.current.is_some_and(|current| current < most) {
        limit.current = Some(most);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
    }
    let shares = Shares::of(getrlimit(Resource::Nofile).current.unwrap_or(WANTED));
    if shares != Shares::of(WANTED) {
        tracing::warn!(
            most,
            "few files may be open at once: raise the hard limit (ulimit -Hn) of this process"
        );
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_get_a_part() {
        let check = |descriptors, http, pending| {
            let found = Shares::of(descriptors);
            assert_eq!(found, Shares { http, pending }, "{descriptors}");
            let kept = descriptors.saturating_sub(http as u64 + u64::from(pending));
            assert!(descriptors < 128 || kept >= 64, "{descriptors}");
        };
        check(0, 4, 4);
        check(128, 8, 8);
        check(256, 40, 40);
        check(1024, 232, 128);
        check(u64::MAX, 256, 128);
    }
}
