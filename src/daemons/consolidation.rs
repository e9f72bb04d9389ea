//! DataConsolidationDaemon: merges the segments on this node into the canonical database of their
//! configuration.
//!
//! Invariant: the content of a database depends on which segments were merged, not on their order or on how
//! often each was merged. A database is derived data: one that is lost or corrupt is built again from the
//! segments. Merging never removes a segment: its bytes stay in the content folder for as long as the cluster
//! knows it.

use crate::{
    clock::now_ms,
    events::{
        Event, Games, Logged,
        runner::{Handled, HandlerError},
    },
    peer::{Context, Daemon, WorkError, blocking},
    store::{GamesDb, Segment, paths},
};
use cluster_state::{ConfigKey, SegmentId};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// Pause between two looks at the registered segments.
const PAUSE: Duration = Duration::from_secs(2);
/// Most requested merges that may wait.
const MERGES_MAX: usize = 64;

/// The open database of one configuration, and the segments merged into it.
struct Canonical {
    games: GamesDb,
    merged: BTreeSet<SegmentId>,
}

impl Canonical {
    fn open(path: PathBuf, config: rules::Config) -> Result<Self, WorkError> {
        let games = GamesDb::open(&path, config, &now_ms().to_string())?.db;
        let merged = games.segments()?.into_iter().collect();
        Ok(Self { games, merged })
    }

    /// Merges a segment. A segment that the rules refuse counts as merged, because it would be refused again
    /// and must not delay the others.
    fn merge(&mut self, hash: SegmentId, bytes: Vec<u8>) -> Result<(), WorkError> {
        match Segment::open(bytes) {
            Ok(segment) => {
                self.games.insert_segment(&segment)?;
            }
            Err(error) => tracing::error!(segment = %hash, %error, "a segment cannot be merged"),
        }
        self.merged.insert(hash);
        Ok(())
    }
}

/// A request to merge a segment, and the channel for its result.
struct Merge {
    segment: SegmentId,
    config_key: ConfigKey,
    done: oneshot::Sender<Result<(), String>>,
}

/// Asks the daemon to merge segments. A clone is a cheap handle.
#[derive(Clone)]
pub struct ConsolidationHandle(mpsc::Sender<Merge>);

pub struct ConsolidationDaemon {
    node: Context,
    merges: mpsc::Receiver<Merge>,
}

impl ConsolidationDaemon {
    /// Returns the daemon and its handle.
    #[must_use]
    pub fn new(node: Context) -> (Self, ConsolidationHandle) {
        let (sender, merges) = mpsc::channel(MERGES_MAX);
        (Self { node, merges }, ConsolidationHandle(sender))
    }
}

impl Daemon for ConsolidationDaemon {
    const NAME: &'static str = "consolidation";

    async fn run(&mut self) -> Result<(), WorkError> {
        let Self { node, merges } = self;
        let mut databases = Databases::new();
        loop {
            merge_missing(node, &mut databases).await?;
            let pause = tokio::time::sleep(PAUSE);
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = node.shutdown.cancelled() => return Ok(()),
                    Some(Merge { segment, config_key, done }) = merges.recv() => {
                        let merged = merge_now(node, &mut databases, config_key, segment).await;
                        // The caller may have stopped waiting.
                        let _ = done.send(merged.map_err(|error| error.to_string()));
                    }
                    () = &mut pause => break,
                }
            }
        }
    }
}

/// Open databases, by configuration.
type Databases = BTreeMap<ConfigKey, Canonical>;

/// Merges every registered segment that should be on this node and is in no database yet. It ends at the
/// shutdown.
async fn merge_missing(node: &Context, databases: &mut Databases) -> Result<(), WorkError> {
    let state = node.raft.local();
    for key in state.configs.keys() {
        open(node, databases, key).await?;
    }
    let ours = state.segments.iter().filter(|(_, segment)| segment.holders.contains(&node.id));
    let missing: Vec<(SegmentId, ConfigKey)> = ours
        .filter(|(hash, s)| databases.get(&s.config_key).is_some_and(|db| !db.merged.contains(hash)))
        .map(|(hash, segment)| (*hash, segment.config_key.clone()))
        .collect();
    for (hash, key) in missing {
        if node.shutdown.is_cancelled() {
            break;
        }
        let Some(bytes) = node.get_content(hash.0).await? else {
            tracing::debug!(segment = %hash, "not here; replication fetches it again");
            continue;
        };
        merge(databases, key, hash, bytes).await?;
    }
    Ok(())
}

/// Opens the database of a configuration, unless it is open or only a newer program knows the configuration.
async fn open(node: &Context, databases: &mut Databases, key: &ConfigKey) -> Result<(), WorkError> {
    if !databases.contains_key(key)
        && let Some(config) = key.game()
    {
        let path = node.path(&paths::games_db(key));
        databases.insert(key.clone(), blocking(move || Canonical::open(path, config)).await??);
    }
    Ok(())
}

/// Merges one segment, because an event names it.
async fn merge_now(
    node: &Context,
    databases: &mut Databases,
    key: ConfigKey,
    hash: SegmentId,
) -> Result<(), WorkError> {
    if node.raft.local().config(&key).is_some() {
        // This node may not have seen the configuration before.
        open(node, databases, &key).await?;
    }
    match databases.get(&key) {
        None => Err(WorkError::UnknownConfig(key)),
        Some(database) if database.merged.contains(&hash) => Ok(()),
        Some(_) => {
            let bytes = node.get_content(hash.0).await?.ok_or(WorkError::Missing(hash.0))?;
            merge(databases, key, hash, bytes).await
        }
    }
}

async fn merge(
    databases: &mut Databases,
    key: ConfigKey,
    hash: SegmentId,
    bytes: Vec<u8>,
) -> Result<(), WorkError> {
    let Some(mut database) = databases.remove(&key) else { return Ok(()) };
    let (database, merged) = blocking(move || {
        let merged = database.merge(hash, bytes);
        (database, merged)
    })
    .await?;
    databases.insert(key, database);
    merged
}

impl ConsolidationHandle {
    /// Merges the segment that an event names, if the segment should be on this node.
    ///
    /// # Errors
    /// When the segment cannot be fetched, or belongs to another configuration.
    pub async fn handle(&self, node: &Context, logged: &Logged) -> Handled {
        let Some(games) = logged.event.games() else { return Ok(None) };
        let acknowledged = matches!(logged.event, Event::NewGamesAvailable(_));
        let state = node.raft.local();
        match state.segments.get(&games.segment) {
            Some(known) if known.config_key != games.config_key => {
                let (is, said) = (&known.config_key, &games.config_key);
                return Err(HandlerError::Failed(format!(
                    "segment {} is of {is}, not {said}",
                    games.segment
                )));
            }
            Some(known) if !known.holders.contains(&node.id) => return Ok(None), // not here, or not yet
            Some(_) => {}
            // Another node made it and it is not acknowledged yet: NEW_GAMES_AVAILABLE will follow.
            None if !acknowledged && games.node_id != node.name() => return Ok(None),
            None if node.get_content(games.segment.0).await?.is_none() => {
                return Err(HandlerError::Failed(format!("segment {} is nowhere to be had", games.segment)));
            }
            // It is on this node but not acknowledged. It may still be lost; it is merged once it is
            // registered.
            None => return Ok(None),
        }
        self.merge(games).await
    }

    /// Asks the daemon to merge the segment, and returns once the segment is in the database.
    async fn merge(&self, games: &Games) -> Handled {
        let (done, answer) = oneshot::channel();
        let merge = Merge { segment: games.segment, config_key: games.config_key.clone(), done };
        let gone = |_| HandlerError::Failed("consolidation is not running".to_owned());
        self.0.send(merge).await.map_err(|_| gone(()))?;
        match answer.await {
            Ok(merged) => merged.map(|()| None).map_err(HandlerError::Failed),
            Err(_) => Err(gone(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        events::runner::kills::{Started, at_every_await_point},
        store::{GameKind, GameRecord, fixture},
    };
    use cluster_state::{NodeId, Source};
    use futures::FutureExt;
    use proptest::{prelude::*, test_runner::TestRunner};
    use std::{path::Path, sync::Arc};
    use wire::Hash;

    #[test]
    fn a_segment_that_is_refused_keeps_no_other_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let config: rules::Config = "hex8_2p".parse().unwrap();
        let path = folder.path().join("games.db");
        let mut canonical = Canonical::open(path.clone(), config).unwrap();
        let bad = SegmentId(Hash::of(b"nonsense"));
        canonical.merge(bad, b"nonsense".to_vec()).unwrap();
        let games = vec![fixture::game("hex8_2p", 0)];
        let good =
            Segment::build(&"hex8_2p".into(), Source::Selfplay, fixture::model(), NodeId(1), games).unwrap();
        let hash = good.hash();
        canonical.merge(hash, good.into_bytes()).unwrap();
        assert_eq!(canonical.merged, BTreeSet::from([bad, hash]));
        drop(canonical);
        assert_eq!(Canonical::open(path, config).unwrap().merged, BTreeSet::from([hash]));
    }
    fn segments() -> Vec<(SegmentId, Vec<u8>)> {
        // Seeds of the games. Some games are in several segments, as after a restart in the middle of closing
        // one.
        let parts: [&[u64]; 5] = [&[0, 1, 2], &[2, 3], &[4], &[1, 2], &[5, 0, 6]];
        let build = |seeds: &&[u64]| {
            let games = seeds.iter().map(|seed| fixture::game("hex8_2p", *seed)).collect();
            let segment =
                Segment::build(&"hex8_2p".into(), Source::Selfplay, fixture::model(), NodeId(1), games)
                    .unwrap();
            (segment.hash(), segment.into_bytes())
        };
        parts.iter().map(build).collect()
    }

    /// The whole content of a database: its segments and every game.
    fn content(canonical: &Canonical) -> (Vec<SegmentId>, Vec<GameRecord>) {
        canonical.games.integrity().unwrap();
        let games = canonical.games.newest(GameKind::Selfplay, 1000).unwrap();
        (canonical.games.segments().unwrap(), games)
    }

    #[test]
    fn any_order_and_repetition_of_segments_gives_the_same_database() {
        let (segments, config) = (segments(), "hex8_2p".parse().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| Canonical::open(folder.path().join(name), config).unwrap();
        let mut plain = open("plain.db");
        segments.iter().for_each(|(hash, bytes)| plain.merge(*hash, bytes.clone()).unwrap());
        let expected = content(&plain);
        assert_eq!(expected.0.len(), segments.len());
        let order = prop::collection::vec(0..segments.len(), 0..20);
        let mut runner = TestRunner::new(ProptestConfig { cases: 24, ..ProptestConfig::default() });
        let number = std::cell::Cell::new(0);
        let same = runner.run(&order, |order| {
            number.set(number.get() + 1);
            let path = format!("{}.db", number.get());
            let mut mixed = open(&path);
            // The segments are merged in this order. Half-way the database is opened again, as after a kill,
            // and at the end whatever is missing is merged.
            for (step, index) in order.iter().copied().chain(0..segments.len()).enumerate() {
                if step == order.len() / 2 {
                    drop(mixed);
                    mixed = open(&path);
                }
                let (hash, bytes) = &segments[index];
                mixed.merge(*hash, bytes.clone()).unwrap();
            }
            prop_assert!(content(&mixed) == expected, "order {order:?}");
            Ok(())
        });
        same.unwrap();
    }

    #[test]
    fn a_kill_at_any_await_point_does_not_change_the_database() {
        let (segments, config) = (segments(), "hex8_2p".parse().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let mut plain = Canonical::open(folder.path().join("plain.db"), config).unwrap();
        segments[..3].iter().for_each(|(hash, bytes)| plain.merge(*hash, bytes.clone()).unwrap());
        let games = |segment| Games {
            config_key: "hex8_2p".into(),
            node_id: "node-1".into(),
            game_count: 1,
            total_games: 1,
            db_path: String::new(),
            segment,
            timestamp: 1.0,
        };
        let played = segments[..3].iter().map(|(hash, _)| Event::SelfplayComplete(games(*hash)));
        let events: Vec<Event> = played.chain([Event::NewGamesAvailable(games(segments[1].0))]).collect();
        let known: Arc<BTreeMap<_, _>> = Arc::new(segments.into_iter().collect());
        let start = |folder: &Path| {
            let (merges, mut merging) = mpsc::channel::<Merge>(1);
            let merges = ConsolidationHandle(merges);
            let handle = move |logged: Arc<Logged>| {
                let merges = merges.clone();
                async move {
                    match &logged.event {
                        Event::SelfplayComplete(games) | Event::NewGamesAvailable(games) => {
                            merges.merge(games).await
                        }
                        other => panic!("{other:?}"),
                    }
                }
                .boxed()
            };
            let (path, known) = (folder.join("games.db"), Arc::clone(&known));
            let beside = async move {
                let opened = blocking(move || Canonical::open(path, config)).await.unwrap().unwrap();
                let mut databases = BTreeMap::from([("hex8_2p".into(), opened)]);
                while let Some(Merge { segment, config_key, done }) = merging.recv().await {
                    let merged = merge(&mut databases, config_key, segment, known[&segment].clone()).await;
                    let _ = done.send(merged.map_err(|error| error.to_string()));
                }
            };
            Started { handle: Box::new(handle), beside: beside.boxed() }
        };
        let read = |folder: &Path| content(&Canonical::open(folder.join("games.db"), config).unwrap());
        let found = at_every_await_point(&events, start, read);
        assert!(found.len() > 10, "{} await points", found.len());
        for (polls, found) in found.iter().enumerate() {
            assert_eq!(*found, content(&plain), "killed after {polls} polls");
        }
    }

    #[test]
    fn a_merge_leaves_its_source_and_the_receipt_is_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = p2p::blobs::BlobStore::open(&folder.path().join("blobs")).unwrap();
        let path = folder.path().join("games.db");
        let config = "hex8_2p".parse().unwrap();
        let mut canonical = Canonical::open(path.clone(), config).unwrap();
        for (hash, bytes) in segments() {
            blobs.put(&bytes).unwrap();
            canonical.merge(hash, bytes).unwrap();
            let second = Canonical::open(path.clone(), config).unwrap();
            assert!(second.merged.contains(&hash), "another process finds it merged");
            assert!(blobs.get(hash.0).unwrap().is_some());
        }
    }
}
