//! The promise of this module, over the whole life of a segment that is killed at every await point.

use super::{acknowledge::reclaim, close, emit::emit_all, open_list, register};
use crate::{
    daemons::fixture::{KEY, World},
    events::{Event, Games, Subscriptions, log::EventLog, runner::kills::at_most},
    peer::{WorkError, blocking},
    store::{GameRecord, PendingSegment, PendingSegments, Segment, fixture},
};
use cluster_state::{Command, NodeId, Receipt, Response, SegmentId, Source, samples};
use p2p::{Signer, blobs::BlobStore};
use raft::ProposeError;
use std::{
    path::Path,
    sync::{Arc, Mutex},
};
use tokio::{runtime, task::yield_now};

const GAMES: u64 = 3;

fn segment() -> Segment {
    let games = (0..GAMES).map(|seed| fixture::game(KEY, seed)).collect();
    Segment::build(&KEY.into(), Source::Selfplay, fixture::model(), NodeId(1), games).unwrap()
}

fn told(segment: &PendingSegment) -> Event {
    Event::SelfplayComplete(Games {
        config_key: segment.config_key.clone(),
        node_id: "node-1".into(),
        game_count: segment.games,
        total_games: segment.games,
        db_path: String::new(),
        segment: segment.hash,
        timestamp: 1.5,
    })
}

/// What outlives a process: the disks of nodes 1 and 2, and what the cluster agreed on.
struct Lasting {
    folder: tempfile::TempDir,
    cluster: Arc<Mutex<World>>,
    /// Whether closing has returned once.
    closed: Arc<Mutex<bool>>,
}

/// The files of node 1 as a process finds them, and the disk of node 2.
struct Process {
    one: BlobStore,
    two: BlobStore,
    list: Arc<PendingSegments>,
    log: Arc<EventLog>,
    cluster: Arc<Mutex<World>>,
    closed: Arc<Mutex<bool>>,
}

impl Lasting {
    fn new() -> Self {
        let cluster = Arc::new(Mutex::new(World::with_champion(2, "model")));
        Self { folder: tempfile::tempdir().unwrap(), cluster, closed: Arc::default() }
    }

    fn start(&self) -> Process {
        let path = |name: &str| self.folder.path().join(name);
        let signer = Signer::load(&path("peer.key")).unwrap();
        Process {
            one: BlobStore::open(&path("one")).unwrap(),
            two: BlobStore::open(&path("two")).unwrap(),
            list: Arc::new(open_list(&path("segments.db")).unwrap()),
            log: Arc::new(EventLog::open(&path("node.db"), signer, Subscriptions::default()).unwrap()),
            cluster: Arc::clone(&self.cluster),
            closed: Arc::clone(&self.closed),
        }
    }

    /// Lets a process live for at most this many polls, and kills it. Returns whether it came to its end.
    fn live(&self, polls: usize, new: Option<Segment>) -> bool {
        let process = self.start();
        let runtime = runtime::Builder::new_current_thread().build().unwrap();
        // At its end the runtime waits for blocking work, because a process that is killed leaves nothing
        // running either.
        runtime.block_on(at_most(polls, process.live(new)))
    }

    /// Checks what must hold whenever a process is killed.
    fn check(&self) {
        let process = self.start();
        let name = segment().hash();
        let registered = process.is_registered();
        if registered {
            assert!(process.one.has(name.0) && process.two.has(name.0), "registered without two disks");
        }
        if *self.closed.lock().unwrap() {
            assert!(process.one.has(name.0));
            assert!(registered || process.list.lists(&name).unwrap(), "closed, and then forgotten");
        }
    }
}

impl Process {
    fn is_registered(&self) -> bool {
        self.cluster.lock().unwrap().state.segments.get(&SegmentId((segment().hash()).0)).is_some()
    }

    /// Does what a node does with its segments, in the order of the module.
    async fn live(self, new: Option<Segment>) {
        let (state, me) = (self.cluster.lock().unwrap().state.clone(), 1);
        let (one, list) = (self.one.clone(), Arc::clone(&self.list));
        blocking(move || reclaim(&state, NodeId(me), &one, &list)).await.unwrap().unwrap();
        if let Some(segment) = new {
            close::in_order(&self.one, &self.list, segment).await.unwrap();
            *self.closed.lock().unwrap() = true;
        }
        let (list, log) = (Arc::clone(&self.list), Arc::clone(&self.log));
        blocking(move || emit_all(&list, &log, told)).await.unwrap().unwrap();
        for pending in self.list.pending().unwrap() {
            let register = async |command| self.register(command).await;
            register::in_order(&self.list, &pending, self.bytes(&pending), self.receipts(&pending), register)
                .await
                .unwrap();
        }
    }

    /// Node 2 takes a copy.
    async fn receipts(&self, segment: &PendingSegment) -> Result<Vec<Receipt>, WorkError> {
        yield_now().await;
        let bytes = self.one.get(segment.hash.0).unwrap().unwrap();
        self.two.put(&bytes).unwrap();
        yield_now().await;
        let facts = segment.facts(self.bytes(segment));
        Ok([1, 2].map(|node| samples::receipt(node, &facts)).into())
    }

    fn bytes(&self, segment: &PendingSegment) -> u64 {
        self.one.get(segment.hash.0).unwrap().unwrap().len() as u64
    }

    async fn register(&self, command: Command) -> Result<(), WorkError> {
        yield_now().await;
        let response = self.cluster.lock().unwrap().apply(command);
        assert!(matches!(response, Response::Segment { .. } | Response::Duplicate), "{response:?}");
        yield_now().await;
        Ok(())
    }
}

fn told_of(log: &EventLog) -> usize {
    log.since(0, 100).unwrap().len()
}

#[test]
fn a_kill_at_any_await_point_neither_loses_a_segment_nor_acknowledges_it_early() {
    let name = segment().hash();
    let (mut polls, mut lost) = (0, 0);
    loop {
        let lasting = Lasting::new();
        let ended = lasting.live(polls, Some(segment()));
        lasting.check();
        assert!(lasting.live(usize::MAX, None), "it goes on to the end after a kill");
        lasting.check();
        let process = lasting.start();
        if process.one.has(name.0) {
            assert!(process.is_registered(), "killed after {polls} polls");
            assert_eq!(process.list.pending().unwrap(), [], "killed after {polls} polls");
            assert_eq!(told_of(&process.log), 1, "killed after {polls} polls");
            let cluster = process.cluster.lock().unwrap();
            assert_eq!(cluster.state.config(KEY).unwrap().games_total, GAMES, "counted once");
        } else {
            lost += 1;
            assert!(!*lasting.closed.lock().unwrap() && !process.is_registered());
            assert_eq!(told_of(&process.log), 0);
        }
        if ended {
            break;
        }
        polls += 1;
    }
    println!("killed at each of {polls} await points, {lost} of them before the games were on the disk");
    // Each `yield_now` is a point at which a kill comes. Work on another thread is one more point, unless
    // that work ends before anything waits for it, which depends on how busy the machine is.
    assert!(polls > 4, "{polls} await points");
    assert!(lost < polls, "{lost} of {polls}");
}

#[tokio::test]
async fn nothing_is_registered_or_forgotten_without_a_second_copy_or_a_quorum() {
    let lasting = Lasting::new();
    let process = lasting.start();
    let pending = close::in_order(&process.one, &process.list, segment()).await.unwrap();
    let no_copy = async { Err(WorkError::NoSecondCopy("nobody is connected".into())) };
    let never = async |command: Command| panic!("{command:?}");
    let outcome = register::in_order(&process.list, &pending, 9, no_copy, never).await;
    assert!(matches!(outcome, Err(WorkError::NoSecondCopy(_))), "{outcome:?}");
    let no_quorum = async |_| Err(WorkError::Propose(ProposeError::NoLeader));
    let (bytes, receipts) = (process.bytes(&pending), process.receipts(&pending));
    let outcome = register::in_order(&process.list, &pending, bytes, receipts, no_quorum).await;
    assert!(matches!(outcome, Err(WorkError::Propose(ProposeError::NoLeader))), "{outcome:?}");
    assert_eq!(process.list.pending().unwrap(), [pending]);
    assert!(!process.is_registered());
}

#[test]
fn a_list_that_was_lost_is_made_anew_from_the_content() {
    let lasting = Lasting::new();
    let process = lasting.start();
    let name = process.one.put(&segment().into_bytes()).unwrap();
    let game = GameRecord { node: NodeId(2), ..fixture::game(KEY, 9) };
    let foreign = Segment::build(&KEY.into(), Source::Selfplay, fixture::model(), NodeId(2), vec![game]);
    process.one.put(&foreign.unwrap().into_bytes()).unwrap();
    process.one.put(b"a model").unwrap();
    let listed = |process: &Process| -> Vec<_> {
        process.list.pending().unwrap().into_iter().map(|segment| segment.hash).collect()
    };
    let state = lasting.cluster.lock().unwrap().state.clone();
    reclaim(&state, NodeId(1), &process.one, &process.list).unwrap();
    assert_eq!(listed(&process), [SegmentId(name)], "neither another node's segment nor a model");
    assert!(process.list.acknowledged(&SegmentId(name)).unwrap());
    drop(process);
    assert!(lasting.live(usize::MAX, Some(segment())));
    let process = lasting.start();
    let state = lasting.cluster.lock().unwrap().state.clone();
    reclaim(&state, NodeId(1), &process.one, &process.list).unwrap();
    assert_eq!(listed(&process), [], "the cluster knows it");
}

#[test]
fn a_damaged_list_of_segments_is_moved_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segments.db");
    std::fs::write(&path, vec![7; 8192]).unwrap();
    assert_eq!(open_list(&path).unwrap().pending().unwrap(), []);
    let is_aside = |name: &Path| name.to_string_lossy().starts_with("segments.db.corrupt-");
    let files = std::fs::read_dir(folder.path()).unwrap();
    assert_eq!(files.filter(|file| is_aside(file.as_ref().unwrap().file_name().as_ref())).count(), 1);
}
