//! Fetches content from several holders at once.
//!
//! Invariant: a piece counts only once its hash was checked. A holder that delivers a wrong one is dropped, and so
//! is one that fails again and again; the others go on. What arrived stays on disk for the next attempt.

use crate::{
    Class, P2pHandle, RequestError,
    blobs::{
        outline::{BLOB_BYTES_MAX, Outline},
        partial::Partial,
        protocol::{Answer, Ask},
        store::{BlobStore, StoreError},
        tracker::{Next, Tracker},
    },
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::Notify,
    task::{JoinSet, spawn_blocking},
};
use wire::Hash;

/// Failures in a row after which a holder is dropped.
const FAILURES_MAX: u32 = 3;
/// Refusals in a row of a holder that is merely busy.
const BUSY_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(250);
const BUSY_PAUSE: Duration = Duration::from_millis(50);
const WHO_HAS_TIMEOUT: Duration = Duration::from_secs(2);
/// Searches for further holders when those named do not suffice.
const SEARCHES_MAX: u32 = 3;

/// How far a fetch may go.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Largest content taken.
    pub bytes_max: u64,
    /// For the whole fetch.
    pub timeout: Duration,
    /// For one piece.
    pub piece_timeout: Duration,
    /// Pieces asked of one holder at once, at most 8.
    pub in_flight: usize,
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self {
            bytes_max: BLOB_BYTES_MAX,
            timeout: Duration::from_secs(3600),
            piece_timeout: Duration::from_secs(20),
            in_flight: 4,
        }
    }
}

/// How a fetch went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// Bytes of the content.
    pub size: u64,
    /// Pieces that an earlier attempt had left.
    pub resumed: usize,
    /// Pieces that arrived, per holder.
    pub fetched: Vec<(String, usize)>,
    /// Pieces that arrived though they were there already.
    pub duplicates: usize,
    /// Holders that were dropped, and why.
    pub dropped: Vec<(String, String)>,
}

/// Why content could not be fetched. What arrived is kept for the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No holder delivered; those that were tried, and why they failed.
    #[error("no holder of {hash} among {dropped:?}")]
    NoHolders {
        /// The content.
        hash: Hash,
        /// Holders and reasons.
        dropped: Vec<(String, String)>,
    },
    /// Every holder failed before all pieces had arrived.
    #[error("{left} pieces of {hash} are missing; dropped {dropped:?}")]
    Incomplete {
        /// The content.
        hash: Hash,
        /// Pieces still missing.
        left: usize,
        /// Holders and reasons.
        dropped: Vec<(String, String)>,
    },
    /// Larger than the caller allows.
    #[error("content of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// [`FetchLimits::bytes_max`].
        limit: u64,
    },
    /// Not within [`FetchLimits::timeout`].
    #[error("not fetched in time")]
    Timeout,
    /// This node's own disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the handle needs for fetching.
#[derive(Debug)]
pub(crate) struct Fetcher {
    pub(crate) store: BlobStore,
    /// Fetches under way, so that two of one content do not write one file.
    active: Mutex<HashMap<Hash, Weak<tokio::sync::Mutex<()>>>>,
}

impl Fetcher {
    pub(crate) fn new(store: BlobStore) -> Self {
        Self { store, active: Mutex::default() }
    }

    fn turn(&self, hash: Hash) -> Arc<tokio::sync::Mutex<()>> {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = active.get(&hash).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        active.insert(hash, Arc::downgrade(&turn));
        turn
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()), // it cannot be cancelled: we await it
    }
}

impl P2pHandle {
    /// The content of this node. Its calls block.
    #[must_use]
    pub fn blobs(&self) -> &BlobStore {
        &self.0.fetcher.store
    }

    /// Keeps content, off the runtime's threads. See [`BlobStore::put`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_blob(&self, content: Vec<u8>) -> Result<Hash, StoreError> {
        let store = self.blobs().clone();
        blocking(move || store.put(&content)).await
    }

    /// Reads content of this node, off the runtime's threads. See [`BlobStore::get`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get_blob(&self, hash: Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let store = self.blobs().clone();
        blocking(move || store.get(hash)).await
    }

    /// The connected peers that say they hold `hash`, after at most two seconds.
    pub async fn who_has(&self, hash: Hash) -> Vec<String> {
        let peers: Vec<String> = self.peers().borrow().iter().map(|p| p.peer_id.clone()).collect();
        let mut questions = JoinSet::new();
        for peer in peers {
            let handle = self.clone();
            questions.spawn(async move {
                let ask = Ask::Has(hash).encode();
                let answer = handle.request(Class::Blob, &peer, ask, WHO_HAS_TIMEOUT).await.ok()?;
                (Answer::decode(answer)? == Answer::Yes).then_some(peer)
            });
        }
        let mut holders: Vec<String> = questions.join_all().await.into_iter().flatten().collect();
        holders.sort();
        holders
    }

    /// Fetches content from `holders` (or, if none is named or they do not suffice, from whoever has it) into this
    /// node's store, from which it is served to others from then on. Goes on where an earlier attempt stopped.
    /// Dropping the future stops the fetch. `size_hint`: a holder that claims another size is not believed.
    ///
    /// # Errors
    /// [`FetchError`]; then nothing is under the name.
    pub async fn fetch(
        &self,
        hash: Hash,
        size_hint: Option<u64>,
        holders: Vec<String>,
        limits: FetchLimits,
    ) -> Result<FetchReport, FetchError> {
        let fetch = async {
            let turn = self.0.fetcher.turn(hash);
            let _turn = turn.lock().await;
            if self.blobs().has(hash) {
                return Ok(FetchReport::default());
            }
            let mut attempt = Attempt {
                handle: self,
                hash,
                size_hint,
                limits,
                report: FetchReport::default(),
                tried: Vec::new(),
            };
            attempt.run(holders).await
        };
        tokio::time::timeout(limits.timeout, fetch).await.map_err(|_| FetchError::Timeout)?
    }
}

struct Attempt<'a> {
    handle: &'a P2pHandle,
    hash: Hash,
    size_hint: Option<u64>,
    limits: FetchLimits,
    report: FetchReport,
    tried: Vec<String>,
}

impl Attempt<'_> {
    async fn run(&mut self, mut holders: Vec<String>) -> Result<FetchReport, FetchError> {
        let (store, hash) = (self.handle.blobs().clone(), self.hash);
        let mut found = blocking(move || Partial::resume(&store, hash)).await?;
        if let Some((partial, had)) = &found {
            self.check_size(partial.outline())?;
            self.report.resumed = had.iter().filter(|had| **had).count();
        }
        holders.retain(|holder| *holder != self.handle.peer_id());
        let mut download = None;
        for search in 0..=SEARCHES_MAX {
            if holders.is_empty() || search > 0 {
                holders = self.handle.who_has(hash).await;
                holders.retain(|holder| !self.tried.contains(holder));
            }
            self.tried.extend(holders.iter().cloned());
            if found.is_none() && download.is_none() {
                found = self.begin(&mut holders).await?;
            }
            if let Some((partial, had)) = found.take() {
                self.report.size = partial.outline().size();
                download = Some((Arc::new(partial), Arc::new(Mutex::new(Tracker::new(&had)))));
            }
            if let Some((partial, tracker)) = &download {
                self.download(partial, tracker, &holders).await?;
                if lock(tracker).is_done() {
                    let partial = partial.clone();
                    blocking(move || partial.finish()).await?;
                    return Ok(std::mem::take(&mut self.report));
                }
            }
        }
        let dropped = std::mem::take(&mut self.report.dropped);
        Err(match download {
            Some((_, tracker)) => FetchError::Incomplete { hash, left: lock(&tracker).left(), dropped },
            None => FetchError::NoHolders { hash, dropped },
        })
    }

    fn check_size(&self, outline: &Outline) -> Result<(), FetchError> {
        let (size, limit) = (outline.size(), self.limits.bytes_max);
        if size > limit { Err(FetchError::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// Finds an outline and proves its size by the last piece, which its giver must deliver.
    async fn begin(&mut self, holders: &mut Vec<String>) -> Result<Option<(Partial, Vec<bool>)>, FetchError> {
        let mut candidates = std::mem::take(holders).into_iter();
        let mut found = None;
        for holder in candidates.by_ref() {
            match self.outline_from(&holder).await {
                Ok((outline, last)) => {
                    self.check_size(&outline)?;
                    let (store, hash) = (self.handle.blobs().clone(), self.hash);
                    let mut had = vec![false; outline.count()];
                    if let Some(had) = had.last_mut() {
                        *had = true;
                    }
                    let partial = blocking(move || {
                        let partial = Partial::begin(&store, hash, outline)?;
                        partial.write(partial.outline().count() - 1, &last)?;
                        Ok::<_, StoreError>(partial)
                    });
                    found = Some((partial.await?, had));
                    self.report.fetched.push((holder.clone(), 1));
                    holders.push(holder);
                    break;
                }
                Err(reason) => self.drop_holder(holder, reason),
            }
        }
        holders.extend(candidates);
        Ok(found)
    }

    async fn outline_from(&self, holder: &str) -> Result<(Outline, Vec<u8>), String> {
        let answer = self.ask(holder, Ask::Outline(self.hash)).await?;
        let outline = match answer {
            Answer::Outline(bytes) => Outline::decode(&bytes, self.hash),
            Answer::No => return Err("does not have it".into()),
            Answer::Yes | Answer::Piece(_) => None,
        };
        let outline = outline.ok_or("sent a wrong outline")?;
        if self.size_hint.is_some_and(|size| size != outline.size()) {
            return Err("claims a wrong size".into());
        }
        let last = outline.count() - 1;
        match self.ask(holder, Ask::Piece(self.hash, last as u32)).await? {
            Answer::Piece(piece) if outline.is_piece(last, &piece) => Ok((outline, piece)),
            _ => Err("cannot prove the size".into()),
        }
    }

    /// Asks until there is an answer or the holder has failed too often.
    async fn ask(&self, holder: &str, ask: Ask) -> Result<Answer, String> {
        let mut patience = Patience::default();
        loop {
            let answer =
                self.handle.request(Class::Blob, holder, ask.encode(), self.limits.piece_timeout).await;
            match answer {
                Ok(bytes) => return Answer::decode(bytes).ok_or_else(|| "sent nonsense".into()),
                Err(error) => match patience.pause(&error) {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error.to_string()),
                },
            }
        }
    }

    fn drop_holder(&mut self, holder: String, reason: String) {
        tracing::debug!(holder, reason, hash = %self.hash, "holder dropped");
        self.report.dropped.push((holder, reason));
    }

    /// Takes what is missing from `holders`, until all is there or all of them are dropped.
    async fn download(
        &mut self,
        partial: &Arc<Partial>,
        tracker: &Arc<Mutex<Tracker>>,
        holders: &[String],
    ) -> Result<(), FetchError> {
        let work = Arc::new(Work {
            handle: self.handle.clone(),
            hash: self.hash,
            piece_timeout: self.limits.piece_timeout,
            partial: partial.clone(),
            tracker: tracker.clone(),
            changed: Notify::new(),
            duplicates: AtomicUsize::new(0),
            holders: holders.iter().map(|peer| Holder::new(peer)).collect(),
        });
        let mut workers = JoinSet::new();
        for index in 0..holders.len() {
            for _ in 0..self.limits.in_flight.clamp(1, 8) {
                workers.spawn(work.clone().take_pieces(index));
            }
        }
        while let Some(result) = workers.join_next().await {
            match result {
                Ok(result) => result?,
                Err(error) => std::panic::resume_unwind(error.into_panic()), // nobody aborts them
            }
            if lock(tracker).is_done() {
                break; // the rest wait for holders that are no longer needed; the set's end stops them
            }
        }
        drop(workers);
        self.report.duplicates += work.duplicates.load(Ordering::Relaxed);
        for holder in &work.holders {
            let fetched = holder.fetched.load(Ordering::Relaxed);
            match self.report.fetched.iter_mut().find(|(peer, _)| *peer == holder.peer) {
                Some((_, count)) => *count += fetched,
                None => self.report.fetched.push((holder.peer.clone(), fetched)),
            }
            let reason = holder.reason.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(reason) = reason {
                self.drop_holder(holder.peer.clone(), reason);
            }
        }
        Ok(())
    }
}

/// How often a holder may fail in a row.
#[derive(Default)]
struct Patience {
    failures: u32,
    busy: u32,
}

impl Patience {
    /// How long to wait before the next try; `None`: no more.
    fn pause(&mut self, error: &RequestError) -> Option<Duration> {
        if error.is_busy() {
            self.busy += 1;
            (self.busy < BUSY_MAX).then_some(BUSY_PAUSE)
        } else {
            self.failures += 1;
            (self.failures < FAILURES_MAX).then_some(PAUSE)
        }
    }
}

struct Holder {
    peer: String,
    dropped: AtomicBool,
    reason: Mutex<Option<String>>,
    failures: AtomicU32,
    fetched: AtomicUsize,
}

impl Holder {
    fn new(peer: &str) -> Self {
        Self {
            peer: peer.to_owned(),
            dropped: AtomicBool::new(false),
            reason: Mutex::default(),
            failures: AtomicU32::new(0),
            fetched: AtomicUsize::new(0),
        }
    }
}

/// What the workers of one download share.
struct Work {
    handle: P2pHandle,
    hash: Hash,
    piece_timeout: Duration,
    partial: Arc<Partial>,
    tracker: Arc<Mutex<Tracker>>,
    /// A piece arrived or is free again.
    changed: Notify,
    duplicates: AtomicUsize,
    holders: Vec<Holder>,
}

fn lock(tracker: &Mutex<Tracker>) -> std::sync::MutexGuard<'_, Tracker> {
    tracker.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Delivery {
    Right,
    Wrong,
}

impl Work {
    /// One request at a time to one holder, until nothing is left or the holder is dropped.
    async fn take_pieces(self: Arc<Self>, index: usize) -> Result<(), StoreError> {
        let holder = &self.holders[index];
        let mut patience = Patience::default();
        while !holder.dropped.load(Ordering::Relaxed) {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next = lock(&self.tracker).next(index, Instant::now());
            let piece = match next {
                Next::Done => break,
                Next::Wait(until) => {
                    let _ = tokio::time::timeout_at(until.into(), changed).await; // look again either way
                    continue;
                }
                Next::Ask(piece) => piece,
            };
            match self.take_piece(holder, piece).await {
                Ok(Delivery::Right) => {
                    patience = Patience::default();
                    holder.failures.store(0, Ordering::Relaxed);
                    if lock(&self.tracker).got(piece) {
                        holder.fetched.fetch_add(1, Ordering::Relaxed);
                    } else {
                        self.duplicates.fetch_add(1, Ordering::Relaxed);
                    }
                    if lock(&self.tracker).is_done() {
                        self.changed.notify_waiters();
                    }
                }
                Ok(Delivery::Wrong) => self.give_up(index, piece, "sent a wrong piece".into()),
                Err(Failure::Store(error)) => return Err(error),
                Err(Failure::Gone) => self.give_up(index, piece, "no longer has it".into()),
                Err(Failure::Request(error)) => {
                    let worn_out = holder.failures.fetch_add(1, Ordering::Relaxed) >= 4 * FAILURES_MAX;
                    match patience.pause(&error) {
                        Some(pause) if !worn_out || error.is_busy() => {
                            lock(&self.tracker).failed(piece, index);
                            self.changed.notify_waiters();
                            tokio::time::sleep(pause).await;
                        }
                        _ => self.give_up(index, piece, error.to_string()),
                    }
                }
            }
        }
        Ok(())
    }

    fn give_up(&self, index: usize, piece: usize, reason: String) {
        let holder = &self.holders[index];
        lock(&self.tracker).failed(piece, index);
        if !holder.dropped.swap(true, Ordering::Relaxed) {
            *holder.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        }
        self.changed.notify_waiters();
    }

    async fn take_piece(&self, holder: &Holder, index: usize) -> Result<Delivery, Failure> {
        let ask = Ask::Piece(self.hash, index as u32).encode();
        let answer = self.handle.request(Class::Blob, &holder.peer, ask, self.piece_timeout).await;
        let piece = match answer.map_err(Failure::Request).map(Answer::decode)? {
            Some(Answer::Piece(piece)) => piece,
            Some(Answer::No) => return Err(Failure::Gone),
            Some(Answer::Yes | Answer::Outline(_)) | None => return Ok(Delivery::Wrong),
        };
        let partial = self.partial.clone();
        blocking(move || {
            if !partial.outline().is_piece(index, &piece) {
                return Ok(Delivery::Wrong);
            }
            partial.write(index, &piece).map(|()| Delivery::Right).map_err(Failure::Store)
        })
        .await
    }
}

enum Failure {
    Request(RequestError),
    Gone,
    Store(StoreError),
}
