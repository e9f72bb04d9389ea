//! What consensus reads from members and from its files, as functions of bytes, for `tests/fuzz`.
//!
//! Invariant: each function reads as the crate does. Where a value can be written again, it returns what
//! writes it; none stands for bytes that are refused.

use crate::{
    handle::plausible,
    log_store, machine,
    rpc::{self, Request},
    types::{ENTRY_BYTES_MAX, LogId, MESSAGE_BYTES_MAX, SNAPSHOT_BYTES_MAX, Vote, kind},
};
use cluster_state::rows::ROW_BYTES_MAX;
use serde::{Serialize, de::DeserializeOwned};

/// The kind of a frame, and its largest body in bytes.
pub const REQUEST: (u8, usize) = (kind::REQUEST, MESSAGE_BYTES_MAX);
/// As [`REQUEST`].
pub const REPLY: (u8, usize) = (kind::REPLY, MESSAGE_BYTES_MAX);
/// As [`REQUEST`].
pub const ENTRY: (u8, usize) = (kind::ENTRY, ENTRY_BYTES_MAX);
/// As [`REQUEST`].
pub const VOTE: (u8, usize) = (kind::VOTE, ENTRY_BYTES_MAX);
/// As [`REQUEST`].
pub const LOG_ID: (u8, usize) = (kind::LOG_ID, ENTRY_BYTES_MAX);
/// As [`REQUEST`].
pub const APPLIED: (u8, usize) = (kind::APPLIED, ROW_BYTES_MAX);
/// As [`REQUEST`].
pub const SNAPSHOT: (u8, usize) = (kind::SNAPSHOT, SNAPSHOT_BYTES_MAX);

/// A request of a member, with the check that comes before openraft sees it.
pub fn request(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    let request = rpc::decode_request(bytes).ok()?;
    let _ = match &request {
        Request::Append { rpc, .. } => plausible::append(rpc, None),
        Request::Vote { rpc, .. } | Request::PreVote { rpc, .. } => plausible::vote(rpc),
        Request::Snapshot { piece, .. } => plausible::snapshot(piece, None),
        Request::Transfer { rpc, .. } => plausible::transfer(rpc),
        Request::Propose { .. } | Request::ReadIndex { .. } | Request::Join { .. } | Request::Voters => {
            Ok(())
        }
    };
    Some(move || rpc::encode_request(&request).expect("it was as large before"))
}

/// The answer to a request.
pub fn reply(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    rpc::decode_reply(bytes).ok().map(|reply| move || rpc::encode_reply(&reply))
}

/// An entry of the log.
pub fn entry(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    let entry = log_store::decode(bytes).ok()?;
    Some(move || wire::encode(kind::ENTRY, &entry, ENTRY_BYTES_MAX).expect("it was as large before"))
}

/// A snapshot; it is restored and thrown away.
pub fn snapshot(bytes: &[u8]) -> bool {
    machine::check_snapshot(bytes).is_ok()
}

/// The vote, beside the log.
pub fn vote(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    stored::<Vote>(kind::VOTE, bytes)
}

/// The id of the last entry that was removed from the log.
pub fn log_id(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    stored::<LogId>(kind::LOG_ID, bytes)
}

/// What has been applied, beside the rows of the state.
pub fn applied(bytes: &[u8]) -> Option<impl FnOnce() -> Vec<u8> + use<>> {
    stored::<machine::Applied>(kind::APPLIED, bytes)
}

fn stored<T: Serialize + DeserializeOwned>(
    kind: u8,
    bytes: &[u8],
) -> Option<impl FnOnce() -> Vec<u8> + use<T>> {
    let value = wire::decode::<T, ROW_BYTES_MAX>(kind, bytes).ok()?;
    Some(move || wire::encode(kind, &value, ROW_BYTES_MAX).expect("it was as large before"))
}
