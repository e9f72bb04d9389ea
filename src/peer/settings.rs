//! The operator's settings of the peer itself: how events and content travel.
//!
//! Invariant: a value that passes `validate` is within its bounds; no code that uses it checks it again.

use crate::{
    bounds::{OutOfBounds, bounds, check},
    store::segment::SEGMENT_BYTES_MAX,
};
use serde::{Deserialize, Serialize};

/// How models and segments reach this node: the ways are tried in this order, and content is checked in the
/// same way on each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistributionConfig {
    /// Whether content is fetched from all peers that hold it.
    pub swarm: bool,
    /// Whether content is fetched over HTTP from one holder where the swarm does not deliver it:
    /// `GET /v1/blobs/HASH`, with ranges.
    pub http: bool,
    /// Program and arguments of a command that fetches content where neither of the two delivers it; it is
    /// run without a shell. There is none by default. `{host}` is the holder's host name, `{path}` the path
    /// of the content in its data folder, `{hash}` its hash, `{target}` the file to write:
    /// `rsync = ["rsync", "-a", "{host}:/srv/ringrift/{path}", "{target}"]`.
    pub rsync: Vec<String>,
    /// Mebibytes of content that the cluster does not know which each other member may have this node keep:
    /// models that it announces, segments that wait for their registration, and what has arrived of them.
    pub unregistered_mib_max: u64,
}

/// Smallest share of a member in mebibytes: two of the largest segments, because as many are kept at once.
const UNREGISTERED_MIB_MIN: u64 = 2 * (SEGMENT_BYTES_MAX as u64 >> 20);

impl Default for DistributionConfig {
    fn default() -> Self {
        // A model has a few MiB, and a node has a few segments under way: this is room for a bad day.
        Self { swarm: true, http: true, rsync: Vec::new(), unregistered_mib_max: 512 }
    }
}

impl DistributionConfig {
    /// # Errors
    /// Returns the first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), OutOfBounds> {
        let some_way = self.swarm || self.http || !self.rsync.is_empty();
        check(some_way, "distribution", "no way".to_owned(), "swarm, http, or a command")?;
        let share = UNREGISTERED_MIB_MIN..=1 << 20;
        bounds("distribution.unregistered_mib_max", self.unregistered_mib_max, share)?;
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
    /// Whether events are gossiped. Without gossip they still arrive, within a second or two; this is for
    /// tests.
    pub gossip: bool,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self { gossip: true }
    }
}

/// Most further names of a host, and bytes of each.
const NAMES_MAX: usize = 32;
const NAME_BYTES_MAX: usize = 253;

/// Who may use the HTTP interface, and how it is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Names of this host under which it is asked, beside its addresses, `localhost` and the node's own name.
    /// A request for another name is refused, because a web page may have made a browser send it.
    pub names: Vec<String>,
    /// Whether processes of this host may read without the token.
    pub loopback_reads: bool,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { names: Vec::new(), loopback_reads: true }
    }
}

impl HttpConfig {
    /// # Errors
    /// Returns the first setting that is out of bounds.
    pub fn validate(&self) -> Result<(), OutOfBounds> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let name = |name: &String| (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(letter);
        let good = self.names.len() <= NAMES_MAX && self.names.iter().all(name);
        check(good, "http.names", format!("{:?}", self.names), "up to 32 host names, without port")
    }
}

/// The settings of the peer itself.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    pub events: EventsConfig,
    pub distribution: DistributionConfig,
}
