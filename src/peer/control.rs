//! What nodes ask of each other beside Raft and content.
//!
//! Invariant: a request is answered with `Kept` only after the segment passed the rules and is synced here.

use super::{context::Context, error::WorkError, exchange, letters};
use crate::store::{Segment, segment::SEGMENT_BYTES_MAX};
use p2p::IncomingRequest;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};
use wire::{Hash, WireError};

/// Frame kinds.
const REQUEST: u8 = 0x51;
const ANSWER: u8 = 0x52;
/// Largest request or answer.
const BYTES_MAX: usize = 4096;
/// Of what the cluster does not know, this many bytes and contents are kept for each member.
const STRAY_BYTES_MAX: u64 = 512 << 20;
const STRAYS_MAX: usize = 1024;
/// Requests of a kind that are served at once. One to keep a segment may take long, for it is fetched.
const KEEPS_MAX: usize = 8;
const QUESTIONS_MAX: usize = 8;
const ASKS_MAX: usize = 2;

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Events that are missing there.
    Question,
    /// Dead letters.
    Ask,
    /// [`Control`], or nonsense.
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

/// Who may be served: none waits for those of another kind.
struct Permits {
    questions: Arc<Semaphore>,
    asks: Arc<Semaphore>,
    keeps: Arc<Semaphore>,
}

impl Permits {
    fn new() -> Self {
        let semaphore = |count| Arc::new(Semaphore::new(count));
        Self { questions: semaphore(QUESTIONS_MAX), asks: semaphore(ASKS_MAX), keeps: semaphore(KEEPS_MAX) }
    }

    fn take(&self, kind: Kind) -> Option<OwnedSemaphorePermit> {
        let all = match kind {
            Kind::Question => &self.questions,
            Kind::Ask => &self.asks,
            Kind::Control => &self.keeps,
        };
        Arc::clone(all).try_acquire_owned().ok()
    }
}

/// A request. Append-only: the order is the encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Control {
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
    pub(crate) fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(REQUEST, self, BYTES_MAX)
    }

    /// Reads the answer to [`Self::Keep`].
    ///
    /// # Errors
    /// Why the segment is not kept there.
    pub(crate) fn read_kept(answer: &[u8]) -> Result<(), String> {
        match wire::decode::<Answer, BYTES_MAX>(ANSWER, answer) {
            Ok(Answer::Kept) => Ok(()),
            Ok(Answer::Refused(reason)) => Err(reason),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Answers the requests of other nodes until the shutdown.
pub(crate) async fn serve(node: Context, mut requests: mpsc::Receiver<IncomingRequest>) {
    let permits = Permits::new();
    let mut served = JoinSet::new();
    while let Some(Some(request)) = node.shutdown.run_until_cancelled(requests.recv()).await {
        while served.try_join_next().is_some() {}
        let kind = Kind::of(&request.bytes);
        let Some(permit) = permits.take(kind) else {
            match kind {
                // Unanswered, it learns at once that it may ask another; a frame of another kind would be taken for a lie.
                Kind::Question | Kind::Ask => drop(request),
                Kind::Control => reply(request, Answer::Refused("busy".to_owned())),
            }
            continue;
        };
        let node = Arc::clone(&node);
        served.spawn(async move {
            let other = match kind {
                Kind::Question => Some(exchange::answer(&node, &request.from, &request.bytes).await),
                Kind::Ask => Some(letters::serve(&node, &request.bytes).await),
                Kind::Control => None,
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

/// What peers had this node keep that the cluster did not know at the time: a bound on what each may ask. What this
/// process does not remember, it collects when it is old.
#[derive(Default)]
pub(crate) struct Strays(Mutex<BTreeMap<String, BTreeMap<Hash, u64>>>);

impl Strays {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<Hash, u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that a peer may have us keep now. What is `known` by now counts no more.
    pub(crate) fn room(&self, peer: &str, known: impl Fn(&Hash) -> bool) -> u64 {
        let mut all = self.lock();
        let Some(kept) = all.get_mut(peer) else { return STRAY_BYTES_MAX };
        kept.retain(|hash, _| !known(hash));
        if kept.len() >= STRAYS_MAX {
            return 0;
        }
        STRAY_BYTES_MAX.saturating_sub(kept.values().sum())
    }

    pub(crate) fn keep(&self, peer: &str, hash: Hash, size: u64) {
        self.lock().entry(peer.to_owned()).or_default().insert(hash, size);
    }

    fn gone(&self, peer: &str, hash: &Hash) {
        if let Some(kept) = self.lock().get_mut(peer) {
            kept.remove(hash);
        }
    }
}

async fn keep(node: &Context, from: &str, hash: Hash) -> Result<(), WorkError> {
    let state = node.raft.local();
    let owner = state.node_of_peer(from).ok_or_else(|| WorkError::Stranger(from.to_owned()))?.id;
    // From now on it is not old, so that it is not collected before it is registered.
    let blobs = node.blobs.clone();
    super::context::blocking(move || blobs.touch(hash)).await??;
    let stored = node.stored(hash).await?;
    // What was here before, or is known by that name, is not ours to remove: it may be a model.
    let ours = stored.is_none() && !state.models.contains_key(&hash) && state.segments.get(&hash).is_none();
    let bytes = match stored {
        Some(bytes) => bytes,
        None => {
            let known = |hash: &Hash| state.models.contains_key(hash) || state.segments.get(hash).is_some();
            let room = node.strays.room(from, known).min(SEGMENT_BYTES_MAX as u64);
            if room == 0 {
                return Err(WorkError::TooMuch(from.to_owned()));
            }
            node.bring(hash, None, room, &BTreeSet::from([owner])).await?;
            let bytes = node.stored(hash).await?.ok_or(WorkError::Missing(hash))?;
            node.strays.keep(from, hash, bytes.len() as u64);
            bytes
        }
    };
    let checked = super::context::blocking(move || Segment::open(bytes).map(|_| ())).await?;
    if let Err(error) = checked {
        if ours {
            node.strays.gone(from, &hash);
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

    #[test]
    fn questions_do_not_wait_for_segments_to_be_fetched() {
        let keep = Control::Keep { hash: Hash([7; 32]) }.encode().unwrap();
        let question = crate::events::repair::Question::default().encode().unwrap();
        let ask = wire::encode(letters::ASK, &letters::Ask::List { after: 0 }, 256).unwrap();
        let kinds = [&keep, &question, &ask, &b"nonsense".to_vec()].map(|bytes| Kind::of(bytes));
        assert_eq!(kinds, [Kind::Control, Kind::Question, Kind::Ask, Kind::Control]);
        let permits = Permits::new();
        let all = |kind| std::iter::from_fn(|| permits.take(kind)).collect::<Vec<_>>();
        let keeps = all(Kind::Control);
        let (asks, questions) = (all(Kind::Ask), all(Kind::Question));
        assert_eq!([keeps.len(), asks.len(), questions.len()], [KEEPS_MAX, ASKS_MAX, QUESTIONS_MAX]);
        drop(questions);
        assert!(permits.take(Kind::Question).is_some() && permits.take(Kind::Control).is_none());
    }

    #[test]
    fn a_member_can_have_only_so_much_kept_that_nobody_knows() {
        let strays = Strays::default();
        let name = |number: usize| Hash::of(&number.to_le_bytes());
        let room = |peer, known: &[Hash]| strays.room(peer, |hash| known.contains(hash));
        assert_eq!(room("a", &[]), STRAY_BYTES_MAX);
        strays.keep("a", name(1), STRAY_BYTES_MAX - 10);
        strays.keep("a", name(2), 4);
        assert_eq!(room("a", &[]), 6);
        strays.keep("a", name(3), 60);
        assert_eq!((room("a", &[]), room("b", &[])), (0, STRAY_BYTES_MAX));
        assert_eq!(room("a", &[name(1), name(2)]), STRAY_BYTES_MAX - 60, "registered since");
        strays.gone("a", &name(3));
        assert_eq!(room("a", &[]), STRAY_BYTES_MAX);
        (0..STRAYS_MAX).for_each(|number| strays.keep("a", name(number), 0));
        assert_eq!(room("a", &[]), 0);
    }
}
