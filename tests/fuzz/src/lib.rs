//! Everything that reads foreign bytes, as targets of fuzzing.
//!
//! A [`Target`] is a function of bytes that panics when a decoder does wrong: when the decoder panics, takes
//! too long or too much memory ([`bounds`]), or reads something else than what it writes. Targets of what
//! lies in a frame get the body, and put it into a frame with the right checksum (`frames`), so that inputs
//! reach the decoder; most also get the bytes as they are.
//!
//! ```text
//!   targets ── one function of bytes for each decoder      frames, bounds ── what they share
//!   seeds ──▶ replay.rs (cargo test)      corpus ◀──▶ engine.rs (scripts/fuzz)
//! ```
//!
//! `replay.rs` runs every target on its [`seeds`] and on its corpus under `corpus`. `engine.rs` is
//! libFuzzer with these targets, for `scripts/fuzz`.
//!
//! Invariant: every decoder of the tree has a target in [`TARGETS`].

pub mod bounds;
mod frames;
pub mod seeds;
mod targets;

pub use targets::TARGETS;

/// A decoder, and what must hold for it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its folder under `corpus`.
    pub name: &'static str,
    /// Reads the bytes; it panics if something is wrong.
    pub run: fn(&[u8]),
    /// Inputs that the decoder accepts, made from what is in the tree.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// The target of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.iter().find(|target| target.name == name).copied()
    }
}
