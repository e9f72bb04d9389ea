//! How far a fetch may go, and how it went.

use crate::blobs::outline::BLOB_BYTES_MAX;
use std::time::Duration;

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
