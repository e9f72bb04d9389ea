//! Dead letters: events that a handler could not handle, kept for people.
//!
//! The event of a letter is a parameter `E`, because events are a room above
//! this one; everybody uses the logged event.

use serde::{Deserialize, Serialize};

/// One event that one handler could not handle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter<E> {
    /// Its number in this node's queue.
    pub id: i64,
    /// The name of the handler.
    pub handler: String,
    /// The event, whole.
    pub payload: E,
    /// The last error.
    pub error: String,
    /// How often the handler was tried.
    pub retry_count: u32,
    /// When it was tried last, in milliseconds since the epoch.
    pub timestamp: i64,
}

/// What one node says about its dead letters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeLetters<E> {
    pub node_id: String,
    /// Letters, when they were asked for.
    pub letters: Vec<DeadLetter<E>>,
    /// What a replay did.
    pub replayed: Option<Replayed>,
    /// How many letters were dropped.
    pub purged: Option<u64>,
    /// Why the node has no answer.
    pub error: Option<String>,
}

impl<E> Default for NodeLetters<E> {
    fn default() -> Self {
        Self { node_id: String::new(), letters: Vec::new(), replayed: None, purged: None, error: None }
    }
}

/// What a replay did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Handlers that ran again.
    pub replayed: u64,
    /// Of these, those that succeeded.
    pub recovered: u64,
    /// Of these, those that failed again.
    pub failed: u64,
    /// Letters that wait for a quorum and stay as they are.
    pub waiting: u64,
    /// Letters for which there was no time: another replay goes on with them.
    #[serde(default)]
    pub left: u64,
}

/// A request to replay letters, or to purge them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LetterFilter {
    /// A replay takes letters of at most this age; a purge takes older ones.
    #[serde(default)]
    pub max_age_hours: Option<u64>,
    /// On every node, and not only on the one that is asked.
    #[serde(default)]
    pub all: bool,
}
