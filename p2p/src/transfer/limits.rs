//! How far a fetch may go, and how it went.

use crate::blobs::outline::BLOB_BYTES_MAX;
use std::time::Duration;

/// How far a fetch may go.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// The largest content that is taken, in bytes.
    pub bytes_max: u64,
    /// The longest time for the whole fetch.
    pub timeout: Duration,
    /// The longest time for one piece.
    pub piece_timeout: Duration,
    /// How many pieces are asked of one peer at once, at most 8.
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
    /// The size of the content in bytes; 0 if the content was here already.
    pub size: u64,
    /// How many pieces an earlier attempt had left on disk.
    pub resumed: usize,
    /// How many pieces arrived from each peer.
    pub fetched: Vec<(String, usize)>,
    /// How many pieces arrived although another peer had delivered them already.
    pub duplicates: usize,
    /// The peers that were dropped, and why.
    pub dropped: Vec<(String, String)>,
}
