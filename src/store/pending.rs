//! Segments that this node played and that the cluster has not acknowledged yet.
//!
//! Invariant: a segment is listed here and synced to disk before any event names it, and until its
//! registration was applied. So a node that restarts finds and registers what it played. The bytes are in the
//! content store.

use super::sqlite::{self, DbError, Schema};
use cluster_state::{ConfigKey, ModelId, SegmentFacts, SegmentId, Source};
use parking_lot::Mutex;
use rusqlite::{Connection, Row, params};
use std::path::{Path, PathBuf};
use wire::Hash;

const SCHEMA: Schema = Schema {
    application_id: i32::from_be_bytes(*b"RRsg"),
    migrations: &[VERSION_1, VERSION_2],
    synchronous: "FULL",
};

const VERSION_1: &str = "
    CREATE TABLE pending(
        position   INTEGER PRIMARY KEY AUTOINCREMENT,
        hash       BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
        config_key TEXT NOT NULL,
        games      INTEGER NOT NULL,
        samples    INTEGER NOT NULL,
        source     TEXT NOT NULL,
        model      BLOB NOT NULL CHECK (length(model) = 32)
    ) STRICT;";

const VERSION_2: &str = "ALTER TABLE pending ADD COLUMN told INTEGER NOT NULL DEFAULT 0;";

/// A segment as its registration describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingSegment {
    /// The name of the segment.
    pub hash: SegmentId,
    pub config_key: ConfigKey,
    /// The number of games.
    pub games: u64,
    /// The number of positions to learn from.
    pub samples: u64,
    pub source: Source,
    /// A model that played in it.
    pub model: ModelId,
}

impl PendingSegment {
    /// What the cluster is told about the segment, whose content has this size.
    #[must_use]
    pub fn facts(&self, bytes: u64) -> SegmentFacts<'_> {
        SegmentFacts {
            hash: self.hash,
            config_key: &self.config_key,
            games: self.games,
            samples: self.samples,
            bytes,
            source: &self.source,
            model: self.model,
        }
    }
}

impl From<&super::Segment> for PendingSegment {
    fn from(segment: &super::Segment) -> Self {
        let header = segment.header();
        Self {
            hash: segment.hash(),
            config_key: header.config_key.clone(),
            games: header.games.into(),
            samples: header.samples,
            source: header.source.clone(),
            model: header.model,
        }
    }
}

/// The list of these segments, in a database of its own.
pub struct PendingSegments {
    connection: Mutex<Connection>,
    path: PathBuf,
}

impl PendingSegments {
    /// Opens or makes the list. A damaged list may be moved away with [`super::set_aside`], because the
    /// content store still has the bytes and [`super::Segment::peek`] says which of them this node played.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let connection = Mutex::new(sqlite::open(path, &SCHEMA)?);
        Ok(Self { connection, path: path.to_owned() })
    }

    fn with<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, DbError> {
        // If a panic unwinds while the lock is held, SQLite rolls the transaction back.
        run(&self.connection.lock()).map_err(|source| DbError::of(&self.path, source))
    }

    /// Lists a segment whose bytes are synced to disk. A segment that is listed already changes nothing.
    pub fn add_pending(&self, segment: &PendingSegment) -> Result<(), DbError> {
        self.with(|connection| {
            let sql = "INSERT OR IGNORE INTO pending(hash, config_key, games, samples, source, model) \
                       VALUES (?, ?, ?, ?, ?, ?)";
            let row = params![
                segment.hash.0.0,
                segment.config_key.as_str(),
                segment.games.cast_signed(),
                segment.samples.cast_signed(),
                segment.source.as_str(),
                segment.model.0.0
            ];
            connection.prepare_cached(sql)?.execute(row).map(drop)
        })
    }

    /// The segments of the list, the oldest first.
    pub fn pending(&self) -> Result<Vec<PendingSegment>, DbError> {
        self.with(|connection| {
            let sql = "SELECT hash, config_key, games, samples, source, model FROM pending ORDER BY position";
            connection.prepare_cached(sql)?.query_map([], read)?.collect()
        })
    }

    /// Whether a segment is listed.
    pub fn lists(&self, hash: &SegmentId) -> Result<bool, DbError> {
        self.with(|connection| {
            connection.prepare_cached("SELECT 1 FROM pending WHERE hash = ?")?.exists([hash.0.0])
        })
    }

    /// The segments of the list for which no event was kept yet, the oldest first.
    pub fn not_emitted(&self, source: &Source) -> Result<Vec<PendingSegment>, DbError> {
        self.with(|connection| {
            let sql = "SELECT hash, config_key, games, samples, source, model FROM pending WHERE told = 0 AND source = ? \
                       ORDER BY position";
            connection.prepare_cached(sql)?.query_map([source.as_str()], read)?.collect()
        })
    }

    /// Notes that the event of a segment is kept. After an error the event is emitted again.
    pub fn mark_emitted(&self, hash: &SegmentId) -> Result<(), DbError> {
        self.with(|connection| {
            let sql = "UPDATE pending SET told = 1 WHERE hash = ?";
            connection.prepare_cached(sql)?.execute([hash.0.0]).map(drop)
        })
    }

    /// Removes a segment whose registration was applied. Says whether it was listed.
    pub fn acknowledged(&self, hash: &SegmentId) -> Result<bool, DbError> {
        self.with(|connection| {
            let deleted =
                connection.prepare_cached("DELETE FROM pending WHERE hash = ?")?.execute([hash.0.0])?;
            Ok(deleted > 0)
        })
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<PendingSegment> {
    let (config_key, source): (String, String) = (row.get(1)?, row.get(4)?);
    Ok(PendingSegment {
        hash: SegmentId(Hash(row.get(0)?)),
        config_key: config_key.parse().map_err(|_| rusqlite::Error::InvalidQuery)?,
        games: row.get::<_, i64>(2)?.cast_unsigned(),
        samples: row.get::<_, i64>(3)?.cast_unsigned(),
        source: match Source::of(&source) {
            known @ (Source::Selfplay | Source::Evaluation) => known,
            Source::Other(_) => return Err(rusqlite::Error::InvalidQuery),
        },
        model: ModelId(Hash(row.get(5)?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Segment, fixture};
    use cluster_state::NodeId;

    #[test]
    fn a_segment_waits_until_it_is_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segments.db");
        let games = vec![fixture::game("hex8_2p", 0)];
        let segment =
            Segment::build(&"hex8_2p".into(), Source::Selfplay, fixture::model(), NodeId(1), games).unwrap();
        let first = PendingSegment::from(&segment);
        assert_eq!((first.hash, first.games, first.source.clone()), (segment.hash(), 1, Source::Selfplay));
        let second = PendingSegment {
            hash: SegmentId(Hash::of(b"second")),
            source: Source::Evaluation,
            ..first.clone()
        };
        let list = PendingSegments::open(&path).unwrap();
        assert_eq!(list.pending().unwrap(), []);
        for segment in [&first, &second, &first] {
            list.add_pending(segment).unwrap();
        }
        drop(list);
        let list = PendingSegments::open(&path).unwrap();
        assert_eq!(list.pending().unwrap(), [first.clone(), second.clone()]);
        assert!(list.lists(&first.hash).unwrap() && !list.lists(&SegmentId(Hash::of(b"other"))).unwrap());
        assert!(list.acknowledged(&first.hash).unwrap());
        assert!(!list.acknowledged(&first.hash).unwrap());
        assert_eq!(list.pending().unwrap(), [second]);
    }

    #[test]
    fn a_damaged_list_is_said_to_be_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segments.db");
        std::fs::write(&path, vec![7; 8192]).unwrap();
        assert!(matches!(PendingSegments::open(&path), Err(DbError::Corrupt { .. })));
        crate::store::set_aside(&path, "now").unwrap();
        assert_eq!(PendingSegments::open(&path).unwrap().pending().unwrap(), []);
    }
}
