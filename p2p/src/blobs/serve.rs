//! Answers other peers' questions for content.
//!
//! Invariant: at most [`UPLOADS_MAX`] answers are being read or sent; each keeps its permit until the peer's
//! connection has taken it. What waits behind them is bounded by the inbox.

use crate::{
    blobs::{
        protocol::{Answer, Ask},
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
    mut inbox: mpsc::Receiver<IncomingRequest>,
    shutdown: CancellationToken,
) {
    let server = Arc::new(Server { store });
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
}

impl Server {
    fn answer(&self, question: &[u8]) -> Answer {
        let answer = match Ask::decode(question) {
            Some(Ask::Has(hash)) => Ok(self.store.has(hash).then_some(Answer::Yes)),
            Some(Ask::Outline(hash)) => self.store.known_outline(hash).map(|outline| {
                let frame = outline?.encode().expect("an outline is bounded");
                Some(Answer::Outline(frame))
            }),
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

    fn piece(&self, hash: Hash, index: usize) -> Result<Option<Answer>, StoreError> {
        let Some(outline) = self.store.known_outline(hash)? else { return Ok(None) };
        Ok(self.store.piece(hash, &outline, index)?.map(Answer::Piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_what_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open(dir.path()).unwrap();
        let hash = store.put(b"content").unwrap();
        let other = Hash::of(b"other");
        let server = Server { store };
        let outline = server.store.outline(hash).unwrap().unwrap().encode().unwrap();
        let check = |ask: Ask, expected: Answer| assert_eq!(server.answer(&ask.encode()), expected);
        check(Ask::Has(hash), Answer::Yes);
        check(Ask::Has(other), Answer::No);
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
}
