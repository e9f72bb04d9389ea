//! The workers of one download: several requests at a time to each peer that takes part.
//!
//! Invariant: a piece is written and counted only after its hash was checked. A peer that sends a wrong
//! piece, or fails too often in a row, is dropped and asked no more.

use crate::{
    blobs::{
        local::blocking,
        partial::Partial,
        sharing::unpack,
        store::BlobError,
        tracker::{Next, Offer, Tracker},
    },
    class::Class,
    error::RequestError,
    handle::P2pHandle,
    transfer::protocol::{BlobAnswer, BlobQuestion},
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use wire::Hash;

/// Failures in a row after which a holder is dropped.
const FAILURES_MAX: u32 = 3;
/// How often in a row a holder may answer that it is busy.
const BUSY_MAX: u32 = 100;
/// The pause after a failure.
const FAILURE_PAUSE: Duration = Duration::from_millis(250);
/// The pause after a holder said that it is busy.
const BUSY_PAUSE: Duration = Duration::from_millis(50);
/// The pause between two questions to a companion about what it has by now.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(150);

/// Counts the failures of a holder in a row.
#[derive(Default)]
pub(super) struct Patience {
    failures: u32,
    busy: u32,
}

impl Patience {
    /// How long to wait before the next try; `None` if there is to be none.
    pub(super) fn pause(&mut self, error: &RequestError) -> Option<Duration> {
        if error.is_busy() {
            self.busy += 1;
            (self.busy < BUSY_MAX).then_some(BUSY_PAUSE)
        } else {
            self.failures += 1;
            (self.failures < FAILURES_MAX).then_some(FAILURE_PAUSE)
        }
    }
}

/// A peer that takes part. A *holder* has the whole content; a *companion* may be fetching it as well, and
/// offers the pieces that it has so far.
pub(super) struct Participant {
    peer: String,
    companion: bool,
    dropped: AtomicBool,
    reason: Mutex<Option<String>>,
    failures: AtomicU32,
    fetched: AtomicUsize,
}

impl Participant {
    pub(super) fn holder(peer: &str) -> Self {
        Self::new(peer, false)
    }

    pub(super) fn companion(peer: &str) -> Self {
        Self::new(peer, true)
    }

    pub(super) fn is_companion(&self) -> bool {
        self.companion
    }

    fn new(peer: &str, companion: bool) -> Self {
        Self {
            peer: peer.to_owned(),
            companion,
            dropped: AtomicBool::new(false),
            reason: Mutex::default(),
            failures: AtomicU32::new(0),
            fetched: AtomicUsize::new(0),
        }
    }

    pub(super) fn peer(&self) -> &str {
        &self.peer
    }

    /// How many pieces arrived from this peer.
    pub(super) fn fetched(&self) -> usize {
        self.fetched.load(Ordering::Relaxed)
    }

    /// Why this peer was dropped, if it was.
    pub(super) fn reason(&self) -> Option<String> {
        self.reason.lock().clone()
    }
}

/// What the workers of one download share.
pub(super) struct PieceDownload {
    handle: P2pHandle,
    hash: Hash,
    piece_timeout: Duration,
    partial: Arc<Partial>,
    tracker: Arc<Mutex<Tracker>>,
    /// Workers that wait are notified when a piece has arrived or may be asked for again.
    changed: Notify,
    duplicates: AtomicUsize,
    participants: Vec<Participant>,
}

enum Delivery {
    Right,
    Wrong,
}

impl PieceDownload {
    pub(super) fn new(
        handle: P2pHandle,
        hash: Hash,
        piece_timeout: Duration,
        partial: Arc<Partial>,
        tracker: Arc<Mutex<Tracker>>,
        participants: Vec<Participant>,
    ) -> Self {
        Self {
            handle,
            hash,
            piece_timeout,
            partial,
            tracker,
            changed: Notify::new(),
            duplicates: AtomicUsize::new(0),
            participants,
        }
    }

    pub(super) fn participants(&self) -> &[Participant] {
        &self.participants
    }

    /// Whether every holder was dropped and no companion offers anything that is left.
    pub(super) fn is_over(&self) -> bool {
        let left = self.participants.iter().filter(|it| !it.dropped.load(Ordering::Relaxed));
        left.filter(|it| !it.companion).count() == 0 && self.tracker.lock().is_stuck()
    }

    /// Asks a companion what it has, again and again, until nothing is left, or it has all pieces, or it is
    /// dropped.
    pub(super) async fn follow(self: Arc<Self>, index: usize) -> Result<(), BlobError> {
        let companion = &self.participants[index];
        let ask = BlobQuestion::Pieces(self.hash).encode();
        while !companion.dropped.load(Ordering::Relaxed) && !self.tracker.lock().is_done() {
            let answer =
                self.handle.request(Class::Blob, &companion.peer, ask.clone(), self.piece_timeout).await;
            let offer = match answer.ok().and_then(BlobAnswer::decode) {
                Some(BlobAnswer::Yes) => Offer::All,
                Some(BlobAnswer::Pieces(bits)) => unpack(&bits, self.partial.outline().count()),
                Some(BlobAnswer::No | BlobAnswer::Outline(_) | BlobAnswer::Piece(_)) | None => Offer::Nothing,
            };
            let whole = offer == Offer::All;
            if self.tracker.lock().offer(index, offer) {
                self.changed.notify_waiters();
            }
            if whole {
                break;
            }
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
        Ok(())
    }

    /// How many pieces arrived although another peer had delivered them already.
    pub(super) fn duplicates(&self) -> usize {
        self.duplicates.load(Ordering::Relaxed)
    }

    /// Sends one request at a time to one peer, until nothing is left or the peer is dropped.
    pub(super) async fn take_pieces(self: Arc<Self>, index: usize) -> Result<(), BlobError> {
        let holder = &self.participants[index];
        let mut patience = Patience::default();
        while !holder.dropped.load(Ordering::Relaxed) {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let next = self.tracker.lock().next(index, Instant::now());
            let piece = match next {
                Next::Done => break,
                Next::Wait(until) => {
                    let _ = tokio::time::timeout_at(until.into(), changed).await; // in either case there may be work now
                    continue;
                }
                Next::Ask(piece) => piece,
            };
            match self.take_piece(holder, piece).await {
                Ok(Delivery::Right) => {
                    patience = Patience::default();
                    holder.failures.store(0, Ordering::Relaxed);
                    if self.tracker.lock().got(piece) {
                        holder.fetched.fetch_add(1, Ordering::Relaxed);
                    } else {
                        self.duplicates.fetch_add(1, Ordering::Relaxed);
                    }
                    if self.tracker.lock().is_done() {
                        self.changed.notify_waiters();
                    }
                }
                Ok(Delivery::Wrong) => self.give_up(index, piece, "sent a wrong piece".into()),
                Err(Failure::Store(error)) => return Err(error),
                Err(Failure::Gone) if holder.companion => {
                    // The companion started its fetch again; it will say what it has.
                    self.tracker.lock().failed(piece, index);
                    self.tracker.lock().offer(index, Offer::Nothing);
                    self.changed.notify_waiters();
                }
                Err(Failure::Gone) => self.give_up(index, piece, "no longer has it".into()),
                Err(Failure::Request(error)) => {
                    let worn_out = holder.failures.fetch_add(1, Ordering::Relaxed) >= 4 * FAILURES_MAX;
                    match patience.pause(&error) {
                        Some(pause) if !worn_out || error.is_busy() => {
                            self.tracker.lock().failed(piece, index);
                            self.changed.notify_waiters();
                            tokio::time::sleep(pause).await;
                        }
                        Some(_) | None => self.give_up(index, piece, error.to_string()),
                    }
                }
            }
        }
        Ok(())
    }

    fn give_up(&self, index: usize, piece: usize, reason: String) {
        let holder = &self.participants[index];
        self.tracker.lock().failed(piece, index);
        self.tracker.lock().offer(index, Offer::Nothing);
        if !holder.dropped.swap(true, Ordering::Relaxed) {
            *holder.reason.lock() = Some(reason);
        }
        self.changed.notify_waiters();
    }

    async fn take_piece(&self, holder: &Participant, index: usize) -> Result<Delivery, Failure> {
        let ask = BlobQuestion::Piece(self.hash, index as u32).encode();
        let answer = self.handle.request(Class::Blob, &holder.peer, ask, self.piece_timeout).await;
        let piece = match answer.map_err(Failure::Request).map(BlobAnswer::decode)? {
            Some(BlobAnswer::Piece(piece)) => piece,
            Some(BlobAnswer::No) => return Err(Failure::Gone),
            Some(BlobAnswer::Yes | BlobAnswer::Outline(_) | BlobAnswer::Pieces(_)) | None => {
                return Ok(Delivery::Wrong);
            }
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
    Store(BlobError),
}
