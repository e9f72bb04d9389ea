//! What a log keeps, and that it stays within bounds whatever others say.

use super::*;
use crate::events::vector;
use rusqlite::params;

/// Whether there was no room for the first event of a peer under each of these epochs.
fn flood(log: &EventLog, peer: &Signer, epochs: std::ops::Range<i64>) -> Vec<bool> {
    say(log, peer, epochs, 1)
}

fn say(log: &EventLog, peer: &Signer, epochs: std::ops::Range<i64>, sequence: i64) -> Vec<bool> {
    let made = |epoch| {
        let id = EventId { origin: peer.peer_id(), epoch, sequence };
        let event = online("node-1");
        let at_ms = (log.clock)();
        let envelope = Envelope { id, at_ms, flow_previous: None, causes: vec![], injected: false, event };
        envelope.sign(peer).unwrap()
    };
    epochs.map(|epoch| log.receive(&[made(epoch)], false, |_| true).unwrap().full).collect()
}

#[test]
fn a_member_has_only_so_many_epochs() {
    let folder = tempfile::tempdir().unwrap();
    let peer = |name: &str| Signer::load(&folder.path().join(format!("{name}.key"))).unwrap();
    let (liar, honest) = (peer("liar"), peer("honest"));
    let skipped = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let now = Arc::clone(&skipped);
    let ahead = Arc::new(move || now_ms_i64() + now.load(std::sync::atomic::Ordering::Relaxed));
    let path = folder.path().join("a.db");
    let log = EventLog::with_clock(&path, peer("a"), Subscriptions::default(), ahead).unwrap();
    assert_eq!(flood(&log, &liar, 1..36), [vec![false; 32], vec![true; 3]].concat());
    assert_eq!(say(&log, &liar, 1..33, 2), [false; 32], "those that it has go on");
    assert_eq!(flood(&log, &honest, 1..3), [false; 2], "others have their own");
    assert_eq!(rows(&log, "SELECT count(*) FROM event_vector"), 34);
    // The room of an epoch that is silent and gone is for the next; one that speaks stays.
    skipped.store(8 * 24 * 3_600_000, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(flood(&log, &liar, 50..51), [true], "its events are here");
    assert!(!log.maintain().unwrap());
    assert_eq!(events(&log), []);
    assert_eq!(flood(&log, &liar, 50..83), [vec![false; 32], vec![true]].concat());
    assert_eq!(rows(&log, "SELECT count(*) FROM event_vector"), 34);
    assert!(rows(&log, "SELECT MIN(epoch) FROM event_vector WHERE epoch > 2") >= 50);
}

/// A folder of a build that had no such bound.
#[test]
fn nobody_is_crowded_out_of_the_vector() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, "a");
    let sql = "INSERT INTO event_vector VALUES (?, ?, 1, ?)";
    let insert = |origin: &str, epoch: i64, updated_ms: i64| {
        log.commits.connection().execute(sql, params![origin, epoch, updated_ms]).unwrap();
    };
    (0..1500).for_each(|epoch| insert("liar", epoch, 1000 + epoch));
    [("honest", 7, 5), ("honest", 8, 6), ("other", 9, 7)].into_iter().for_each(|(o, e, u)| insert(o, e, u));
    let vector = log.vector().unwrap();
    assert_eq!(vector.len(), vector::ENTRIES_MAX);
    for (origin, epoch) in [("honest", 8), ("honest", 7), ("other", 9), ("liar", 1499)] {
        assert!(vector.contains_key(&(origin.to_owned(), epoch)), "{origin} {epoch}");
    }
}

#[test]
fn what_was_handled_is_remembered_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, "a");
    for n in 0..9 {
        let sql = "INSERT INTO event_done VALUES ('h', ?1, ?1)";
        log.commits.connection().execute(sql, [n]).unwrap();
        log.commits.connection().execute("INSERT INTO event_told VALUES (?1, ?1)", [n]).unwrap();
    }
    let check = |before_ms, most, oldest, count| {
        log.write(|writer| upkeep::forget(writer, before_ms, most)).unwrap();
        for table in ["event_done", "event_told"] {
            let found = |what| rows(&log, &format!("SELECT {what} FROM {table}"));
            assert_eq!((found("MIN(at_ms)"), found("count(*)")), (oldest, count), "{table}");
        }
    };
    check(0, 100, 0, 9);
    check(2, 100, 2, 7);
    check(0, 4, 5, 4);
}

/// One transaction drops only so much; whoever calls learns that there is more.
#[test]
fn upkeep_says_when_there_is_more_to_drop() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, "a");
    log.emit_all((0..10).map(|n| online(&format!("node-{n}")).into()).collect()).unwrap();
    let round = || (log.maintain_at(now_ms_i64(), 1, 4).unwrap(), events(&log).len());
    assert_eq!([round(), round(), round()], [(true, 6), (true, 2), (false, 1)]);
}

/// An event that waits for its handler is kept longer than those
/// around it: there are holes among what is left.
#[test]
fn holes_in_a_log_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::load(&folder.path().join("a.key")).unwrap();
    let subscriptions = Subscriptions::new([("REGRESSION_CLEARED", "slow")]);
    let a = EventLog::open(&folder.path().join("a.db"), signer, subscriptions).unwrap();
    let b = open(&folder, "b");
    for n in 0..4 {
        emit(&a, cleared("hex8_2p", f64::from(n)));
        (0..3).for_each(|host| drop(emit(&a, online(&format!("node-{n}-{host}")))));
    }
    a.maintain_at(now_ms_i64(), 8, 1000).unwrap();
    let left: Vec<i64> = a.since(0, 100).unwrap().iter().map(|logged| logged.sequence).collect();
    assert_eq!(left, [vec![1, 5], (9..=16).collect()].concat(), "what waits, and the newest eight");
    super::restored::exchange(&a, &b);
    assert_eq!(rows(&b, "SELECT count(*) FROM event_parked"), 0, "nothing waits for what is gone");
    assert_eq!(events(&b).len(), 10);
    let answer = a.answer(&b.question().unwrap()).unwrap();
    assert_eq!((answer.events.len(), answer.floors.len()), (0, 0));
    // Nothing is left of a range at its end.
    (0..4).for_each(|n| drop(emit(&a, online(&format!("last-{n}")))));
    a.commits.connection().execute("DELETE FROM event_log WHERE sequence > 16", []).unwrap();
    let answer = a.answer(&b.question().unwrap()).unwrap();
    assert_eq!(answer.floors.iter().map(|floor| floor.lost_to).collect::<Vec<_>>(), [20]);
}

#[test]
fn an_event_and_the_change_that_it_tells_of_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, "a");
    log.commits.connection().execute("CREATE TABLE told(n INTEGER)", []).unwrap();
    let insert = |connection: &Connection| connection.execute("INSERT INTO told VALUES (1)", []).map(drop);
    let failed = log.emit_with(online("node-1"), |connection| {
        insert(connection)?;
        Err(rusqlite::Error::InvalidQuery)
    });
    assert!(failed.is_err());
    assert_eq!((events(&log).len(), rows(&log, "SELECT count(*) FROM told")), (0, 0));
    log.emit_with(online("node-2"), insert).unwrap();
    assert_eq!((events(&log).len(), rows(&log, "SELECT count(*) FROM told")), (1, 1));
}
