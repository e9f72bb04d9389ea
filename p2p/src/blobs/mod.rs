//! Content on this node's disk, under its name.
//!
//! Invariant: bytes are found under a hash only if they have that hash. A file gets its final name after its
//! content was checked and it and its folder were synced.
//!
//! BLAKE3 is a hash tree, and its subtrees over aligned mebibytes are the *pieces* of a content. An
//! [`Outline`] lists the subtrees' hashes. It hashes to the content's name itself, so it needs no trust, and
//! every piece is checked when it arrives: the first wrong piece shows that a peer lies.
//!
//! Reading order: `outline`, `store`, then what an unfinished transfer needs: `partial`, `tracker`,
//! `sharing`, `local`.

pub(crate) mod local;
pub(crate) mod outline;
pub(crate) mod partial;
pub(crate) mod sharing;
pub(crate) mod store;
pub(crate) mod tracker;

pub use outline::{BLOB_BYTES_MAX, OUTLINE_BYTES_MAX, Outline, PIECE_BYTES};
pub use store::{BlobError, BlobStore};
