//! Models and segments by their hash, for nodes that the swarm does not reach and for operators.
//!
//! Invariant: the interface serves only content that the cluster knows, or that waits here for its
//! acknowledgement. It is sent piece by piece, and each piece is checked. A few transfers run at once; one
//! that stalls gives way to the next.

use super::{
    front::{Front, Shared},
    operator::Operator,
    range::{self, ByteRange},
    refused::Refused,
    transfers::Transfer,
};
use crate::{
    api::content::Pulled,
    peer::{Context, WorkError, blocking},
    segments::Segments,
};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cluster_state::{ModelId, SegmentId};
use p2p::blobs::{BlobStore, Outline, PIECE_BYTES};
use std::{io, ops::Range, sync::Arc, time::Instant};
use wire::Hash;

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/v1/blobs/{hash}", get(get_blob))
        .route("/v1/blobs/{hash}/outline", get(get_outline))
        .route("/v1/blobs/{hash}/pull", post(pull))
}

/// Fetches a model or a segment to this node, by the first way of transfer that succeeds.
async fn pull(Operator(node): Operator, Path(name): Path<String>) -> Result<Json<Pulled>, Refused> {
    let hash: Hash = name.parse().map_err(|_| unknown())?;
    let state = node.raft.local();
    let (model, segment) = (state.models.get(&ModelId(hash)), state.segments.get(&SegmentId(hash)));
    let (kind, config_key, brought) = match (model, segment) {
        (Some(it), _) => {
            ("model", &it.config_key, Box::pin(node.get_or_fetch_model(ModelId(hash), &it.holders)).await)
        }
        (None, Some(it)) => {
            let brought = node.get_or_fetch_segment(SegmentId(hash), &it.holders);
            ("segment", &it.config_key, Box::pin(brought).await)
        }
        (None, None) => return Err(unknown()),
    };
    let bytes = brought.map_err(|error| Refused(StatusCode::BAD_GATEWAY, error.to_string()))?;
    Ok(Json(Pulled {
        hash,
        kind: kind.to_owned(),
        config_key: config_key.clone(),
        size: bytes.len() as u64,
        path: node.blobs.path(hash),
    }))
}

/// Whether other nodes may have a content: it must be a model or a segment, not bytes that a peer merely
/// sent.
fn may_be_given(node: &Context, segments: &Segments, hash: Hash) -> Result<bool, WorkError> {
    let state = node.raft.local();
    let known = state.models.contains_key(&ModelId(hash)) || state.segments.get(&SegmentId(hash)).is_some();
    Ok(known || segments.is_pending(&SegmentId(hash))?)
}

fn failed(error: impl std::fmt::Display) -> Refused {
    tracing::error!(%error, "cannot serve content");
    Refused(StatusCode::INTERNAL_SERVER_ERROR, "the content cannot be read".to_owned())
}

fn unknown() -> Refused {
    Refused(StatusCode::NOT_FOUND, "there is no such model or segment here".to_owned())
}

/// A content that other nodes may have.
#[derive(Clone)]
struct Content {
    blobs: BlobStore,
    hash: Hash,
    outline: Arc<Outline>,
}

/// The content with this name, and the permission to send it.
async fn find(front: &Front, name: &str) -> Result<(Content, Transfer), Refused> {
    let handles = front.handles()?;
    let (node, segments) = (Arc::clone(&handles.node), handles.segments.clone());
    let hash: Hash = name.parse().map_err(|_| unknown())?;
    let busy = || Refused(StatusCode::SERVICE_UNAVAILABLE, "too many transfers".to_owned());
    let transfer = front.transfers.begin(Instant::now()).ok_or_else(busy)?;
    let blobs = node.blobs.clone();
    let found = blocking(move || {
        let outline =
            if may_be_given(&node, &segments, hash)? { node.blobs.known_outline(hash)? } else { None };
        Ok::<_, WorkError>(outline)
    });
    let outline = found.await.map_err(failed)?.map_err(failed)?.ok_or_else(unknown)?;
    Ok((Content { blobs, hash, outline }, transfer))
}

async fn get_outline(State(front): Shared, Path(name): Path<String>) -> Result<Response, Refused> {
    let (content, _transfer) = find(&front, &name).await?;
    let bytes = content.outline.encode().map_err(failed)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

async fn get_blob(
    State(front): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (content, transfer) = find(&front, &name).await?;
    Ok(content.respond(transfer, &headers))
}

impl Content {
    /// The response with the whole content, or with the part that the headers ask for.
    fn respond(self, transfer: Transfer, headers: &HeaderMap) -> Response {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let (tag, size) = (format!("\"{}\"", self.hash), self.outline.size());
        let same = text(header::IF_NONE_MATCH).is_some_and(|tags| tags == "*" || tags.contains(&tag));
        let fixed = [(header::ETAG, tag.clone()), (header::ACCEPT_RANGES, "bytes".to_owned())];
        if same {
            return (StatusCode::NOT_MODIFIED, fixed).into_response();
        }
        // With an `If-Range` of another content, the whole content is the answer.
        let range = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|of| of == tag));
        let (bytes, partial) = match range::parse(range, size) {
            ByteRange::All => (0..size, None),
            ByteRange::Bytes(bytes) => {
                let within = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
                (bytes, Some([(header::CONTENT_RANGE, within)]))
            }
            ByteRange::Outside => {
                let within = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
                return (StatusCode::RANGE_NOT_SATISFIABLE, fixed, within).into_response();
            }
        };
        let length = (bytes.end - bytes.start).to_string();
        let kind = "application/octet-stream".to_owned();
        let more = [(header::CONTENT_LENGTH, length), (header::CONTENT_TYPE, kind)];
        let body = self.body(bytes, transfer);
        match partial {
            Some(within) => (StatusCode::PARTIAL_CONTENT, fixed, more, within, body).into_response(),
            None => (StatusCode::OK, fixed, more, body).into_response(),
        }
    }

    /// These bytes, piece by piece, for as long as the transfer may continue.
    fn body(self, bytes: Range<u64>, transfer: Transfer) -> Body {
        let pieces = futures::stream::try_unfold((bytes, transfer), move |(left, transfer)| {
            let content = self.clone();
            async move {
                if left.is_empty() {
                    return Ok(None);
                }
                if !transfer.goes_on(Instant::now()) {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "it stalled, and others wait"));
                }
                let bytes = left.clone();
                let piece = blocking(move || content.part(bytes)).await.map_err(io::Error::other)??;
                let read = left.start + piece.len() as u64;
                Ok(Some((piece, (read..left.end, transfer))))
            }
        });
        Body::from_stream(pieces)
    }

    /// The first of these bytes, up to the end of the piece that they begin in. The piece is checked.
    fn part(&self, bytes: Range<u64>) -> io::Result<Vec<u8>> {
        let index = (bytes.start / PIECE_BYTES as u64) as usize;
        let piece = self.blobs.piece(self.hash, &self.outline, index).map_err(io::Error::other)?;
        let mut piece = piece.ok_or(io::ErrorKind::NotFound)?;
        let begin = index as u64 * PIECE_BYTES as u64;
        let end = bytes.end.min(begin + piece.len() as u64);
        piece.truncate((end - begin) as usize);
        piece.drain(..(bytes.start - begin) as usize);
        Ok(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::transfers::Transfers;

    #[tokio::test]
    async fn what_is_sent_is_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(folder.path()).unwrap();
        let bytes: Vec<u8> = (0..2 * PIECE_BYTES + 11).map(|i| (i / 321) as u8).collect();
        let hash = blobs.put(&bytes).unwrap();
        let outline = blobs.known_outline(hash).unwrap().unwrap();
        let content = Content { blobs: blobs.clone(), hash, outline };
        let all = Arc::new(Transfers::default());
        let check = async |headers: &[(header::HeaderName, &str)], status: u16, range: Range<usize>| {
            let headers =
                headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            let transfer = all.begin(Instant::now()).unwrap();
            let answer = content.clone().respond(transfer, &headers);
            assert_eq!(answer.status().as_u16(), status, "{headers:?}");
            assert_eq!(answer.headers()[header::ETAG], format!("\"{hash}\""));
            let told = answer.headers().get(header::CONTENT_LENGTH).cloned();
            let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            assert!(body == bytes[range.clone()], "{headers:?}");
            if status < 300 {
                assert_eq!(told.unwrap(), range.len().to_string());
            }
        };
        let (p, end) = (PIECE_BYTES, bytes.len());
        check(&[], 200, 0..end).await;
        check(&[(header::RANGE, "bytes=5-9")], 206, 5..10).await;
        check(&[(header::RANGE, &format!("bytes={}-{}", p - 1, 2 * p))], 206, p - 1..2 * p + 1).await;
        check(&[(header::RANGE, "bytes=-11")], 206, 2 * p..end).await;
        check(&[(header::RANGE, &format!("bytes={end}-"))], 416, 0..0).await;
        check(&[(header::RANGE, "bytes=5-9"), (header::IF_RANGE, "\"other\"")], 200, 0..end).await;
        check(&[(header::IF_NONE_MATCH, &format!("\"{hash}\""))], 304, 0..0).await;
        assert_eq!(all.count(), 0, "every transfer has ended");
        // Damaged bytes on the disk are never sent.
        std::fs::write(blobs.path(hash), vec![1; end]).unwrap();
        let transfer = all.begin(Instant::now()).unwrap();
        let answer = content.respond(transfer, &HeaderMap::new());
        assert!(axum::body::to_bytes(answer.into_body(), usize::MAX).await.is_err());
    }
}
