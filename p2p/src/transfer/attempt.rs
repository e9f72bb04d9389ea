//! One fetch: it finds an outline, then takes the pieces, and searches for more holders when those that it
//! knows fail.
//!
//! Invariant: a size is believed only after the last piece has proved it, and no peer is asked again that was
//! dropped.

use crate::{
    blobs::{
        local::blocking,
        outline::Outline,
        partial::Partial,
        store::BlobError,
        tracker::{Offer, Tracker},
    },
    class::Class,
    handle::P2pHandle,
    transfer::{
        download::{Participant, Patience, PieceDownload},
        error::FetchError,
        limits::{FetchLimits, FetchReport},
        protocol::{BlobAnswer, BlobQuestion},
    },
};
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tracing::Instrument;
use wire::Hash;

/// How often a fetch searches for further holders when those that it was given do not suffice.
const SEARCHES_MAX: u32 = 3;
/// How many connected peers beside the holders are asked whether they are fetching the content as well.
const COMPANIONS_MAX: usize = 16;
/// How long a fetch waits for companions to get what no holder delivers.
const STUCK_MAX: Duration = Duration::from_secs(2);
/// How often a fetch looks whether it is stuck.
const STUCK_INTERVAL: Duration = Duration::from_millis(250);

pub(super) struct FetchAttempt<'a> {
    handle: &'a P2pHandle,
    hash: Hash,
    size_hint: Option<u64>,
    limits: FetchLimits,
    report: FetchReport,
    tried: Vec<String>,
}

impl<'a> FetchAttempt<'a> {
    pub(super) fn new(
        handle: &'a P2pHandle,
        hash: Hash,
        size_hint: Option<u64>,
        limits: FetchLimits,
    ) -> Self {
        Self { handle, hash, size_hint, limits, report: FetchReport::default(), tried: Vec::new() }
    }

    pub(super) async fn run(&mut self, mut holders: Vec<String>) -> Result<FetchReport, FetchError> {
        let (store, hash) = (self.handle.blobs().clone(), self.hash);
        let mut found = blocking(move || Partial::resume(&store, hash)).await?;
        if let Some((partial, had)) = &found {
            self.check_size(partial.outline())?;
            self.report.resumed = had.iter().filter(|had| **had).count();
        }
        holders.retain(|holder| *holder != self.handle.peer_id());
        let mut download = None;
        let mut _shared = None;
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
                let (partial, seed) = (Arc::new(partial), rand::random());
                let tracker = Arc::new(Mutex::new(Tracker::new(&had, seed)));
                let sharing = &self.handle.0.content.sharing;
                _shared = Some(sharing.share(hash, Arc::clone(&partial), Arc::clone(&tracker)));
                download = Some((partial, tracker));
            }
            if let Some((partial, tracker)) = &download {
                self.download(partial, tracker, &holders).await?;
                if tracker.lock().is_done() {
                    let partial = partial.clone();
                    blocking(move || partial.finish()).await?;
                    return Ok(std::mem::take(&mut self.report));
                }
            }
        }
        let dropped = std::mem::take(&mut self.report.dropped);
        Err(match download {
            Some((_, tracker)) => FetchError::Incomplete { hash, left: tracker.lock().left(), dropped },
            None => FetchError::NoHolders { hash, dropped },
        })
    }

    fn check_size(&self, outline: &Outline) -> Result<(), FetchError> {
        let (size, limit) = (outline.size(), self.limits.bytes_max);
        if size > limit { Err(FetchError::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// Finds an outline and proves its size by the last piece, which the same peer must deliver.
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
                        Ok::<_, BlobError>(partial)
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
        let answer = self.ask(holder, BlobQuestion::Outline(self.hash)).await?;
        let outline = match answer {
            BlobAnswer::Outline(bytes) => Outline::decode(&bytes, self.hash),
            BlobAnswer::No => return Err("does not have it".into()),
            BlobAnswer::Yes | BlobAnswer::Piece(_) | BlobAnswer::Pieces(_) => None,
        };
        let outline = outline.ok_or("sent a wrong outline")?;
        if self.size_hint.is_some_and(|size| size != outline.size()) {
            return Err("claims a wrong size".into());
        }
        let last = outline.count() - 1;
        match self.ask(holder, BlobQuestion::Piece(self.hash, last as u32)).await? {
            BlobAnswer::Piece(piece) if outline.is_piece(last, &piece) => Ok((outline, piece)),
            BlobAnswer::No
            | BlobAnswer::Yes
            | BlobAnswer::Outline(_)
            | BlobAnswer::Piece(_)
            | BlobAnswer::Pieces(_) => Err("cannot prove the size".into()),
        }
    }

    /// Asks until there is an answer, or until the holder has failed too often.
    async fn ask(&self, holder: &str, ask: BlobQuestion) -> Result<BlobAnswer, String> {
        let mut patience = Patience::default();
        loop {
            let answer =
                self.handle.request(Class::Blob, holder, ask.encode(), self.limits.piece_timeout).await;
            match answer {
                Ok(bytes) => return BlobAnswer::decode(bytes).ok_or_else(|| "sent nonsense".into()),
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

    /// Takes what is missing from `holders`, until all pieces are here or every holder is dropped.
    async fn download(
        &mut self,
        partial: &Arc<Partial>,
        tracker: &Arc<Mutex<Tracker>>,
        holders: &[String],
    ) -> Result<(), FetchError> {
        let participants = self.participants(holders);
        let offer = |it: &Participant| if it.is_companion() { Offer::Nothing } else { Offer::All };
        tracker.lock().begin(participants.iter().map(offer).collect());
        let download = Arc::new(PieceDownload::new(
            self.handle.clone(),
            self.hash,
            self.limits.piece_timeout,
            partial.clone(),
            tracker.clone(),
            participants,
        ));
        self.work(&download, tracker).await?;
        self.account(&download);
        Ok(())
    }

    /// The holders, and connected peers that may be fetching the content as well.
    fn participants(&self, holders: &[String]) -> Vec<Participant> {
        let mut participants: Vec<Participant> =
            holders.iter().map(|peer| Participant::holder(peer)).collect();
        let others = self.handle.peers().borrow().iter().map(|peer| peer.peer_id.clone()).collect::<Vec<_>>();
        let others = others.into_iter().filter(|peer| !self.tried.contains(peer) && !holders.contains(peer));
        participants.extend(others.take(COMPANIONS_MAX).map(|peer| Participant::companion(&peer)));
        participants
    }

    /// Runs the workers until all pieces are here, or nobody offers what is left.
    async fn work(&self, download: &Arc<PieceDownload>, tracker: &Mutex<Tracker>) -> Result<(), BlobError> {
        let mut workers = JoinSet::new();
        for (index, participant) in download.participants().iter().enumerate() {
            let span = tracing::debug_span!("participant", peer = participant.peer());
            for _ in 0..self.limits.in_flight.clamp(1, 8) {
                workers.spawn(download.clone().take_pieces(index).instrument(span.clone()));
            }
            if participant.is_companion() {
                workers.spawn(download.clone().follow(index).instrument(span));
            }
        }
        let mut stuck: Option<Instant> = None;
        loop {
            let ended = tokio::select! {
                ended = workers.join_next() => ended,
                () = tokio::time::sleep(STUCK_INTERVAL) => {
                    stuck = tracker.lock().is_stuck().then(|| stuck.unwrap_or_else(Instant::now));
                    if stuck.is_some_and(|since| since.elapsed() >= STUCK_MAX) {
                        break;
                    }
                    continue;
                }
            };
            match ended {
                None => break,
                Some(Ok(result)) => result?,
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()), // nobody aborts a worker
            }
            // Once every holder is dropped, companions that have nothing will get nothing.
            if tracker.lock().is_done() || download.is_over() {
                break; // the other workers wait for peers that are no longer needed; dropping the set stops them
            }
        }
        Ok(())
    }

    /// Adds to the report what each participant delivered, and why it was dropped.
    fn account(&mut self, download: &PieceDownload) {
        self.report.duplicates += download.duplicates();
        for participant in download.participants() {
            let (peer, fetched, reason) = (participant.peer(), participant.fetched(), participant.reason());
            if participant.is_companion() && fetched == 0 && reason.is_none() {
                continue;
            }
            match self.report.fetched.iter_mut().find(|(known, _)| known == peer) {
                Some((_, count)) => *count += fetched,
                None => self.report.fetched.push((peer.to_owned(), fetched)),
            }
            if let Some(reason) = reason {
                self.drop_holder(peer.to_owned(), reason);
            }
        }
    }
}
