//! Answers the questions of other peers for content.
//!
//! Invariant: at most [`UPLOADS_MAX`] answers are being read or sent, at most [`PER_PEER_MAX`] to one peer,
//! and each keeps its permit until the peer's connection has taken it. So a peer that never reads its answers
//! holds up nobody but itself. What waits is bounded for each peer.

use crate::{
    blobs::{
        outline::Outline,
        sharing::{Sharing, pack},
        store::{BlobError, BlobStore},
    },
    class::Class,
    incoming::IncomingRequest,
    permits::{PeerPermit, PeerPermits, Waiting},
    transfer::protocol::{BlobAnswer, BlobQuestion},
};
use std::sync::Arc;
use tokio::{
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use wire::Hash;

/// Answers that are read and sent at the same time, to all peers together.
const UPLOADS_MAX: usize = 16;
/// Answers that are read and sent at the same time to one peer.
const PER_PEER_MAX: usize = 2;
/// Largest question in bytes.
const QUESTION_BYTES_MAX: usize = 1024;

pub(crate) async fn serve(
    store: BlobStore,
    sharing: Arc<Sharing>,
    mut inbox: mpsc::Receiver<IncomingRequest>,
    shutdown: CancellationToken,
) {
    let server = Arc::new(Server { store, sharing });
    let permits = PeerPermits::new(UPLOADS_MAX, PER_PEER_MAX);
    let mut waiting = Waiting::new(Arc::clone(&permits), Class::Blob.per_peer_max());
    let mut uploads = JoinSet::new();
    let work = async {
        loop {
            tokio::select! {
                request = inbox.recv() => match request {
                    Some(request) if request.bytes.len() <= QUESTION_BYTES_MAX => {
                        waiting.push(request.from.clone(), request);
                    }
                    Some(_) => {} // it is dropped, and the peer learns it
                    None => return,
                },
                () = permits.given_back() => {}
            }
            while uploads.try_join_next().is_some() {}
            while let Some((request, permit)) = waiting.next() {
                let span = tracing::debug_span!("content_request", peer = %request.from);
                uploads.spawn(answer(server.clone(), request, permit).instrument(span));
            }
        }
    };
    shutdown.run_until_cancelled(work).await;
}

async fn answer(server: Arc<Server>, request: IncomingRequest, permit: PeerPermit) {
    if request.reply.is_gone() {
        return;
    }
    let span = tracing::Span::current();
    let answer = spawn_blocking(move || span.in_scope(|| server.answer(&request.bytes))).await;
    let bytes = answer.unwrap_or(BlobAnswer::No).encode();
    let _ = request.reply.send_holding(bytes, permit); // an error means that the peer is gone
}

struct Server {
    store: BlobStore,
    sharing: Arc<Sharing>,
}

impl Server {
    fn answer(&self, question: &[u8]) -> BlobAnswer {
        let answer = match BlobQuestion::decode(question) {
            Some(BlobQuestion::Has(hash)) => Ok(self.store.has(hash).then_some(BlobAnswer::Yes)),
            Some(BlobQuestion::Outline(hash)) => self.outline(hash).map(|outline| {
                let frame = outline?.encode().expect("an outline is bounded");
                Some(BlobAnswer::Outline(frame))
            }),
            Some(BlobQuestion::Pieces(hash)) if self.store.has(hash) => Ok(Some(BlobAnswer::Yes)),
            Some(BlobQuestion::Pieces(hash)) => {
                Ok(self.sharing.had(hash).map(|had| BlobAnswer::Pieces(pack(&had))))
            }
            Some(BlobQuestion::Piece(hash, index)) => self.piece(hash, index as usize),
            None => Ok(None),
        };
        match answer {
            Ok(answer) => answer.unwrap_or(BlobAnswer::No),
            Err(error) => {
                tracing::error!(%error, "cannot serve content");
                BlobAnswer::No
            }
        }
    }

    fn outline(&self, hash: Hash) -> Result<Option<Arc<Outline>>, BlobError> {
        let whole = self.store.known_outline(hash)?;
        Ok(whole.or_else(|| self.sharing.outline(hash).map(Arc::new)))
    }

    fn piece(&self, hash: Hash, index: usize) -> Result<Option<BlobAnswer>, BlobError> {
        let whole = match self.store.known_outline(hash)? {
            Some(outline) => self.store.piece(hash, &outline, index)?,
            None => None,
        };
        let piece = match whole {
            Some(piece) => Some(piece),
            None => self.sharing.piece(hash, index)?,
        };
        Ok(piece.map(BlobAnswer::Piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::{outline::PIECE_BYTES, partial::Partial, tracker::Tracker};
    use parking_lot::Mutex;

    #[test]
    fn answers_what_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let hash = store.put(b"content").unwrap();
        let other = Hash::of(b"other");
        let server = Server { store, sharing: Arc::default() };
        let outline = server.store.outline(hash).unwrap().unwrap().encode().unwrap();
        let check =
            |ask: BlobQuestion, expected: BlobAnswer| assert_eq!(server.answer(&ask.encode()), expected);
        check(BlobQuestion::Has(hash), BlobAnswer::Yes);
        check(BlobQuestion::Has(other), BlobAnswer::No);
        check(BlobQuestion::Pieces(hash), BlobAnswer::Yes);
        check(BlobQuestion::Pieces(other), BlobAnswer::No);
        check(BlobQuestion::Outline(hash), BlobAnswer::Outline(outline));
        check(BlobQuestion::Outline(other), BlobAnswer::No);
        check(BlobQuestion::Piece(hash, 0), BlobAnswer::Piece(b"content".to_vec()));
        check(BlobQuestion::Piece(hash, 1), BlobAnswer::No);
        check(BlobQuestion::Piece(hash, u32::MAX), BlobAnswer::No);
        check(BlobQuestion::Piece(other, 0), BlobAnswer::No);
        assert_eq!(server.answer(b"nonsense"), BlobAnswer::No);
        // Damage that came after the outline was made is not served, either.
        std::fs::write(server.store.path(hash), b"damaged").unwrap();
        check(BlobQuestion::Piece(hash, 0), BlobAnswer::No);
        check(BlobQuestion::Has(hash), BlobAnswer::No);
    }

    #[test]
    fn what_is_there_of_an_unfinished_fetch_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let content: Vec<u8> = (0..2 * PIECE_BYTES + 100).map(|i| (i / 1000) as u8).collect();
        let (hash, outline) = (Hash::of(&content), Outline::read(&content[..], 0).unwrap());
        let partial = Arc::new(Partial::begin(&store, hash, outline.clone()).unwrap());
        let tracker = Arc::new(Mutex::new(Tracker::new(&[false; 3], 1)));
        let server = Server { store, sharing: Arc::default() };
        let check = |ask: BlobQuestion, expected: BlobAnswer| {
            assert_eq!(server.answer(&ask.encode()), expected, "{ask:?}")
        };
        check(BlobQuestion::Pieces(hash), BlobAnswer::No);
        let guard = server.sharing.share(hash, Arc::clone(&partial), Arc::clone(&tracker));
        check(BlobQuestion::Pieces(hash), BlobAnswer::Pieces(vec![0]));
        check(BlobQuestion::Outline(hash), BlobAnswer::Outline(outline.encode().unwrap()));
        let last = content[2 * PIECE_BYTES..].to_vec();
        partial.write(2, &last).unwrap();
        check(BlobQuestion::Piece(hash, 2), BlobAnswer::No); // it may be half written
        tracker.lock().got(2);
        check(BlobQuestion::Piece(hash, 2), BlobAnswer::Piece(last));
        check(BlobQuestion::Piece(hash, 0), BlobAnswer::No);
        check(BlobQuestion::Piece(hash, 9), BlobAnswer::No);
        check(BlobQuestion::Pieces(hash), BlobAnswer::Pieces(vec![4]));
        check(BlobQuestion::Has(hash), BlobAnswer::No);
        partial.write(2, &[7; 100]).unwrap(); // as if the disk had failed
        check(BlobQuestion::Piece(hash, 2), BlobAnswer::No);
        drop(guard);
        check(BlobQuestion::Pieces(hash), BlobAnswer::No);
    }
}
