//! Handlers killed at every await point, on a real database: the effects are those of a run without failures.

use super::{
    tests::{Rig, cleared},
    *,
};
use crate::events::{Emission, Event};
use std::{
    collections::HashMap, future::poll_fn, path::Path, pin::pin, process::Command, sync::Mutex, task::Poll,
};

impl Runner {
    /// Handles all that is due now, to its end or to the shutdown.
    pub(in crate::events) async fn drain(&self) {
        while !self.0.shutdown.is_cancelled() {
            let (lanes, _) = self.database(|inbox| inbox.lanes(0)).await.unwrap();
            if lanes.is_empty() {
                return;
            }
            futures::future::join_all(lanes.into_iter().map(|lane| self.clone().lane(lane))).await;
        }
    }
}

/// Runs a future in a runtime of its own. When the future ends or is dropped, blocking work that has begun is
/// waited for, and the rest is dropped: nothing of one life goes on beside the next.
pub(crate) fn life<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// Polls a future this often at most, and then drops it as a kill would. Says whether it ended.
pub(crate) async fn at_most(polls: usize, future: impl Future<Output = ()>) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn table(path: &Path) -> rusqlite::Connection {
    let connection = crate::events::schema::connect(path).unwrap();
    connection.execute("CREATE TABLE IF NOT EXISTS effects(flow TEXT, sequence INTEGER)", []).unwrap();
    connection
}

/// What handlers left in a database, by flow and in their order.
fn effects(path: &Path) -> BTreeMap<String, Vec<i64>> {
    let connection = table(path);
    let mut statement = connection.prepare("SELECT flow, sequence FROM effects ORDER BY rowid").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let mut found: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for row in rows {
        let (flow, sequence) = row.unwrap();
        found.entry(flow).or_default().push(sequence);
    }
    found
}

fn effect(logged: &Logged) -> Effect {
    let (flow, sequence) = (logged.flow.clone(), logged.sequence);
    Box::new(move |tx| tx.execute("INSERT INTO effects VALUES (?, ?)", (flow, sequence)).map(drop))
}

/// A handler with await points; `fails` has its first attempts fail in every way there is.
fn runner(path: &Path, fails: bool, calls: &Arc<Mutex<HashMap<i64, u32>>>) -> Runner {
    let quorum = watch::Sender::new(true);
    let (has_quorum, calls) = (quorum.subscribe(), Arc::clone(calls));
    let mut handlers = Handlers::default();
    handlers.on("h", &[], move |logged| {
        let call = {
            let mut calls = calls.lock().unwrap();
            let count = calls.entry(logged.sequence).or_default();
            *count += 1;
            *count
        };
        let quorum = quorum.clone();
        async move {
            tokio::task::yield_now().await;
            match logged.sequence % 5 {
                1 if fails && call == 1 => return Err(HandlerError::Failed("at first".to_owned())),
                2 if fails && call == 1 => {
                    quorum.send_modify(|quorum| *quorum = !*quorum); // so that nothing waits for long
                    return Err(HandlerError::NoQuorum);
                }
                3 if fails && call == 1 => panic!("at first"),
                4 if fails && call == 1 => {
                    let broken: Effect = Box::new(|tx| tx.execute("nonsense", []).map(drop));
                    return Ok(Some(broken));
                }
                _ => {}
            }
            tokio::task::yield_now().await;
            Ok(Some(effect(&logged)))
        }
        .boxed()
    });
    let pauses = [Duration::ZERO; 2];
    Runner::with_pauses(
        Deliveries::open(path).unwrap(),
        handlers,
        has_quorum,
        CancellationToken::new(),
        pauses,
    )
}

fn rig() -> Rig {
    let rig = Rig::new(&["REGRESSION_CLEARED"]);
    for number in 0..10 {
        rig.emit(cleared(if number % 2 == 0 { "hex8_2p" } else { "square8_2p" }, f64::from(number)));
    }
    table(&rig.folder.path().join("node.db"));
    rig
}

#[test]
fn a_kill_at_any_await_point_does_not_change_the_effects() {
    let expected = BTreeMap::from([
        ("hex8_2p".to_owned(), vec![1, 3, 5, 7, 9]),
        ("square8_2p".to_owned(), vec![2, 4, 6, 8, 10]),
    ]);
    for fails in [false, true] {
        let mut polls = 0;
        loop {
            let rig = rig();
            let path = rig.folder.path().join("node.db");
            let calls = Arc::default();
            let ended = life(async {
                let first = runner(&path, fails, &calls);
                at_most(polls, first.drain()).await
            });
            if ended {
                assert_eq!(effects(&path), expected, "without a kill");
            }
            let (handlers, dead) = life(async {
                let again = runner(&path, fails, &calls);
                again.drain().await;
                again.deliveries().status().await.unwrap()
            });
            assert_eq!(effects(&path), expected, "killed after {polls} polls, failures: {fails}");
            assert_eq!((handlers[0].handled, handlers[0].waiting, dead), (10, 0, 0), "{handlers:?}");
            if ended {
                break;
            }
            polls += 1;
        }
        println!("killed at each of {polls} await points, failures: {fails}");
        // Each lane has five events, and each event has two await points, however fast the database is.
        assert!(polls > 10, "{polls} await points");
    }
}

/// A handler, and what runs beside it and dies with it.
pub(crate) struct Started {
    pub(crate) handle: Box<dyn Fn(Arc<Logged>) -> Handling + Send + Sync>,
    pub(crate) beside: BoxFuture<'static, ()>,
}

/// Has a handler, begun by `start` in a folder, handle what operators emit; kills it at each await point in
/// turn, and lets it begin again. What `read` finds in the folder each time, the last time without a kill.
/// There is an await point before and after each call of the handler, so their number has a bound that does
/// not depend on how fast the disk is.
pub(crate) fn at_every_await_point<T>(
    events: &[Event],
    start: impl Fn(&Path) -> Started,
    read: impl Fn(&Path) -> T,
) -> Vec<T> {
    let names: BTreeSet<&'static str> = events.iter().map(Event::name).collect();
    let names: Vec<_> = names.into_iter().collect();
    let mut found = Vec::new();
    loop {
        let rig = Rig::new(&names);
        for event in events.iter().cloned() {
            rig.log.emit_all(vec![Emission { event, causes: Vec::new(), injected: true }]).unwrap();
        }
        let folder = rig.folder.path();
        let run = async || {
            let Started { handle, beside } = start(folder);
            let mut handlers = Handlers::default();
            handlers.on("h", &[], move |logged| {
                let handled = handle(logged);
                async move {
                    tokio::task::yield_now().await;
                    let handled = handled.await;
                    tokio::task::yield_now().await;
                    handled
                }
                .boxed()
            });
            let quorum = watch::Sender::new(true);
            let (path, shutdown) = (folder.join("node.db"), CancellationToken::new());
            let runner = Runner::with_pauses(
                Deliveries::open(&path).unwrap(),
                handlers,
                quorum.subscribe(),
                shutdown,
                PAUSES,
            );
            tokio::select! {
                () = runner.drain() => {}
                () = beside => panic!("it ended"),
            }
            let (handlers, dead) = runner.deliveries().status().await.unwrap();
            assert_eq!((handlers[0].waiting, dead), (0, 0), "{handlers:?}");
        };
        let ended = life(at_most(found.len(), run()));
        life(run());
        found.push(read(folder));
        if ended {
            return found;
        }
    }
}

/// The files as they are on the disk now: what a process that is killed now leaves.
fn snapshot(from: &Path, to: &Path) {
    for end in ["", "-wal"] {
        let with = |path: &Path| format!("{}{end}", path.display());
        // Another process, for closing a file drops this one's locks on it.
        let copied = Command::new("cp").args([with(from), with(to)]).status().unwrap();
        assert!(copied.success());
    }
}

#[tokio::test]
async fn a_kill_before_or_after_the_commit_leaves_one_effect() {
    let rig = Rig::new(&["REGRESSION_CLEARED"]);
    rig.emit(cleared("hex8_2p", 1.0));
    let path = rig.folder.path().join("node.db");
    drop(table(&path));
    let (before, after) = (rig.folder.path().join("before.db"), rig.folder.path().join("after.db"));
    let mut handlers = Handlers::default();
    let (from, to) = (path.clone(), before.clone());
    handlers.on("h", &[], move |logged| {
        let (from, to) = (from.clone(), to.clone());
        let insert = effect(&logged);
        let effect: Effect = Box::new(move |tx| {
            insert(tx)?;
            snapshot(&from, &to);
            Ok(())
        });
        async { Ok(Some(effect)) }.boxed()
    });
    let quorum = watch::Sender::new(true);
    let first = Runner::with_pauses(
        Deliveries::open(&path).unwrap(),
        handlers,
        quorum.subscribe(),
        CancellationToken::new(),
        PAUSES,
    );
    first.drain().await;
    snapshot(&path, &after);
    for (files, found) in [(before, 0), (after, 1)] {
        let rows = |path: &Path| effects(path).values().map(Vec::len).sum::<usize>();
        assert_eq!(rows(&files), found, "{}", files.display());
        runner(&files, false, &Arc::default()).drain().await;
        assert_eq!(rows(&files), 1, "{}", files.display());
    }
}
