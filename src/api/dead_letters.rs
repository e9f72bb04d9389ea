//! Dead letters: events that a handler could not handle, kept for people.
//!
//! The event of a letter is a parameter `E`, because the room of events comes after this one; every user of
//! these types sets it to the logged event.

use serde::{Deserialize, Serialize};

/// One event that one handler could not handle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter<E> {
    /// The letter's number in this node's queue.
    pub id: i64,
    pub handler: String,
    /// The whole event.
    pub payload: E,
    /// The error of the last attempt.
    pub error: String,
    /// How often the handler was tried.
    pub retry_count: u32,
    /// When the handler was tried last, in milliseconds since the epoch.
    pub timestamp: i64,
}

/// What one node says about its dead letters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeLetters<E> {
    pub node_id: String,
    /// The node's letters, if the request asked for them.
    pub letters: Vec<DeadLetter<E>>,
    /// The result of a replay, if the request asked for one.
    pub replayed: Option<Replayed>,
    /// How many letters were dropped, if the request asked for a purge.
    pub purged: Option<u64>,
    /// Why the node has no answer.
    pub error: Option<String>,
}

impl<E> Default for NodeLetters<E> {
    fn default() -> Self {
        Self { node_id: String::new(), letters: Vec::new(), replayed: None, purged: None, error: None }
    }
}

/// The result of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Handlers that ran again.
    pub replayed: u64,
    /// Handlers of these that succeeded.
    pub recovered: u64,
    /// Handlers of these that failed again.
    pub failed: u64,
    /// Letters that wait for a quorum and stay in the queue.
    pub waiting: u64,
    /// Letters that the replay had no time for: another replay continues with them.
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
    /// Whether the request is for every node and not only for the answering one.
    #[serde(default)]
    pub all: bool,
}
