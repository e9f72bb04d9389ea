//! What a node keeps on disk: its data folder, game records, segments and the canonical game databases.
//!
//! Invariant: a game enters a canonical database only after the rules replayed it, and everything here can be
//! read back after the process was killed at any moment.

pub mod paths;
pub mod record;

pub use record::{Decision, GameKind, GameRecord, Player, RecordError};
