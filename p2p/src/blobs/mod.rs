//! Content by its name.
//!
//! Invariant: bytes are found under a hash only if they have that hash, on disk and from the network alike. A file
//! gets its final name after its content was checked and it and its folder were synced.
//!
//! BLAKE3 is a hash tree whose subtrees over aligned mebibytes are our pieces. An [`Outline`] lists the subtrees'
//! hashes and itself hashes to the content's name, so it needs no trust, and every piece is checked on arrival:
//! a peer that lies is known by its first bad piece.

mod fetch;
mod intake;
mod outline;
mod partial;
mod protocol;
mod serve;
mod sharing;
mod store;
mod tracker;
#[cfg(test)]
mod transfer_tests;

pub(crate) use fetch::Fetcher;
pub use fetch::{FetchError, FetchLimits, FetchReport};
pub use intake::Intake;
pub use outline::{BLOB_BYTES_MAX, OUTLINE_BYTES_MAX, Outline, PIECE_BYTES};
pub(crate) use serve::serve;
pub use store::{BlobStore, StoreError};
