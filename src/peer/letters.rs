//! The dead-letter queues of this node and of all others, for operators.
//!
//! Invariant: members answer only members; an operator has shown this node's token before a request that
//! changes something. A node that does not answer hides nothing of the others.

use super::context::Context;
use crate::{
    api::dead_letters::NodeLetters,
    events::{LogError, Logged, dlq::DeadLetter, runner::Runner},
};
use futures::future::join_all;
use p2p::Class;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use wire::WireError;

/// Frame kinds.
pub(crate) const ASK: u8 = 0x57;
pub(crate) const TOLD: u8 = 0x58;
pub(crate) const ASK_BYTES_MAX: usize = 256;
pub(crate) const TOLD_BYTES_MAX: usize = 900 << 10;
/// Maximum size of the letters in one report, in bytes.
const LETTERS_BYTES_MAX: usize = 512 << 10;
/// Maximum time for another node to answer; that node stops a replay before.
const WAIT: Duration = Duration::from_secs(25);

/// A request of an operator. The list is append-only, because the order of the variants is the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LettersRequest {
    /// Lists the letters after this number.
    List {
        /// Number of the last letter that is left out.
        after: i64,
    },
    /// Runs the handlers again.
    Replay {
        /// The replay takes letters of at most this age.
        max_age_hours: u64,
    },
    /// Drops letters.
    Purge {
        /// The purge takes letters older than this; without it all.
        max_age_hours: Option<u64>,
    },
}

impl LettersRequest {
    /// Reads another node's request.
    pub(crate) fn read(request: &[u8]) -> Result<Self, WireError> {
        wire::decode::<_, ASK_BYTES_MAX>(ASK, request)
    }
}

/// Reads and changes the dead letters of this node, and asks the others to do the same. It is cheap to clone.
#[derive(Clone)]
pub struct DeadLetters {
    node: Context,
    runner: Runner,
}

impl DeadLetters {
    /// The dead letters of this node, whose handlers `runner` runs.
    #[must_use]
    pub fn new(node: Context, runner: Runner) -> Self {
        Self { node, runner }
    }

    /// One letter of this node.
    ///
    /// # Errors
    /// Returns [`LogError`] when the database cannot be read.
    pub async fn one(&self, id: i64) -> Result<Option<DeadLetter>, LogError> {
        self.runner.deliveries().dead_letter(id).await
    }

    async fn answer(&self, ask: LettersRequest) -> Result<NodeLetters<Logged>, LogError> {
        let mut answer = NodeLetters { node_id: self.node.name(), ..NodeLetters::default() };
        match ask {
            LettersRequest::List { after } => {
                let mut left = LETTERS_BYTES_MAX;
                for letter in self.runner.deliveries().dead_letters(after).await? {
                    let size = serde_json::to_vec(&letter)?.len();
                    match left.checked_sub(size) {
                        Some(rest) => left = rest,
                        None => break,
                    }
                    answer.letters.push(letter);
                }
            }
            LettersRequest::Replay { max_age_hours } => {
                answer.replayed = Some(self.runner.replay_dlq_events(max_age_hours).await?);
            }
            LettersRequest::Purge { max_age_hours } => {
                answer.purged = Some(self.runner.deliveries().purge(max_age_hours).await?)
            }
        }
        Ok(answer)
    }

    /// The answer of this node.
    pub async fn here(&self, ask: LettersRequest) -> NodeLetters<Logged> {
        let answered = self.answer(ask).await;
        answered.unwrap_or_else(|e| NodeLetters {
            node_id: self.node.name(),
            error: Some(e.to_string()),
            ..NodeLetters::default()
        })
    }

    /// The answer of every node, this one first.
    pub async fn everywhere(&self, ask: LettersRequest) -> Vec<NodeLetters<Logged>> {
        let state = self.node.raft.local();
        let others = state.nodes.values().filter(|other| other.id != self.node.id);
        let questions = others.map(|other| async {
            let node_id = crate::events::caused::node_name(other.id);
            let answer = match wire::encode(ASK, &ask, ASK_BYTES_MAX) {
                Ok(ask) => match self.node.p2p.request(Class::Control, &other.peer_id, ask, WAIT).await {
                    Ok(answer) => read(&answer),
                    Err(error) => Err(error.to_string()),
                },
                Err(error) => Err(error.to_string()),
            };
            match answer {
                Ok(answer) => NodeLetters { node_id, ..answer },
                Err(error) => NodeLetters { node_id, error: Some(error), ..NodeLetters::default() },
            }
        });
        let (own, others) = futures::join!(self.here(ask), join_all(questions));
        std::iter::once(own).chain(others).collect()
    }

    /// Answers the request of another node.
    pub(crate) async fn serve(&self, request: &[u8]) -> Option<Vec<u8>> {
        let ask = match LettersRequest::read(request) {
            Ok(ask) => ask,
            Err(error) => {
                tracing::warn!(%error, "a malformed question about dead letters was refused");
                return None;
            }
        };
        let json = serde_json::to_string(&self.here(ask).await).ok()?;
        wire::encode(TOLD, &json, TOLD_BYTES_MAX).ok()
    }
}

/// Reads another node's answer. It is JSON in a frame, because a letter holds any JSON.
pub(crate) fn read(bytes: &[u8]) -> Result<NodeLetters<Logged>, String> {
    let json: String = wire::decode::<_, TOLD_BYTES_MAX>(TOLD, bytes).map_err(|e| e.to_string())?;
    let mut json = serde_json::Deserializer::from_str(&json);
    let told = wire::within(TOLD_BYTES_MAX, &mut json).map_err(|e| e.to_string())?;
    json.end().map_err(|e| e.to_string()).map(|()| told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_back_and_nonsense_is_refused() {
        let answer = NodeLetters { node_id: "node-2".into(), purged: Some(3), ..NodeLetters::default() };
        let json = serde_json::to_string(&answer).unwrap();
        let bytes = wire::encode(TOLD, &json, TOLD_BYTES_MAX).unwrap();
        assert_eq!(read(&bytes), Ok(answer));
        assert!(read(&bytes[1..]).is_err());
        assert!(read(&wire::encode(TOLD, &"[]", 100).unwrap()).is_err());
    }
}
