//! The canonical database of one configuration: every game that this node consolidated.
//!
//! Invariant: games come in only through [`GamesDb::insert_segment`], so the rules replayed every game here.
//! All of it can be made again from the segments, which are what the cluster acknowledges; so a damaged
//! database is moved aside.

use super::{
    record::{GameKind, GameRecord, Player, RECORD_BYTES_MAX},
    segment::{Segment, SegmentGame, compress},
    sqlite::{self, DbError, Schema},
};
use crate::clock::now_ms;
use cluster_state::{ConfigKey, SegmentId};
use flate2::bufread::ZlibDecoder;
use parking_lot::Mutex;
use rules::Config;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use std::{
    io::Read,
    path::{Path, PathBuf},
};
use wire::Hash;

/// With `NORMAL`, the newest segments may be missing after a power cut; the table `segments` then does not
/// list them.
const SCHEMA: Schema =
    Schema { application_id: i32::from_be_bytes(*b"RRgm"), migrations: &[VERSION_1], synchronous: "NORMAL" };

const VERSION_1: &str = "
    CREATE TABLE configuration(
        only       INTEGER PRIMARY KEY CHECK (only = 1),
        config_key TEXT NOT NULL
    ) STRICT;
    CREATE TABLE segments(
        hash            BLOB PRIMARY KEY CHECK (length(hash) = 32),
        source          TEXT NOT NULL,
        model           BLOB NOT NULL CHECK (length(model) = 32),
        source_node     INTEGER NOT NULL,
        games           INTEGER NOT NULL,
        samples         INTEGER NOT NULL,
        consolidated_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE games(
        id          BLOB PRIMARY KEY CHECK (length(id) = 32),
        kind        TEXT NOT NULL,
        model       BLOB CHECK (length(model) = 32),
        opponents   TEXT NOT NULL,
        seed        INTEGER NOT NULL,
        plies       INTEGER NOT NULL,
        samples     INTEGER NOT NULL,
        result      INTEGER NOT NULL,
        winner_seat INTEGER NOT NULL,
        reason      TEXT NOT NULL,
        created_ms  INTEGER NOT NULL,
        source_node INTEGER NOT NULL,
        segment     BLOB NOT NULL REFERENCES segments(hash),
        body        BLOB NOT NULL
    ) STRICT;
    CREATE INDEX games_by_age ON games(kind, created_ms DESC, id, samples);
    CREATE INDEX games_by_segment ON games(segment);";

/// The games of one configuration. The connection is behind a lock, so a long read should open a second one.
pub struct GamesDb {
    connection: Mutex<Connection>,
    path: PathBuf,
    config_key: ConfigKey,
}

/// A database that was opened, and what became of a damaged one.
pub struct OpenedGamesDb {
    pub db: GamesDb,
    /// The new path of the damaged database. If there is one, `db` is empty and waits to be filled from
    /// segments.
    pub set_aside: Option<PathBuf>,
}

/// What [`GamesDb::insert_segment`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inserted {
    /// The number of games that were not here yet.
    pub games_new: u64,
    /// Whether the segment was consolidated before.
    pub known: bool,
}

/// How many games of one kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub games: u64,
    /// The number of positions to learn from.
    pub samples: u64,
}

impl GamesDb {
    /// Opens or makes the database of `config`; the folder must exist. A damaged one is moved to
    /// `PATH.corrupt-SUFFIX` and replaced by an empty one, so the error is never [`DbError::Corrupt`].
    pub fn open(path: &Path, config: Config, suffix: &str) -> Result<OpenedGamesDb, DbError> {
        match Self::open_sound(path, config) {
            Ok(db) => Ok(OpenedGamesDb { db, set_aside: None }),
            Err(DbError::Corrupt { detail, .. }) => {
                let aside = sqlite::set_aside(path, suffix)?;
                tracing::error!(path = %path.display(), aside = %aside.display(), detail, "damaged game database");
                Ok(OpenedGamesDb { db: Self::open_sound(path, config)?, set_aside: Some(aside) })
            }
            Err(error) => Err(error),
        }
    }

    fn open_sound(path: &Path, config: Config) -> Result<Self, DbError> {
        let connection = sqlite::open(path, &SCHEMA)?;
        let expected = ConfigKey::from(config);
        let db =
            Self { connection: Mutex::new(connection), path: path.to_owned(), config_key: expected.clone() };
        let found = db.with(|connection| {
            connection.execute("INSERT OR IGNORE INTO configuration VALUES (1, ?)", [expected.as_str()])?;
            connection.query_row("SELECT config_key FROM configuration", [], |row| row.get::<_, String>(0))
        })?;
        if found != expected.as_str() {
            return Err(DbError::OtherConfig {
                path: path.to_owned(),
                found,
                expected: expected.to_string(),
            });
        }
        Ok(db)
    }

    fn with<T>(&self, run: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T, DbError> {
        // If a panic unwinds while the lock is held, SQLite rolls the transaction back.
        run(&mut self.connection.lock()).map_err(|source| DbError::of(&self.path, source))
    }

    fn corrupt(&self, detail: String) -> DbError {
        DbError::Corrupt { path: self.path.clone(), detail }
    }

    /// Consolidates a segment: all of its games or, after an error or a kill, none of them. A segment that is
    /// here already changes nothing.
    pub fn insert_segment(&self, segment: &Segment) -> Result<Inserted, DbError> {
        let found = &segment.header().config_key;
        if *found != self.config_key {
            let (found, expected) = (found.to_string(), self.config_key.to_string());
            return Err(DbError::OtherConfig { path: self.path.clone(), found, expected });
        }
        // The games are encoded before the lock is taken.
        let bodies: Vec<_> = segment.games().iter().map(|game| (game, body(&game.record))).collect();
        self.with(|connection| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if !insert_header(&tx, segment)? {
                return Ok(Inserted { games_new: 0, known: true });
            }
            let mut games_new = 0;
            for (game, body) in &bodies {
                games_new += insert_game(&tx, segment.hash(), game, body)? as u64;
            }
            tx.commit()?;
            Ok(Inserted { games_new, known: false })
        })
    }

    /// Whether a segment was consolidated.
    pub fn has_segment(&self, hash: &SegmentId) -> Result<bool, DbError> {
        self.with(|connection| {
            connection.prepare_cached("SELECT 1 FROM segments WHERE hash = ?")?.exists([hash.0.0])
        })
    }

    /// The segments that were consolidated, by ascending hash.
    pub fn segments(&self) -> Result<Vec<SegmentId>, DbError> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached("SELECT hash FROM segments ORDER BY hash")?;
            statement.query_map([], |row| row.get(0).map(Hash).map(SegmentId))?.collect()
        })
    }

    /// Reads one game, and checks it against its name: the error is [`DbError::Corrupt`] if it is another
    /// one.
    pub fn game(&self, id: &Hash) -> Result<Option<GameRecord>, DbError> {
        let row = self.with(|connection| {
            let mut statement = connection.prepare_cached("SELECT id, body FROM games WHERE id = ?")?;
            statement.query_row([id.0], stored).optional()
        })?;
        row.map(|row| self.read(row)).transpose()
    }

    /// The newest games of a kind, the newest first. A game with a time in the future counts as ended when it
    /// was consolidated.
    pub fn newest(&self, kind: GameKind, limit: usize) -> Result<Vec<GameRecord>, DbError> {
        self.collect(kind, limit, u64::MAX)
    }

    /// The newest self-play games that together have at least `samples` positions to learn from, the newest
    /// first. It is all of them if there are fewer, and never more than `games_max` games.
    pub fn window(&self, samples: u64, games_max: usize) -> Result<Vec<GameRecord>, DbError> {
        self.collect(GameKind::Selfplay, games_max, samples)
    }

    fn collect(&self, kind: GameKind, games_max: usize, samples: u64) -> Result<Vec<GameRecord>, DbError> {
        let rows = self.with(|connection| {
            let sql =
                "SELECT id, body, samples FROM games WHERE kind = ? ORDER BY created_ms DESC, id LIMIT ?";
            let limit = i64::try_from(games_max).unwrap_or(i64::MAX);
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![kind.as_str(), limit])?;
            let (mut found, mut sum) = (Vec::new(), 0u64);
            while sum < samples
                && let Some(row) = rows.next()?
            {
                sum = sum.saturating_add(row.get::<_, u32>(2)?.into());
                found.push(stored(row)?);
            }
            Ok(found)
        })?;
        rows.into_iter().map(|row| self.read(row)).collect()
    }

    pub fn count(&self, kind: GameKind) -> Result<Count, DbError> {
        self.with(|connection| {
            let sql = "SELECT COUNT(*), COALESCE(SUM(samples), 0) FROM games WHERE kind = ?";
            connection.prepare_cached(sql)?.query_row([kind.as_str()], |row| {
                Ok(Count {
                    games: row.get::<_, i64>(0)?.cast_unsigned(),
                    samples: row.get::<_, i64>(1)?.cast_unsigned(),
                })
            })
        })
    }

    /// Reads the whole database: SQLite checks it, and every game is checked against its name. The error is
    /// [`DbError::Corrupt`] with the first damage.
    pub fn integrity(&self) -> Result<(), DbError> {
        sqlite::check(&self.connection.lock(), &self.path, "integrity_check")?;
        let mut after = Hash([0; 32]);
        loop {
            // The games are read in pages, so that a consolidation need not wait until all are read.
            let rows = self.with(|connection| {
                let sql = "SELECT id, body FROM games WHERE id > ? ORDER BY id LIMIT 256";
                let mut statement = connection.prepare_cached(sql)?;
                statement.query_map([after.0], stored)?.collect::<rusqlite::Result<Vec<_>>>()
            })?;
            let Some((last, _)) = rows.last() else { break };
            after = *last;
            rows.into_iter().try_for_each(|row| self.read(row).map(drop))?;
        }
        Ok(())
    }

    /// Decodes a stored game and checks it against its name.
    fn read(&self, (id, body): (Hash, Vec<u8>)) -> Result<GameRecord, DbError> {
        unpack(id, &body).map_err(|what| self.corrupt(format!("game {id}{what}")))
    }
}

/// Reads the stored `body` of the game `id`, or says what is wrong with it.
pub(crate) fn unpack(id: Hash, body: &[u8]) -> Result<GameRecord, String> {
    let limit = (RECORD_BYTES_MAX + wire::OVERHEAD) as u64;
    let mut frame = Vec::new();
    let read = ZlibDecoder::new(body).take(limit).read_to_end(&mut frame);
    read.map_err(|error| format!(": {error}"))?;
    if Hash::of(&frame) != id {
        return Err(" is another one".to_owned());
    }
    GameRecord::from_bytes(&frame).map_err(|error| format!(": {error}"))
}

fn body(record: &GameRecord) -> Vec<u8> {
    let frame = record.to_bytes().expect("a validated game fits its frame");
    compress(Vec::new(), &frame)
}

fn stored(row: &Row<'_>) -> rusqlite::Result<(Hash, Vec<u8>)> {
    Ok((Hash(row.get(0)?), row.get(1)?))
}

/// Inserts a segment's header. Says whether the segment is new.
fn insert_header(tx: &Transaction<'_>, segment: &Segment) -> rusqlite::Result<bool> {
    let header = segment.header();
    let sql = "INSERT OR IGNORE INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)";
    let row = params![
        segment.hash().0.0,
        header.source.as_str(),
        header.model.0.0,
        header.node.0.cast_signed(),
        header.games,
        header.samples.cast_signed(),
        now_ms().cast_signed(),
    ];
    Ok(tx.prepare_cached(sql)?.execute(row)? == 1)
}

/// Inserts a game, and returns 1, or 0 if another segment brought it before.
fn insert_game(
    tx: &Transaction<'_>,
    segment: SegmentId,
    game: &SegmentGame,
    body: &[u8],
) -> rusqlite::Result<usize> {
    let SegmentGame { record, facts } = game;
    let model = record.players.iter().find_map(|player| match player {
        Player::Model(model) => Some(model.0.0),
        Player::Random | Player::Heuristic => None,
    });
    let players: Vec<String> = record.players.iter().map(name).collect();
    let sql = "INSERT OR IGNORE INTO games VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let row = params![
        facts.id.0,
        record.kind.as_str(),
        model,
        players.join(","),
        record.seed.cast_signed(),
        facts.plies,
        facts.samples,
        facts.winner,
        facts.winner_seat,
        facts.reason.as_str(),
        // The games of a node whose clock runs ahead must not stay in the window for ever.
        record.created_ms.min(now_ms()).cast_signed(),
        record.node.0.cast_signed(),
        segment.0.0,
        body,
    ];
    tx.prepare_cached(sql)?.execute(row)
}

fn name(player: &Player) -> String {
    match player {
        Player::Model(hash) => hash.to_string(),
        Player::Random => "random".to_owned(),
        Player::Heuristic => "heuristic".to_owned(),
    }
}

#[cfg(test)]
mod tests;
