//! What a node keeps on disk: its data folder, game records, segments and the canonical game databases.
//!
//! Invariant: a game enters a canonical database only after the rules replayed it, and everything here can be
//! read back after the process was killed at any moment.
//!
//! Reading order: `record` (one game), `validate` (when a record is a game), `segment` (a set of games),
//! `games` (the canonical database), `pending` (segments that the cluster does not know yet), `kept` (what is
//! kept for peers), `folder` (the data folder).

pub mod admission;
mod files;
#[cfg(test)]
pub(crate) mod fixture;
pub mod folder;
pub mod games;
pub mod kept;
pub mod paths;
pub mod pending;
pub mod record;
pub mod segment;
mod sqlite;
pub mod token;
pub mod validate;

pub(crate) use files::read_small;
pub use files::write_atomic;
pub use folder::{DataFolder, FolderError, Running, Runtime};
pub use games::GamesDb;
pub use kept::KeptForPeers;
pub use pending::{PendingSegment, PendingSegments};
pub use record::{Decision, GameKind, GameRecord, Played, Player, RecordError};
pub use segment::{GAMES_MAX as SEGMENT_GAMES_MAX, Segment, SegmentError};
pub use sqlite::{DbError, set_aside};
pub use validate::GameFacts;
