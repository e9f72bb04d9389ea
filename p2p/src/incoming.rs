//! A request of another peer, and the way back for its answer.
//!
//! Invariant: an answer is at most as large as its class allows, and sending one never blocks.

use crate::{class::Class, codec::AnswerBytes, permits::PeerPermit};
use tokio::sync::oneshot;

/// A request from another peer.
#[derive(Debug)]
pub struct IncomingRequest {
    /// The class under which it was sent.
    pub class: Class,
    /// The id of the peer that asks, which is the other end of the connection.
    pub from: String,
    /// The question, at most [`Class::bytes_max`] bytes.
    pub bytes: Vec<u8>,
    /// Takes the answer. If it is dropped unused, the caller gets an error at once.
    pub reply: Responder,
}

/// Sends the answer to the peer that asked.
#[derive(Debug)]
pub struct Responder {
    pub(crate) class: Class,
    pub(crate) answer: oneshot::Sender<AnswerBytes>,
}

/// Why an answer was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The answer is larger than [`Class::bytes_max`].
    #[error("answer exceeds the limit of its class")]
    TooLarge,
    /// The caller gave up, or the connection closed.
    #[error("the caller is gone")]
    Gone,
}

impl Responder {
    /// Sends the answer. It never blocks.
    ///
    /// # Errors
    /// [`ReplyError`]; the caller then sees a failed request.
    pub fn send(self, bytes: Vec<u8>) -> Result<(), ReplyError> {
        if bytes.len() > self.class.bytes_max() {
            return Err(ReplyError::TooLarge);
        }
        self.answer.send(AnswerBytes { bytes, permit: None }).map_err(|_| ReplyError::Gone)
    }

    /// Sends the answer, and keeps `permit` until the connection has taken all of it.
    pub(crate) fn send_holding(self, bytes: Vec<u8>, permit: PeerPermit) -> Result<(), ReplyError> {
        self.answer.send(AnswerBytes { bytes, permit: Some(permit) }).map_err(|_| ReplyError::Gone)
    }

    /// Whether the caller is gone, so that no answer is needed.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }
}
