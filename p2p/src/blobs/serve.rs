//! Answers other peers' questions for content.
//!
//! Invariant: at most [`UPLOADS_MAX`] answers are being read or sent; each keeps its permit until the peer's
//! connection has taken it. What waits behind them is bounded by the inbox.

use crate::{
    blobs::{
        outline::Outline,
        protocol::{Answer, Ask},
        sharing::{Sharing, pack},
        store::{BlobStore, StoreError},
    },
    handle::IncomingRequest,
};
use std::sync::Arc;
use tokio::{
    sync::{Semaphore, mpsc},
    task::{JoinSet, spawn_blocking},
};
use tokio_util::sync::CancellationToken;
use wire::Hash;

const UPLOADS_MAX: usize = 16;

pub(crate) async fn serve(
    store: BlobStore,
    sharing: Arc<Sharing>,
    mut inbox: mpsc::Receiver<IncomingRequest>,
    shutdown: CancellationToken,
) {
    let server = Arc::new(Server { store, sharing });
    let permits = Arc::new(Semaphore::new(UPLOADS_MAX));
    let mut uploads = JoinSet::new();
    let work = async {
        while let Some(request) = inbox.recv().await {
            let Ok(permit) = permits.clone().acquire_owned().await else { return };
            while uploads.try_join_next().is_some() {}
            let server = server.clone();
            uploads.spawn(async move {
                if request.reply.is_gone() {
                    return;
                }
                let answer = spawn_blocking(move || server.answer(&request.bytes)).await;
                let bytes = answer.unwrap_or(Answer::No).encode();
                let _ = request.reply.send_holding(bytes, permit); // the peer is gone
            });
        }
    };
    shutdown.run_until_cancelled(work).await;
}

struct Server {
    store: BlobStore,
    sharing: Arc<Sharing>,
}

impl Server {
    fn answer(&self, question: &[u8]) -> Answer {
        let answer = match Ask::decode(question) {
            Some(Ask::Has(hash)) => Ok(self.store.has(hash).then_some(Answer::Yes)),
            Some(Ask::Outline(hash)) => self.outline(hash).map(|outline| {
                let frame = outline?.encode().expect("an outline is bounded");
                Some(Answer::Outline(frame))
            }),
            Some(Ask::Pieces(hash)) if self.store.has(hash) => Ok(Some(Answer::Yes)),
            Some(Ask::Pieces(hash)) => Ok(self.sharing.had(hash).map(|had| Answer::Pieces(pack(&had)))),
            Some(Ask::Piece(hash, index)) => self.piece(hash, index as usize),
            None => Ok(None),
        };
        match answer {
            Ok(answer) => answer.unwrap_or(Answer::No),
            Err(error) => {
                tracing::error!(%error, "cannot serve content");
                Answer::No
            }
        }
    }

    fn outline(&self, hash: Hash) -> Result<Option<Arc<Outline>>, StoreError> {
        let whole = self.store.known_outline(hash)?;
        Ok(whole.or_else(|| self.sharing.outline(hash).map(Arc::new)))
    }

    fn piece(&self, hash: Hash, index: usize) -> Result<Option<Answer>, StoreError> {
        let whole = match self.store.known_outline(hash)? {
            Some(outline) => self.store.piece(hash, &outline, index)?,
            None => None,
        };
        let piece = match whole {
            Some(piece) => Some(piece),
            None => self.sharing.piece(hash, index)?,
        };
        Ok(piece.map(Answer::Piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::{outline::PIECE_BYTES, partial::Partial, tracker::Tracker};
    use std::sync::Mutex;

    #[test]
    fn answers_what_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let hash = store.put(b"content").unwrap();
        let other = Hash::of(b"other");
        let server = Server { store, sharing: Arc::default() };
        let outline = server.store.outline(hash).unwrap().unwrap().encode().unwrap();
        let check = |ask: Ask, expected: Answer| assert_eq!(server.answer(&ask.encode()), expected);
        check(Ask::Has(hash), Answer::Yes);
        check(Ask::Has(other), Answer::No);
        check(Ask::Pieces(hash), Answer::Yes);
        check(Ask::Pieces(other), Answer::No);
        check(Ask::Outline(hash), Answer::Outline(outline));
        check(Ask::Outline(other), Answer::No);
        check(Ask::Piece(hash, 0), Answer::Piece(b"content".to_vec()));
        check(Ask::Piece(hash, 1), Answer::No);
        check(Ask::Piece(hash, u32::MAX), Answer::No);
        check(Ask::Piece(other, 0), Answer::No);
        assert_eq!(server.answer(b"nonsense"), Answer::No);
        // Damage that came after the outline was made is not served, either.
        std::fs::write(server.store.path(hash), b"damaged").unwrap();
        check(Ask::Piece(hash, 0), Answer::No);
        check(Ask::Has(hash), Answer::No);
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
        let check =
            |ask: Ask, expected: Answer| assert_eq!(server.answer(&ask.encode()), expected, "{ask:?}");
        check(Ask::Pieces(hash), Answer::No);
        let guard = server.sharing.share(hash, Arc::clone(&partial), Arc::clone(&tracker));
        check(Ask::Pieces(hash), Answer::Pieces(vec![0]));
        check(Ask::Outline(hash), Answer::Outline(outline.encode().unwrap()));
        let last = content[2 * PIECE_BYTES..].to_vec();
        partial.write(2, &last).unwrap();
        check(Ask::Piece(hash, 2), Answer::No); // it may be half written
        tracker.lock().unwrap().got(2);
        check(Ask::Piece(hash, 2), Answer::Piece(last));
        check(Ask::Piece(hash, 0), Answer::No);
        check(Ask::Piece(hash, 9), Answer::No);
        check(Ask::Pieces(hash), Answer::Pieces(vec![4]));
        check(Ask::Has(hash), Answer::No);
        partial.write(2, &[7; 100]).unwrap(); // as if the disk had failed
        check(Ask::Piece(hash, 2), Answer::No);
        drop(guard);
        check(Ask::Pieces(hash), Answer::No);
    }
}
