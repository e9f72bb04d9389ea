//! Content from peer to peer.
//!
//! Invariant: bytes are kept only after their hash was checked, whichever way they came. What arrived stays
//! on disk for the next attempt.
//!
//! Reading order: `protocol` (what is asked and answered), `serve` (the answers), `fetch` (from several
//! holders at once), `attempt` and `download` (how), `intake` (content that comes over another protocol or as
//! a file).

mod attempt;
mod download;
pub(crate) mod error;
mod fetch;
mod intake;
pub(crate) mod limits;
pub(crate) mod protocol;
pub(crate) mod serve;
#[cfg(test)]
mod tests;

pub use error::FetchError;
pub use intake::Intake;
pub use limits::{FetchLimits, FetchReport};
