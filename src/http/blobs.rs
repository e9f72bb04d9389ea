//! Models and segments by their hash: for nodes that the swarm does not reach, and for operators.
//!
//! Invariant: only what the cluster knows, or what this node waits to have acknowledged, is served, piece by piece and
//! each piece checked. A few transfers go on at once; one that stalls gives way to the next.

use super::{Front, Refused, Shared, events::allowed};
use crate::{
    api::content::Pulled,
    peer::{Node, WorkError, blocking},
};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use p2p::blobs::{BlobStore, Outline, PIECE_BYTES};
use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use wire::Hash;

/// Transfers at once.
const TRANSFERS_MAX: usize = 8;
/// A transfer of which no piece was taken for this long gives way.
const STALL: Duration = Duration::from_secs(15);

pub(super) fn router() -> Router<Arc<Front>> {
    Router::new()
        .route("/v1/blobs/{hash}", get(get_blob))
        .route("/v1/blobs/{hash}/outline", get(get_outline))
        .route("/v1/blobs/{hash}/pull", post(pull))
}

/// Has a model or a segment brought here, by whichever way leads to it.
async fn pull(
    State(front): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Pulled>, Refused> {
    let node = allowed(&front, &headers)?;
    let hash: Hash = name.parse().map_err(|_| unknown())?;
    let state = node.raft.local();
    let model = state.models.get(&hash).map(|model| ("model", &model.config_key, &model.holders));
    let segment = state.segments.get(&hash);
    let segment = segment.map(|segment| ("segment", &segment.config_key, &segment.holders));
    let (kind, config_key, holders) = model.or(segment).ok_or_else(unknown)?;
    let brought = Box::pin(node.obtain(hash, holders)).await;
    let bytes = brought.map_err(|error| Refused(StatusCode::BAD_GATEWAY, error.to_string()))?;
    Ok(Json(Pulled {
        hash,
        kind: kind.to_owned(),
        config_key: config_key.clone(),
        size: bytes.len() as u64,
        path: node.blobs.path(hash),
    }))
}

/// Transfers that are going on: when each last took a piece.
#[derive(Default)]
pub(super) struct Transfers(Mutex<(u64, BTreeMap<u64, Instant>)>);

impl Transfers {
    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Instant>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new transfer, if there is room or one that stalls.
    fn begin(self: &Arc<Self>, now: Instant) -> Option<Transfer> {
        let mut inner = self.lock();
        let (next, going_on) = &mut *inner;
        going_on.retain(|_, at| now.saturating_duration_since(*at) < STALL);
        if going_on.len() >= TRANSFERS_MAX {
            return None;
        }
        *next += 1;
        going_on.insert(*next, now);
        Some(Transfer { all: Arc::clone(self), number: *next })
    }
}

/// One of them.
struct Transfer {
    all: Arc<Transfers>,
    number: u64,
}

impl Transfer {
    /// Says whether it may go on.
    fn goes_on(&self, now: Instant) -> bool {
        self.all.lock().1.get_mut(&self.number).map(|at| *at = now).is_some()
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.all.lock().1.remove(&self.number);
    }
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Everything: there is none, or one that may be ignored (RFC 9110, section 14.2).
    All,
    /// These bytes.
    Bytes(Range<u64>),
    /// Bytes that there are not.
    Outside,
}

fn asked(range: Option<&str>, size: u64) -> Asked {
    let Some(bounds) = range.and_then(|range| range.trim().strip_prefix("bytes=")) else { return Asked::All };
    let Some((from, to)) = bounds.trim().split_once('-') else { return Asked::All };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(from) || !digits(to) {
        return Asked::All; // several ranges, or none
    }
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let (begin, end) = match (from, to) {
        ("", "") => return Asked::All,
        ("", last) => (size.saturating_sub(number(last)), size),
        (first, "") => (number(first), size),
        (first, last) if number(first) > number(last) => return Asked::All,
        (first, last) => (number(first), number(last).saturating_add(1).min(size)),
    };
    if begin < end { Asked::Bytes(begin..end) } else { Asked::Outside }
}

impl Node {
    /// Whether a content is one that others may have: a model or a segment, not what somebody merely sent.
    fn gives(&self, hash: Hash) -> Result<bool, WorkError> {
        let state = self.raft.local();
        let known = state.models.contains_key(&hash) || state.segments.get(&hash).is_some();
        Ok(known || self.pending.lists(&hash)?)
    }
}

fn failed(error: impl std::fmt::Display) -> Refused {
    tracing::error!(%error, "cannot serve content");
    Refused(StatusCode::INTERNAL_SERVER_ERROR, "the content cannot be read".to_owned())
}

fn unknown() -> Refused {
    Refused(StatusCode::NOT_FOUND, "there is no such model or segment here".to_owned())
}

/// The content's pieces, if it may be given; and the permission to send it.
async fn find(front: &Front, name: &str) -> Result<(BlobStore, Hash, Arc<Outline>, Transfer), Refused> {
    let node = Arc::clone(front.node()?);
    let hash: Hash = name.parse().map_err(|_| unknown())?;
    let busy = || Refused(StatusCode::SERVICE_UNAVAILABLE, "too many transfers".to_owned());
    let transfer = front.transfers.begin(Instant::now()).ok_or_else(busy)?;
    let blobs = node.blobs.clone();
    let found = blocking(move || {
        let outline = if node.gives(hash)? { node.blobs.known_outline(hash)? } else { None };
        Ok::<_, WorkError>(outline)
    });
    match found.await.map_err(failed)?.map_err(failed)? {
        Some(outline) => Ok((blobs, hash, outline, transfer)),
        None => Err(unknown()),
    }
}

async fn get_outline(State(front): Shared, Path(name): Path<String>) -> Result<Response, Refused> {
    let (_, _, outline, _transfer) = find(&front, &name).await?;
    let bytes = outline.encode().map_err(failed)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}

async fn get_blob(
    State(front): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (blobs, hash, outline, transfer) = find(&front, &name).await?;
    Ok(respond(blobs, hash, outline, transfer, &headers))
}

/// The content, or the part of it that the headers ask for.
fn respond(
    blobs: BlobStore,
    hash: Hash,
    outline: Arc<Outline>,
    transfer: Transfer,
    headers: &HeaderMap,
) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (tag, size) = (format!("\"{hash}\""), outline.size());
    let same = text(header::IF_NONE_MATCH).is_some_and(|tags| tags == "*" || tags.contains(&tag));
    let fixed = [(header::ETAG, tag.clone()), (header::ACCEPT_RANGES, "bytes".to_owned())];
    if same {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    // A range of another content is not wanted.
    let range = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|of| of == tag));
    let (status, bytes, content_range) = match asked(range, size) {
        Asked::All => (StatusCode::OK, 0..size, None),
        Asked::Bytes(bytes) => {
            let told = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
            (StatusCode::PARTIAL_CONTENT, bytes, Some(told))
        }
        Asked::Outside => {
            let told = [(header::CONTENT_RANGE, format!("bytes */{size}"))];
            return (StatusCode::RANGE_NOT_SATISFIABLE, fixed, told).into_response();
        }
    };
    let length = (bytes.end - bytes.start).to_string();
    let more =
        [(header::CONTENT_LENGTH, length), (header::CONTENT_TYPE, "application/octet-stream".to_owned())];
    let told = content_range.map(|told| [(header::CONTENT_RANGE, told)]);
    let pieces = futures::stream::try_unfold((bytes, transfer), move |(left, transfer)| {
        let (blobs, outline) = (blobs.clone(), Arc::clone(&outline));
        async move {
            if left.is_empty() {
                return Ok(None);
            }
            if !transfer.goes_on(Instant::now()) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it stalled, and others wait"));
            }
            let index = (left.start / PIECE_BYTES as u64) as usize;
            let read = blocking(move || blobs.piece(hash, &outline, index)).await;
            let piece = read.map_err(io::Error::other)?.map_err(io::Error::other)?;
            let Some(mut piece) = piece else { return Err(io::ErrorKind::NotFound.into()) };
            let begin = index as u64 * PIECE_BYTES as u64;
            let end = left.end.min(begin + piece.len() as u64);
            piece.truncate((end - begin) as usize);
            piece.drain(..(left.start - begin) as usize);
            Ok(Some((piece, (end..left.end, transfer))))
        }
    });
    let body = Body::from_stream(pieces);
    match told {
        Some(told) => (status, fixed, more, told, body).into_response(),
        None => (status, fixed, more, body).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_the_standard_has_them() {
        let check =
            |range: Option<&str>, expected: Asked| assert_eq!(asked(range, 100), expected, "{range:?}");
        check(None, Asked::All);
        check(Some("bytes=0-0"), Asked::Bytes(0..1));
        check(Some("bytes=10-19"), Asked::Bytes(10..20));
        check(Some("bytes=10-"), Asked::Bytes(10..100));
        check(Some("bytes=90-1000"), Asked::Bytes(90..100));
        check(Some("bytes=-7"), Asked::Bytes(93..100));
        check(Some("bytes=-1000"), Asked::Bytes(0..100));
        check(Some("bytes=100-"), Asked::Outside);
        check(Some("bytes=99999999999999999999-"), Asked::Outside);
        check(Some("bytes=-0"), Asked::Outside);
        for ignored in ["bytes=5-4", "bytes=-", "bytes=a-b", "bytes=1-2,5-6", "lines=1-2", "bytes=+1-2", ""] {
            check(Some(ignored), Asked::All);
        }
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Outside);
    }

    #[test]
    fn a_transfer_that_stalls_gives_way() {
        let all = Arc::new(Transfers::default());
        let start = Instant::now();
        let mut going_on: Vec<Transfer> = (0..TRANSFERS_MAX).filter_map(|_| all.begin(start)).collect();
        assert_eq!(going_on.len(), TRANSFERS_MAX);
        assert!(all.begin(start).is_none());
        drop(going_on.pop());
        let last = all.begin(start).unwrap();
        let later = start + STALL;
        assert!(last.goes_on(later));
        let next = all.begin(later).unwrap();
        assert!(next.goes_on(later) && last.goes_on(later) && !going_on[0].goes_on(later));
        drop((going_on, last, next));
        assert!(all.lock().1.is_empty());
    }

    #[tokio::test]
    async fn what_is_sent_is_what_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(folder.path()).unwrap();
        let content: Vec<u8> = (0..2 * PIECE_BYTES + 11).map(|i| (i / 321) as u8).collect();
        let hash = blobs.put(&content).unwrap();
        let outline = blobs.known_outline(hash).unwrap().unwrap();
        let all = Arc::new(Transfers::default());
        let check = async |headers: &[(header::HeaderName, &str)], status: u16, range: Range<usize>| {
            let headers =
                headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            let transfer = all.begin(Instant::now()).unwrap();
            let answer = respond(blobs.clone(), hash, Arc::clone(&outline), transfer, &headers);
            assert_eq!(answer.status().as_u16(), status, "{headers:?}");
            assert_eq!(answer.headers()[header::ETAG], format!("\"{hash}\""));
            let told = answer.headers().get(header::CONTENT_LENGTH).cloned();
            let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            assert!(body == content[range.clone()], "{headers:?}");
            if status < 300 {
                assert_eq!(told.unwrap(), range.len().to_string());
            }
        };
        let (p, end) = (PIECE_BYTES, content.len());
        check(&[], 200, 0..end).await;
        check(&[(header::RANGE, "bytes=5-9")], 206, 5..10).await;
        check(&[(header::RANGE, &format!("bytes={}-{}", p - 1, 2 * p))], 206, p - 1..2 * p + 1).await;
        check(&[(header::RANGE, "bytes=-11")], 206, 2 * p..end).await;
        check(&[(header::RANGE, &format!("bytes={end}-"))], 416, 0..0).await;
        check(&[(header::RANGE, "bytes=5-9"), (header::IF_RANGE, "\"other\"")], 200, 0..end).await;
        check(&[(header::IF_NONE_MATCH, &format!("\"{hash}\""))], 304, 0..0).await;
        assert!(all.lock().1.is_empty(), "every transfer has ended");
        // Damage on the disk is not sent on.
        std::fs::write(blobs.path(hash), vec![1; end]).unwrap();
        let transfer = all.begin(Instant::now()).unwrap();
        let answer = respond(blobs, hash, outline, transfer, &HeaderMap::new());
        assert!(axum::body::to_bytes(answer.into_body(), usize::MAX).await.is_err());
    }
}
