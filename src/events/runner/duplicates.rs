//! The same thing told by two emitters: for every event and every handler that is registered, one effect.

use super::{
    tests::{Rig, games},
    *,
};
use crate::events::{Component, Event, EventKind, golden, pairs, schema};
use p2p::Signer;
use std::path::Path;
use tokio::sync::Barrier;

fn open(folder: &Path, name: &str, subscriptions: Subscriptions) -> EventLog {
    let signer = Signer::load(&folder.join(format!("{name}.key"))).unwrap();
    EventLog::open(&folder.join(format!("{name}.db")), signer, subscriptions).unwrap()
}

/// A change that counts: `handler` did something about `event`.
fn effect(handler: &'static str, event: &Event) -> Effect {
    let name = event.name();
    Box::new(move |tx| tx.execute("INSERT INTO effects VALUES (?, ?)", [handler, name]).map(drop))
}

#[tokio::test]
async fn two_emitters_have_one_effect_at_every_registered_handler() {
    let folder = tempfile::tempdir().unwrap();
    let mut handlers = Handlers::default();
    for component in Component::ALL {
        let (daemon, events) = (component.name(), component.events().map(EventKind::name));
        handlers.on(daemon, &events.collect::<Vec<_>>(), move |logged| {
            async move { Ok(Some(effect(daemon, &logged.event))) }.boxed()
        });
    }
    let here = open(folder.path(), "here", handlers.subscriptions());
    let others = ["a", "b"].map(|name| open(folder.path(), name, Subscriptions::default()));
    for event in golden::examples() {
        for other in &others {
            let signed = other.emit_all(vec![event.clone().into()]).unwrap();
            let received = here.receive(&signed, true, |_| true).unwrap();
            assert_eq!((received.new, received.gap), (1, false), "{}", event.name());
        }
    }
    let path = folder.path().join("here.db");
    let connection = schema::connect(&path).unwrap();
    connection.execute("CREATE TABLE effects(handler TEXT, event TEXT)", []).unwrap();
    let quorum = watch::Sender::new(true);
    let runner =
        Runner::new(Deliveries::open(&path).unwrap(), handlers, quorum.subscribe(), CancellationToken::new());
    runner.drain().await;
    let count = "SELECT count(*) FROM effects WHERE handler = ? AND event = ?";
    let mut once = 0;
    for event in golden::examples() {
        // What can happen again is told apart by nothing: two are two, and its handlers look at the state.
        let expected = if event.once().is_some() { 1 } else { 2 };
        for (_, daemon) in pairs().filter(|(name, _)| *name == event.name()) {
            let found: i64 = connection.query_row(count, [daemon, event.name()], |row| row.get(0)).unwrap();
            assert_eq!(found, expected, "{} at {daemon}", event.name());
            once += u64::from(expected == 1);
        }
    }
    let (status, dead) = runner.deliveries().status().await.unwrap();
    assert_eq!((status.iter().map(|status| status.duplicates).sum::<u64>(), dead), (once, 0));
    assert!(once > 10, "{once} pairs");
}

/// Two lanes may have the same thing in hand at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn two_at_the_same_time_have_one_effect() {
    let rig = Rig::new(&["NEW_GAMES_AVAILABLE"]);
    let Event::NewGamesAvailable(mut other) = games("s", "node-2") else { unreachable!() };
    other.config_key = "square8_2p".into();
    [games("s", "node-1"), Event::NewGamesAvailable(other)].into_iter().for_each(|event| rig.emit(event));
    let connection = schema::connect(&rig.folder.path().join("node.db")).unwrap();
    connection.execute("CREATE TABLE effects(handler TEXT, event TEXT)", []).unwrap();
    let quorum = watch::Sender::new(true);
    let both = Arc::new(Barrier::new(2));
    let running = rig.runner(&quorum, move |logged| {
        let both = Arc::clone(&both);
        async move {
            both.wait().await;
            Ok(Some(effect("h", &logged.event)))
        }
        .boxed()
    });
    running.until(|status, _| status.waiting == 0 && status.handled == 2).await;
    let count: i64 = connection.query_row("SELECT count(*) FROM effects", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
    running.stop().await;
}
