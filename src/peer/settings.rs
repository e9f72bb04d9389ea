//! What the operator sets of the floor itself: how events and content travel.
//!
//! Invariant: a value that passes `validate` is in its bounds, and nobody below checks it again.

use crate::bounds::{OutOfBounds, check};
use serde::{Deserialize, Serialize};

/// How models and segments get here: the ways are tried in this order, and
/// what arrives is checked the same on each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistributionConfig {
    /// From all peers that hold them.
    pub swarm: bool,
    /// Over HTTP from one holder, where the swarm does not deliver: `GET /v1/blobs/HASH`, with ranges.
    pub http: bool,
    /// Where that does not deliver either: program and arguments of a command, run without a shell. None
    /// unless it is given. `{host}` is the holder's host name, `{path}` where the content lies in its data
    /// folder, `{hash}` its hash, `{target}` the file to write:
    /// `rsync = ["rsync", "-a", "{host}:/srv/ringrift/{path}", "{target}"]`.
    pub rsync: Vec<String>,
}

impl Default for DistributionConfig {
    fn default() -> Self {
        Self { swarm: true, http: true, rsync: Vec::new() }
    }
}

impl DistributionConfig {
    /// # Errors
    /// The first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), OutOfBounds> {
        let some_way = self.swarm || self.http || !self.rsync.is_empty();
        check(some_way, "distribution", "no way".to_owned(), "swarm, http, or a command")?;
        let words = self.rsync.iter().all(|word| (1..=1024).contains(&word.len()) && !word.contains('\0'));
        let program = self.rsync.first().is_none_or(|program| !program.contains('{'));
        let target = self.rsync.is_empty() || self.rsync.iter().any(|word| word.contains("{target}"));
        check(
            words && program && target && self.rsync.len() <= 64,
            "distribution.rsync",
            format!("{:?}", self.rsync),
            "a program and its arguments, one of them with {target}",
        )
    }
}

/// How events travel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Gossip them. Without it they arrive all the same, within a second or two: for tests.
    pub gossip: bool,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self { gossip: true }
    }
}

/// The settings of the floor itself.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    pub events: EventsConfig,
    pub distribution: DistributionConfig,
}
