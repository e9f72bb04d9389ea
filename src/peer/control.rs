//! The requests of nodes to each other, apart from Raft and content.
//!
//! Invariant: a request of one kind never waits for requests of another kind, and every request is answered
//! or dropped at once.

use super::{
    context::Context,
    error::WorkError,
    exchange,
    letters::{self, DeadLetters},
};
use cluster_state::Signature;
use futures::future::BoxFuture;
use p2p::{DropReason, IncomingRequest, PeerPermit, PeerPermits};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::{sync::mpsc, task::JoinSet};
use tracing::Instrument as _;
use wire::{Hash, WireError};

/// Frame kinds.
pub(crate) const REQUEST: u8 = 0x51;
pub(crate) const ANSWER: u8 = 0x52;
/// Largest request or answer in bytes.
pub(crate) const BYTES_MAX: usize = 4096;
/// Maximum number of requests of a kind that are served at once. A request to keep a segment may take long,
/// because the segment is fetched.
const KEEPS_MAX: usize = 8;
const QUESTIONS_MAX: usize = 8;
const ASKS_MAX: usize = 4;
/// Of those, the most of one peer.
const PER_PEER_MAX: usize = 2;

/// The subject of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Events that the sender lacks.
    Question,
    /// Dead letters.
    Ask,
    /// A [`Control`] request, or bytes that are no valid request.
    Control,
}

impl Kind {
    fn of(bytes: &[u8]) -> Self {
        match wire::kind(bytes) {
            Some(crate::events::repair::QUESTION) => Self::Question,
            Some(letters::ASK) => Self::Ask,
            Some(_) | None => Self::Control,
        }
    }
}

/// The permits to serve requests: no request waits for those of another kind, and no peer takes all.
struct Permits {
    questions: Arc<PeerPermits>,
    asks: Arc<PeerPermits>,
    keeps: Arc<PeerPermits>,
}

impl Permits {
    fn new() -> Self {
        let of = |count| PeerPermits::new(count, PER_PEER_MAX);
        Self { questions: of(QUESTIONS_MAX), asks: of(ASKS_MAX), keeps: of(KEEPS_MAX) }
    }

    fn take(&self, kind: Kind, peer: &str) -> Option<PeerPermit> {
        let all = match kind {
            Kind::Question => &self.questions,
            Kind::Ask => &self.asks,
            Kind::Control => &self.keeps,
        };
        all.try_take(peer)
    }
}

/// A request. The list is append-only, because the order of the variants is the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Control {
    /// Asks the receiver to fetch this segment from the sender, check it, and sync it.
    Keep {
        /// Hash of the segment.
        hash: Hash,
    },
}

/// An answer. The list is append-only, because the order of the variants is the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Answer {
    /// The receiver has the segment, and signs what it has counted.
    Kept(Signature),
    Refused(String),
}

impl Control {
    /// The request as bytes.
    ///
    /// # Errors
    /// Returns [`WireError`], which never happens for a request of bounded size.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(REQUEST, self, BYTES_MAX)
    }

    /// Reads another node's request.
    pub(crate) fn read(request: &[u8]) -> Result<Self, WireError> {
        wire::decode::<_, BYTES_MAX>(REQUEST, request)
    }

    /// Reads the answer to [`Self::Keep`]: the signature of a receipt, which the caller verifies.
    ///
    /// # Errors
    /// Returns why the segment is not kept there.
    pub(crate) fn read_kept(answer: &[u8]) -> Result<Signature, String> {
        match wire::decode::<Answer, BYTES_MAX>(ANSWER, answer) {
            Ok(Answer::Kept(signature)) => Ok(signature),
            Ok(Answer::Refused(reason)) => Err(reason),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Keeps a segment for a peer: it is called with the peer and the segment, and it succeeds once the segment
/// is checked and synced, with the signature of this node's receipt.
pub(crate) type Keeper =
    Arc<dyn Fn(String, Hash) -> BoxFuture<'static, Result<Signature, WorkError>> + Send + Sync>;

/// Answers the requests of other nodes until the shutdown.
pub(crate) async fn serve(
    node: Context,
    letters: DeadLetters,
    mut requests: mpsc::Receiver<IncomingRequest>,
    keeper: Keeper,
) {
    let permits = Permits::new();
    let mut served = JoinSet::new();
    let mut arrived = 0u64;
    while let Some(Some(request)) = node.shutdown.run_until_cancelled(requests.recv()).await {
        while served.try_join_next().is_some() {}
        if node.events.is_shunned(&request.from) {
            continue;
        }
        let kind = Kind::of(&request.bytes);
        let Some(permit) = permits.take(kind, &request.from) else {
            node.p2p.drops().count(DropReason::RequestBusy);
            match kind {
                // The request is dropped, so that the peer learns at once that it may ask another node; it
                // would take a frame of another kind for a violation of the protocol.
                Kind::Question | Kind::Ask => drop(request),
                Kind::Control => reply(request, Answer::Refused("busy".to_owned())),
            }
            continue;
        };
        let (node, letters, keeper) = (Arc::clone(&node), letters.clone(), Arc::clone(&keeper));
        // The span has the highest level, so that a line names the peer that asked under every filter.
        arrived += 1;
        let span = tracing::error_span!("request", id = arrived, from = request.from, about = ?kind);
        let serving = async move {
            serve_one(&node, &letters, &keeper, kind, request).await;
            drop(permit);
        };
        served.spawn(serving.instrument(span));
    }
}

async fn serve_one(
    node: &Context,
    letters: &DeadLetters,
    keeper: &Keeper,
    kind: Kind,
    request: IncomingRequest,
) {
    let answer = match kind {
        Kind::Question => exchange::answer(node, &request.from, &request.bytes).await,
        Kind::Ask => letters.serve(&request.bytes).await,
        Kind::Control => {
            let answer = keep(keeper, &request).await;
            return reply(request, answer);
        }
    };
    if let Some(answer) = answer {
        // The peer that asked may have given up; without an answer, it learns at once that there is none.
        let _ = request.reply.send(answer);
    }
}

/// Has the segment of the request kept.
async fn keep(keeper: &Keeper, request: &IncomingRequest) -> Answer {
    match Control::read(&request.bytes) {
        Ok(Control::Keep { hash }) => match keeper(request.from.clone(), hash).await {
            Ok(signature) => Answer::Kept(signature),
            Err(error) => {
                tracing::warn!(%hash, %error, "a segment was not kept");
                Answer::Refused(error.to_string())
            }
        },
        Err(error) => {
            tracing::warn!(%error, "a malformed request was refused");
            Answer::Refused(error.to_string())
        }
    }
}

fn reply(request: IncomingRequest, answer: Answer) {
    let answer = wire::encode(ANSWER, &answer, BYTES_MAX)
        .or_else(|_| wire::encode(ANSWER, &Answer::Refused("refused".to_owned()), BYTES_MAX));
    if let Ok(answer) = answer {
        // The peer that asked may have given up.
        let _ = request.reply.send(answer);
    }
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
        let signature = Signature::of(&[7; 64]).unwrap();
        let kept = wire::encode(ANSWER, &Answer::Kept(signature), BYTES_MAX).unwrap();
        assert_eq!(kept.len(), wire::OVERHEAD + 4 + 64);
        assert_eq!(Control::read_kept(&kept), Ok(signature));
        let refused = wire::encode(ANSWER, &Answer::Refused("full".into()), BYTES_MAX).unwrap();
        assert_eq!(Control::read_kept(&refused), Err("full".into()));
        assert!(Control::read_kept(&request).is_err());
        assert!(Control::read_kept(&[]).is_err());
    }

    #[test]
    fn questions_do_not_wait_for_segments_to_be_fetched() {
        let keep = Control::Keep { hash: Hash([7; 32]) }.encode().unwrap();
        let question = crate::events::repair::RepairQuestion::default().encode().unwrap();
        let ask = wire::encode(letters::ASK, &letters::LettersRequest::List { after: 0 }, 256).unwrap();
        let kinds = [&keep, &question, &ask, &b"nonsense".to_vec()].map(|bytes| Kind::of(bytes));
        assert_eq!(kinds, [Kind::Control, Kind::Question, Kind::Ask, Kind::Control]);
        let permits = &Permits::new();
        let of = |peer: usize, kind| std::iter::from_fn(move || permits.take(kind, &peer.to_string()));
        let all = |kind| (0..8).flat_map(|peer| of(peer, kind)).collect::<Vec<_>>();
        let keeps = all(Kind::Control);
        let (asks, questions) = (all(Kind::Ask), all(Kind::Question));
        assert_eq!([keeps.len(), asks.len(), questions.len()], [KEEPS_MAX, ASKS_MAX, QUESTIONS_MAX]);
        drop(questions);
        assert!(permits.take(Kind::Question, "a").is_some() && permits.take(Kind::Control, "a").is_none());
        drop(keeps);
        let one: Vec<_> = of(9, Kind::Control).collect();
        assert_eq!(one.len(), PER_PEER_MAX, "one peer leaves room for others");
    }
}
