//! What nodes ask of each other beside Raft and content.
//!
//! Invariant: a request is answered with `Kept` only after the segment passed the rules and is synced here.

use super::{context::Context, error::WorkError, exchange, letters};
use crate::store::Segment;
use p2p::IncomingRequest;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use wire::{Hash, WireError};

/// Frame kinds.
const REQUEST: u8 = 0x51;
const ANSWER: u8 = 0x52;
/// Largest request or answer.
const BYTES_MAX: usize = 4096;
/// Requests served at once.
const SERVED_MAX: usize = 8;

/// A request. Append-only: the order is the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Control {
    /// Fetch this segment from me, check it, and sync it.
    Keep {
        /// Which.
        hash: Hash,
    },
}

/// An answer. Append-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    Kept,
    Refused(String),
}

impl Control {
    /// The request as bytes.
    ///
    /// # Errors
    /// [`WireError`], which a request of bounded size never is.
    pub(super) fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(REQUEST, self, BYTES_MAX)
    }

    /// Reads the answer to [`Self::Keep`].
    ///
    /// # Errors
    /// Why the segment is not kept there.
    pub(super) fn read_kept(answer: &[u8]) -> Result<(), String> {
        match wire::decode::<Answer, BYTES_MAX>(ANSWER, answer) {
            Ok(Answer::Kept) => Ok(()),
            Ok(Answer::Refused(reason)) => Err(reason),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Answers the requests of other nodes until the shutdown.
pub(super) async fn serve(node: Context, mut requests: mpsc::Receiver<IncomingRequest>) {
    let permits = Arc::new(Semaphore::new(SERVED_MAX));
    let mut served = JoinSet::new();
    while let Some(Some(request)) = node.shutdown.run_until_cancelled(requests.recv()).await {
        while served.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            reply(request, Answer::Refused("busy".to_owned()));
            continue;
        };
        let node = Arc::clone(&node);
        served.spawn(async move {
            let other = match wire::kind(&request.bytes) {
                Some(crate::events::repair::QUESTION) => {
                    Some(exchange::answer(&node, &request.from, &request.bytes).await)
                }
                Some(letters::ASK) => Some(letters::serve(&node, &request.bytes).await),
                Some(_) | None => None,
            };
            if let Some(answer) = other {
                if let Some(answer) = answer {
                    // Whoever asked may have given up; unanswered, it learns that at once.
                    let _ = request.reply.send(answer);
                }
                drop(permit);
                return;
            }
            let answer = match wire::decode::<Control, BYTES_MAX>(REQUEST, &request.bytes) {
                Ok(Control::Keep { hash }) => match keep(&node, &request.from, hash).await {
                    Ok(()) => Answer::Kept,
                    Err(error) => {
                        tracing::warn!(from = request.from, %hash, %error, "a segment was not kept");
                        Answer::Refused(error.to_string())
                    }
                },
                Err(error) => {
                    tracing::warn!(from = request.from, %error, "a malformed request was refused");
                    Answer::Refused(error.to_string())
                }
            };
            reply(request, answer);
            drop(permit);
        });
    }
}

fn reply(request: IncomingRequest, answer: Answer) {
    let answer = wire::encode(ANSWER, &answer, BYTES_MAX)
        .or_else(|_| wire::encode(ANSWER, &Answer::Refused("refused".to_owned()), BYTES_MAX));
    if let Ok(answer) = answer {
        // Whoever asked may have given up.
        let _ = request.reply.send(answer);
    }
}

async fn keep(node: &Context, from: &str, hash: Hash) -> Result<(), WorkError> {
    let state = node.raft.local();
    if state.node_of_peer(from).is_none() {
        return Err(WorkError::Stranger(from.to_owned()));
    }
    let stored = node.stored(hash).await?;
    // What was here before, or is known by that name, is not ours to remove: it may be a model.
    let ours = stored.is_none() && !state.models.contains_key(&hash) && state.segments.get(&hash).is_none();
    let bytes = match stored {
        Some(bytes) => bytes,
        None => {
            node.fetch(hash, None, vec![from.to_owned()]).await?;
            node.stored(hash).await?.ok_or(WorkError::Missing(hash))?
        }
    };
    let checked = super::context::blocking(move || Segment::open(bytes).map(|_| ())).await?;
    if let Err(error) = checked {
        if ours {
            let blobs = node.blobs.clone();
            super::context::blocking(move || blobs.remove(hash)).await??;
        }
        return Err(error.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_is_fixed_and_nonsense_is_refused() {
        let hash = Hash([7; 32]);
        let request = Control::Keep { hash }.encode().unwrap();
        assert_eq!(request.len(), wire::OVERHEAD + 4 + 32);
        assert_eq!(request[8..12], [0; 4]);
        let kept = wire::encode(ANSWER, &Answer::Kept, BYTES_MAX).unwrap();
        assert_eq!(Control::read_kept(&kept), Ok(()));
        let refused = wire::encode(ANSWER, &Answer::Refused("full".into()), BYTES_MAX).unwrap();
        assert_eq!(Control::read_kept(&refused), Err("full".into()));
        assert!(Control::read_kept(&request).is_err());
        assert!(Control::read_kept(&[]).is_err());
    }
}
