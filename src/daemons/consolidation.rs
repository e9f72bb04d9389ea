//! DataConsolidationDaemon: merges the segments that are here into the canonical database of their configuration.
//!
//! The databases are derived: one that is lost or corrupt is made anew from the segments.

use crate::{
    clock::now_ms,
    node::{Context, WorkError, blocking},
    store::{GamesDb, Segment, paths},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};
use wire::Hash;

/// Between looks at the segments.
const PAUSE: Duration = Duration::from_secs(2);

/// An open database and what is in it.
struct Canonical {
    games: GamesDb,
    merged: BTreeSet<Hash>,
}

impl Canonical {
    fn open(path: PathBuf, config: rules::Config) -> Result<Self, WorkError> {
        let games = GamesDb::open(&path, config, &now_ms().to_string())?.db;
        let merged = games.segments()?.into_iter().collect();
        Ok(Self { games, merged })
    }

    fn merge(&mut self, hash: Hash, bytes: Vec<u8>) -> Result<(), WorkError> {
        self.games.insert_segment(&Segment::open(bytes)?)?;
        self.merged.insert(hash);
        Ok(())
    }
}

/// Runs until the shutdown.
///
/// # Errors
/// When a database cannot be used.
pub async fn run(node: Context) -> Result<(), WorkError> {
    let mut databases: BTreeMap<String, Canonical> = BTreeMap::new();
    loop {
        let state = node.raft.local();
        for key in state.configs.keys() {
            if !databases.contains_key(key) {
                let path = node.path(&paths::games_db(key));
                let config = key.parse().map_err(|_| WorkError::UnknownConfig(key.clone()))?;
                databases.insert(key.clone(), blocking(move || Canonical::open(path, config)).await??);
            }
        }
        let ours = state.segments.iter().filter(|(_, segment)| segment.holders.contains(&node.id));
        let missing: Vec<(Hash, String)> = ours
            .filter(|(hash, s)| databases.get(&s.config_key).is_some_and(|db| !db.merged.contains(hash)))
            .map(|(hash, segment)| (*hash, segment.config_key.clone()))
            .collect();
        for (hash, key) in missing {
            if node.shutdown.is_cancelled() {
                return Ok(());
            }
            let Some(bytes) = node.stored(hash).await? else {
                tracing::warn!(segment = %hash, "this node should hold it; replication will fetch it");
                continue;
            };
            let Some(mut database) = databases.remove(&key) else { continue };
            let (database, merged) = blocking(move || {
                let merged = database.merge(hash, bytes);
                (database, merged)
            })
            .await?;
            databases.insert(key, database);
            merged?;
        }
        if node.shutdown.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return Ok(());
        }
    }
}
