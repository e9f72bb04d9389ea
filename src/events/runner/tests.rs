//! Handlers that fail, panic, wait and are killed, on a real database.

use super::*;
use crate::{
    api::events::HandlerStatus,
    events::{ChampionRegression, Emission, Event, Games, HostOffline, HostOnline},
};
use cluster_state::SegmentId;
use p2p::Signer;
use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};
use tempfile::TempDir;
use wire::Hash;

const FAST: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(10)];

pub(super) struct Rig {
    pub(super) folder: TempDir,
    pub(super) log: Arc<EventLog>,
}

impl Rig {
    pub(super) fn new(events: &[&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signer = Signer::load(&folder.path().join("key")).unwrap();
        let subscriptions = Subscriptions::new(events.iter().map(|event| (*event, "h")));
        let log = EventLog::open(&folder.path().join("node.db"), signer, subscriptions).unwrap();
        Self { folder, log: Arc::new(log) }
    }

    pub(super) fn emit(&self, event: Event) {
        self.log.emit_all(vec![Emission::from(event)]).unwrap();
    }

    pub(super) fn runner(
        &self,
        quorum: &watch::Sender<bool>,
        handle: impl Fn(Arc<Logged>) -> Handling + Send + Sync + 'static,
    ) -> Running {
        let mut handlers = Handlers::default();
        handlers.on("h", &[], handle);
        let path = self.folder.path().join("node.db");
        let shutdown = CancellationToken::new();
        let runner = Runner::with_pauses(
            Deliveries::open(&path).unwrap(),
            handlers,
            quorum.subscribe(),
            shutdown.clone(),
            FAST,
        );
        let task = tokio::spawn(runner.clone().run(Arc::clone(&self.log)));
        Running { runner, shutdown, task }
    }
}

pub(super) struct Running {
    pub(super) runner: Runner,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(super) async fn until(&self, what: impl Fn(&HandlerStatus, u64) -> bool) {
        let met = async {
            loop {
                let (handlers, dead) = self.runner.deliveries().status().await.unwrap();
                if handlers.first().is_some_and(|status| what(status, dead)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let late = tokio::time::timeout(Duration::from_secs(20), met).await.is_err();
        assert!(!late, "{:?}", self.runner.deliveries().status().await.unwrap());
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

pub(super) fn online(node: &str) -> Event {
    Event::HostOnline(HostOnline { node_id: node.into(), host: String::new(), timestamp: 1.5 })
}

pub(super) fn offline(node: &str) -> Event {
    Event::HostOffline(HostOffline {
        node_id: node.into(),
        host: String::new(),
        reason: String::new(),
        timestamp: 1.5,
    })
}

pub(super) fn games(segment: &str, node: &str) -> Event {
    Event::NewGamesAvailable(Games {
        config_key: "hex8_2p".into(),
        node_id: node.into(),
        game_count: 1,
        total_games: 1,
        db_path: String::new(),
        segment: SegmentId(Hash::of(segment.as_bytes())),
        timestamp: 1.5,
    })
}

pub(super) fn cleared(config_key: &str, number: f64) -> Event {
    Event::RegressionCleared(ChampionRegression {
        config_key: config_key.into(),
        node_id: "node-1".into(),
        elo_drop: number,
        model_id: None,
        current_elo: None,
        baseline_elo: None,
        games_played: 0,
        reason: String::new(),
        timestamp: 1.5,
    })
}

pub(super) fn ok() -> Handling {
    async { Ok(None) }.boxed()
}

pub(super) fn fail(why: &'static str) -> Handling {
    async move { Err(HandlerError::Failed(why.to_owned())) }.boxed()
}

#[test]
fn the_pauses_are_those_of_the_map() {
    assert_eq!(PAUSES, [Duration::from_secs(1), Duration::from_secs(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_event_is_tried_three_times_and_blocks_no_other() {
    let rig = Rig::new(&["HOST_ONLINE", "HOST_OFFLINE"]);
    let quorum = watch::Sender::new(true);
    let (poisoned, cured) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    [offline("panics"), online("a"), offline("fails"), online("b")].into_iter().for_each(|e| rig.emit(e));
    let (counted, cure) = (Arc::clone(&poisoned), Arc::clone(&cured));
    let running = rig.runner(&quorum, move |logged| match &logged.event {
        Event::HostOffline(_) if cure.load(Ordering::Relaxed) == 1 => ok(),
        Event::HostOffline(host) => {
            counted.fetch_add(1, Ordering::Relaxed);
            assert_ne!(host.node_id, "panics");
            fail("no such host")
        }
        _ => ok(),
    });
    running.until(|status, dead| status.handled == 2 && dead == 2 && status.waiting == 0).await;
    assert_eq!(poisoned.load(Ordering::Relaxed), 6);
    let runner = &running.runner;
    let letters = runner.deliveries().dead_letters(0).await.unwrap();
    let told: Vec<_> =
        letters.iter().map(|l| (l.handler.as_str(), l.error.as_str(), l.retry_count)).collect();
    assert_eq!(told, [("h", "the handler panicked", 3), ("h", "no such host", 3)]);
    assert_eq!(letters[1].payload.event, offline("fails"));
    assert!(letters[1].timestamp > 0);
    assert_eq!(runner.deliveries().dead_letter(letters[0].id).await.unwrap().as_ref(), Some(&letters[0]));

    let replayed = runner.replay_dlq_events(24).await.unwrap();
    assert_eq!(replayed, Replayed { replayed: 2, recovered: 0, failed: 2, waiting: 0, left: 0 });
    assert_eq!(runner.deliveries().dead_letters(0).await.unwrap()[0].retry_count, 4);
    cured.store(1, Ordering::Relaxed);
    let replayed = runner.replay_dlq_events(24).await.unwrap();
    assert_eq!(replayed, Replayed { replayed: 2, recovered: 2, failed: 0, waiting: 0, left: 0 });
    assert_eq!(runner.deliveries().dead_letters(0).await.unwrap(), []);
    assert_eq!(runner.deliveries().purge(None).await.unwrap(), 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_quorum_is_waited_for() {
    let rig = Rig::new(&["HOST_ONLINE"]);
    let quorum = watch::Sender::new(false);
    let has_quorum = quorum.subscribe();
    rig.emit(online("a"));
    let running = rig.runner(&quorum, move |_| {
        let led = *has_quorum.borrow();
        async move { if led { Ok(None) } else { Err(HandlerError::NoQuorum) } }.boxed()
    });
    running.until(|status, _| status.parked == 1).await;
    quorum.send_replace(true);
    running.until(|status, dead| status.handled == 1 && dead == 0).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_emitters_of_one_thing_have_one_effect() {
    let rig = Rig::new(&["NEW_GAMES_AVAILABLE", "HOST_ONLINE"]);
    let quorum = watch::Sender::new(true);
    let all = [games("s", "node-1"), games("s", "node-2"), games("t", "node-1"), online("a"), online("a")];
    all.into_iter().for_each(|event| rig.emit(event));
    let running = rig.runner(&quorum, |_| ok());
    running.until(|status, _| (status.handled, status.duplicates) == (4, 1)).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_do_not_wait_for_each_other_and_each_is_in_order() {
    let rig = Rig::new(&["REGRESSION_CLEARED"]);
    let quorum = watch::Sender::new(true);
    for number in 0..20 {
        rig.emit(cleared("hex8_2p", f64::from(number)));
        rig.emit(cleared("square8_2p", f64::from(number)));
    }
    let (open, opened) = watch::channel(false);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let running = rig.runner(&quorum, move |logged| {
        let (mut opened, record) = (opened.clone(), Arc::clone(&record));
        async move {
            if logged.flow == "hex8_2p" {
                opened.wait_for(|open| *open).await.unwrap();
            }
            record.lock().unwrap().push((logged.flow.clone(), logged.sequence));
            Ok(None)
        }
        .boxed()
    });
    running.until(|status, _| status.handled == 20).await;
    assert!(seen.lock().unwrap().iter().all(|(flow, _)| flow == "square8_2p"));
    open.send_replace(true);
    running.until(|status, _| status.handled == 40).await;
    for flow in ["hex8_2p", "square8_2p"] {
        let seen = seen.lock().unwrap();
        let order: Vec<i64> = seen.iter().filter(|(f, _)| f == flow).map(|(_, n)| *n).collect();
        assert!(order.len() == 20 && order.is_sorted(), "{flow}: {order:?}");
    }
    running.stop().await;
}

/// The effect is a row in `node.db`; the runner is stopped at random moments, attempts fail at random.
#[tokio::test(flavor = "multi_thread")]
async fn failures_and_kills_do_not_change_the_effects() {
    let rig = Rig::new(&["REGRESSION_CLEARED"]);
    let connection = crate::events::schema::connect(&rig.folder.path().join("node.db")).unwrap();
    connection.execute("CREATE TABLE effects(number INTEGER)", []).unwrap();
    let quorum = watch::Sender::new(true);
    for number in 0..60 {
        rig.emit(cleared(if number % 2 == 0 { "hex8_2p" } else { "square8_2p" }, f64::from(number)));
    }
    let calls = Arc::new(AtomicU32::new(0));
    for round in 0..100u64 {
        let calls = Arc::clone(&calls);
        let running = rig.runner(&quorum, move |logged| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            async move {
                tokio::time::sleep(Duration::from_micros(u64::from(call % 7) * 300)).await;
                if call.is_multiple_of(5) {
                    return Err(HandlerError::NoQuorum);
                }
                let sequence = logged.sequence;
                let effect: Effect =
                    Box::new(move |tx| tx.execute("INSERT INTO effects VALUES (?)", [sequence]).map(drop));
                Ok(Some(effect))
            }
            .boxed()
        });
        quorum.send_replace(round % 2 == 0);
        let (handlers, _) = running.runner.deliveries().status().await.unwrap();
        if handlers.first().is_some_and(|status| status.waiting == 0) {
            running.stop().await;
            break;
        }
        tokio::time::sleep(Duration::from_millis(10 + round % 13)).await;
        running.shutdown.cancel();
        running.task.await.unwrap();
    }
    let running = rig.runner(&quorum, |logged| {
        let sequence = logged.sequence;
        let effect: Effect =
            Box::new(move |tx| tx.execute("INSERT INTO effects VALUES (?)", [sequence]).map(drop));
        async move { Ok(Some(effect)) }.boxed()
    });
    running.until(|status, dead| status.handled == 60 && dead == 0).await;
    running.stop().await;
    let sql = "SELECT count(*), count(DISTINCT number) FROM effects";
    let counts: (i64, i64) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(counts, (60, 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_a_handler_does_not_spin() {
    let rig = Rig::new(&["HOST_ONLINE"]);
    let quorum = watch::Sender::new(true);
    rig.emit(online("a"));
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let running = rig.runner(&quorum, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Err(HandlerError::NoQuorum) }.boxed()
    });
    quorum.send_replace(false);
    running.until(|status, _| status.parked == 1).await;
    let before = calls.load(Ordering::Relaxed);
    // The next attempt is due after a second.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(calls.load(Ordering::Relaxed) <= before + 1, "{}", calls.load(Ordering::Relaxed));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_hang_keep_no_other_waiting() {
    const HANGING: [&str; 24] = [
        "a", "b", "c", "d", "e", "f", "g", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u",
        "v", "w", "x", "y",
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.db");
    let mut handlers = Handlers::default();
    for name in HANGING {
        handlers.on(name, &["HOST_ONLINE"], |_| futures::future::pending().boxed());
    }
    handlers.on("z", &["HOST_ONLINE"], |_| ok());
    let signer = Signer::load(&folder.path().join("key")).unwrap();
    let log = Arc::new(EventLog::open(&path, signer, handlers.subscriptions()).unwrap());
    let (quorum, shutdown) = (watch::Sender::new(true), CancellationToken::new());
    let runner = Runner::with_pauses(
        Deliveries::open(&path).unwrap(),
        handlers,
        quorum.subscribe(),
        shutdown.clone(),
        FAST,
    );
    let task = tokio::spawn(runner.clone().run(Arc::clone(&log)));
    log.emit(online("a")).unwrap();
    let handled = async {
        while !runner.deliveries().status().await.unwrap().0.iter().any(|status| status.handled == 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), handled).await.unwrap();
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_fails_is_a_failed_attempt_and_leaves_nothing() {
    let rig = Rig::new(&["HOST_ONLINE"]);
    let connection = crate::events::schema::connect(&rig.folder.path().join("node.db")).unwrap();
    connection.execute("CREATE TABLE effects(node TEXT)", []).unwrap();
    let quorum = watch::Sender::new(true);
    ["no such table", "panics", "good"].into_iter().for_each(|node| rig.emit(online(node)));
    let running = rig.runner(&quorum, |logged| {
        let Event::HostOnline(HostOnline { node_id, .. }) = logged.event.clone() else { return ok() };
        let effect: Effect = Box::new(move |tx| {
            tx.execute("INSERT INTO effects VALUES (?)", [&node_id])?;
            assert_ne!(node_id, "panics");
            let table = if node_id == "good" { "effects" } else { "absent" };
            tx.query_row(&format!("SELECT count(*) FROM {table}"), [], |_| Ok(()))
        });
        async { Ok(Some(effect)) }.boxed()
    });
    running.until(|status, dead| (status.handled, dead, status.waiting) == (1, 2, 0)).await;
    let letters = running.runner.deliveries().dead_letters(0).await.unwrap();
    let errors: Vec<_> = letters.iter().map(|letter| (letter.error.as_str(), letter.retry_count)).collect();
    assert_eq!(errors[0], ("the effect failed: no such table: absent", 3));
    assert_eq!(errors[1], ("the effect failed: it panicked", 3));
    let replayed = running.runner.replay_dlq_events(24).await.unwrap();
    assert_eq!(replayed, Replayed { replayed: 2, recovered: 0, failed: 2, waiting: 0, left: 0 });
    let kept: Vec<String> = connection
        .prepare("SELECT node FROM effects")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(kept, ["good"]);
    running.stop().await;
}

/// A row that was damaged, or that a build with other payloads left.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_event_is_dead_and_blocks_no_other() {
    let rig = Rig::new(&["HOST_ONLINE", "HOST_OFFLINE"]);
    ["a", "damaged", "b"].into_iter().for_each(|node| rig.emit(online(node)));
    rig.emit(offline("fails"));
    let connection = crate::events::schema::connect(&rig.folder.path().join("node.db")).unwrap();
    connection.execute("UPDATE event_log SET envelope = x'00' WHERE sequence = 2", []).unwrap();
    let quorum = watch::Sender::new(true);
    let running = rig.runner(&quorum, |logged| match &logged.event {
        Event::HostOffline(_) => fail("no such host"),
        _ => ok(),
    });
    running.until(|status, dead| (status.handled, dead, status.waiting) == (2, 2, 0)).await;
    let sql = "SELECT name, error, origin = (SELECT MAX(origin) FROM event_log), sequence FROM event_dlq WHERE payload = ''";
    let letter = connection.query_row(sql, [], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, bool>(2)?,
            row.get::<_, i64>(3)?,
        ))
    });
    let (name, error, own, sequence) = letter.unwrap();
    assert_eq!((name.as_str(), own, sequence), ("HOST_ONLINE", true, 2));
    assert!(error.starts_with("the stored event is unreadable"), "{error}");

    // Neither it nor a damaged letter hides the others, and both can be purged.
    rig.emit(offline("fails too"));
    running.until(|status, dead| (dead, status.waiting) == (3, 0)).await;
    connection.execute("UPDATE event_dlq SET payload = '{' WHERE sequence = 4", []).unwrap();
    let runner = &running.runner;
    let letters = runner.deliveries().dead_letters(0).await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.payload.sequence).collect::<Vec<_>>(), [5]);
    let replayed = runner.replay_dlq_events(24).await.unwrap();
    assert_eq!(replayed, Replayed { replayed: 1, recovered: 0, failed: 1, waiting: 0, left: 0 });
    assert_eq!(runner.deliveries().purge(None).await.unwrap(), 3);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_ends_in_time_and_tells_what_is_left() {
    let rig = Rig::new(&["HOST_ONLINE"]);
    ["a", "b", "c"].into_iter().for_each(|node| rig.emit(online(node)));
    let quorum = watch::Sender::new(true);
    let hangs = Arc::new(AtomicU32::new(0));
    let hang = Arc::clone(&hangs);
    let running = rig.runner(&quorum, move |logged| {
        let last = matches!(&logged.event, Event::HostOnline(it) if it.node_id != "a");
        match hang.load(Ordering::Relaxed) {
            0 => fail("at first"),
            1 if last => ok(),
            _ => futures::future::pending().boxed(),
        }
    });
    running.until(|status, dead| (dead, status.waiting) == (3, 0)).await;
    let replay = |ms| running.runner.replay_within(Duration::from_millis(ms), 24);
    // One that hangs had all the time: it failed, and the others had none.
    hangs.store(1, Ordering::Relaxed);
    let failed = Replayed { replayed: 1, recovered: 0, failed: 1, waiting: 0, left: 2 };
    assert_eq!(replay(300).await.unwrap(), failed);
    assert_eq!(running.runner.deliveries().dead_letters(0).await.unwrap().len(), 3);
    hangs.store(2, Ordering::Relaxed);
    let began = std::time::Instant::now();
    assert_eq!(replay(300).await.unwrap(), failed);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    hangs.store(0, Ordering::Relaxed);
    let failed = Replayed { replayed: 3, recovered: 0, failed: 3, waiting: 0, left: 0 };
    assert_eq!(replay(20_000).await.unwrap(), failed);
    running.stop().await;
}
