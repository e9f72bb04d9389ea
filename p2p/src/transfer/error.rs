//! Why a transfer failed.

use crate::blobs::store::BlobError;
use wire::Hash;

/// Why content could not be fetched. What arrived stays on disk for the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No holder delivered an outline and the last piece.
    #[error("no holder of {hash} among {dropped:?}")]
    NoHolders {
        /// The content that was asked for.
        hash: Hash,
        /// The peers that were tried, and why each was dropped.
        dropped: Vec<(String, String)>,
    },
    /// Every holder failed before all pieces had arrived.
    #[error("{left} pieces of {hash} are missing; dropped {dropped:?}")]
    Incomplete {
        /// The content that was asked for.
        hash: Hash,
        /// The number of pieces that are still missing.
        left: usize,
        /// The peers that were tried, and why each was dropped.
        dropped: Vec<(String, String)>,
    },
    /// The content is larger than the caller allows.
    #[error("content of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// The size of the content in bytes.
        size: u64,
        /// [`super::FetchLimits::bytes_max`].
        limit: u64,
    },
    /// The fetch did not end within [`super::FetchLimits::timeout`].
    #[error("not fetched in time")]
    Timeout,
    /// This node's own disk failed.
    #[error(transparent)]
    Store(#[from] BlobError),
}
