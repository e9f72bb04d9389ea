//! Why a transfer failed.

use crate::blobs::store::BlobError;
use wire::Hash;

/// Why content could not be fetched. What arrived is kept for the next attempt.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No holder delivered; those that were tried, and why they failed.
    #[error("no holder of {hash} among {dropped:?}")]
    NoHolders {
        /// The content.
        hash: Hash,
        /// Holders and reasons.
        dropped: Vec<(String, String)>,
    },
    /// Every holder failed before all pieces had arrived.
    #[error("{left} pieces of {hash} are missing; dropped {dropped:?}")]
    Incomplete {
        /// The content.
        hash: Hash,
        /// Pieces still missing.
        left: usize,
        /// Holders and reasons.
        dropped: Vec<(String, String)>,
    },
    /// Larger than the caller allows.
    #[error("content of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Its size.
        size: u64,
        /// [`super::FetchLimits::bytes_max`].
        limit: u64,
    },
    /// Not within [`super::FetchLimits::timeout`].
    #[error("not fetched in time")]
    Timeout,
    /// This node's own disk.
    #[error(transparent)]
    Store(#[from] BlobError),
}
