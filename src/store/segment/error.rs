//! Why bytes are no segment, or games make none.

use super::GAMES_MAX;
use crate::store::record::RecordError;
use cluster_state::ModelId;
use wire::{Hash, WireError};

/// Why bytes are no segment, or games make none. A game is named by its index in the segment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SegmentError {
    /// There are more bytes than [`super::SEGMENT_BYTES_MAX`], or more of games than
    /// [`super::BODY_BYTES_MAX`].
    #[error("{bytes} bytes exceed the limit of {limit}")]
    TooLarge { bytes: u64, limit: usize },
    /// The number of games is not 1 to [`GAMES_MAX`].
    #[error("{0} games, expected 1 to {GAMES_MAX}")]
    Games(usize),
    /// The header cannot be read.
    #[error("unreadable header")]
    Header(#[source] WireError),
    /// The bytes end too early.
    #[error("truncated")]
    Truncated,
    /// The compressed games cannot be read.
    #[error("unreadable games: {0}")]
    Body(String),
    /// The rules refuse a game.
    #[error("game {index}")]
    Game { index: usize, source: RecordError },
    /// A game has another configuration, source or node than the segment.
    #[error("game {index}: its {what} differs from the segment's")]
    Stranger {
        index: usize,
        /// The name of the field that differs.
        what: &'static str,
    },
    /// A game occurs twice.
    #[error("game {index} ({id}) is there twice")]
    Duplicate {
        /// The index of the second one.
        index: usize,
        id: Hash,
    },
    /// The games are not sorted by id.
    #[error("game {index} is out of order")]
    Order { index: usize },
    /// The model that the header names played in no game.
    #[error("model {0} played in no game")]
    Model(ModelId),
    /// A count in the header is not that of the games.
    #[error("header says {claimed} {what}, there are {actual}")]
    Count {
        /// What is counted.
        what: &'static str,
        /// The count in the header.
        claimed: u64,
        /// The count of the games.
        actual: u64,
    },
}

impl SegmentError {
    /// Whether the segment may be sound for a program of another version, so that this one cannot judge it.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        match self {
            Self::Header(error) => error.is_foreign(),
            Self::Game { index: _, source } => source.is_foreign(),
            Self::TooLarge { .. } | Self::Games(_) | Self::Truncated | Self::Body(_) => false,
            Self::Stranger { .. } | Self::Duplicate { .. } | Self::Order { .. } => false,
            Self::Model(_) | Self::Count { .. } => false,
        }
    }
}
