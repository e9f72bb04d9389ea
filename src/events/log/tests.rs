//! One log, and two that tell each other.

mod bounds;
mod parts;
mod restored;
mod shunned;

use super::*;
use crate::events::{
    ChampionRegression, Emission, Event, EventHook, HostOnline, LeaderElected, TrainingProgress,
    caused::GAMES_PLANNED,
    envelope::{Envelope, EventId, PARTS_MAX, Signed},
    repair::{Floor, RepairQuestion},
    retention::KEPT,
};
use cluster_state::command::{RegisterNode, SetLeader};
use cluster_state::{ClusterState, Command, NodeId};
use raft::ApplyHook;
use tempfile::TempDir;

fn online(node: &str) -> Event {
    Event::HostOnline(HostOnline { node_id: node.into(), host: "h".into(), timestamp: 1.5 })
}

fn cleared(config_key: &str, elo_drop: f64) -> Event {
    Event::RegressionCleared(ChampionRegression {
        config_key: config_key.into(),
        node_id: "node-1".into(),
        elo_drop,
        model_id: None,
        current_elo: None,
        baseline_elo: None,
        games_played: 0,
        reason: String::new(),
        timestamp: 1.5,
    })
}

fn open(folder: &TempDir, name: &str) -> EventLog {
    let signer = Signer::load(&folder.path().join(format!("{name}.key"))).unwrap();
    EventLog::open(&folder.path().join(format!("{name}.db")), signer, Subscriptions::default()).unwrap()
}

fn emit(log: &EventLog, event: Event) -> Signed {
    log.emit_all(vec![event.into()]).unwrap().remove(0)
}

fn receive(log: &EventLog, signed: &Signed) -> Received {
    log.receive(std::slice::from_ref(signed), true, |_| true).unwrap()
}

fn events(log: &EventLog) -> Vec<Event> {
    log.since(0, 1000).unwrap().into_iter().map(|logged| logged.event).collect()
}

#[test]
fn an_event_is_kept_once_however_often_it_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (open(&folder, "a"), open(&folder, "b"));
    let message = Signed::decode(&a.emit(online("node-1")).unwrap()).unwrap();
    assert_eq!(receive(&b, &message).new, 1);
    assert_eq!(receive(&b, &message).new, 0);
    assert_eq!(receive(&a, &message).new, 0, "its own");
    let stranger = b.receive(std::slice::from_ref(&message), true, |_| false).unwrap();
    assert!(matches!(&stranger.refused[..], [EventRefusal::Stranger(_)]));
    let kept = b.since(0, 10).unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].event, online("node-1"));
    assert_eq!(b.newest("HOST_ONLINE").unwrap().as_ref(), kept.first());
    assert_eq!(b.newest("LEADER_ELECTED").unwrap(), None);
}

#[test]
fn a_reopened_log_counts_on() {
    let folder = tempfile::tempdir().unwrap();
    emit(&open(&folder, "a"), online("node-1"));
    let log = open(&folder, "a");
    emit(&log, online("node-2"));
    let kept = log.since(0, 10).unwrap();
    assert_eq!(kept.iter().map(|e| e.sequence).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(kept[0].epoch, kept[1].epoch);
    assert_eq!(kept[1].flow_previous, Some(1));
}

#[test]
fn an_unreadable_event_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, "a");
    ["node-1", "node-2", "node-3"].into_iter().for_each(|node| drop(emit(&log, online(node))));
    let damage = "UPDATE event_log SET envelope = x'00' WHERE sequence < 3";
    connect(&folder.path().join("a.db")).unwrap().execute(damage, []).unwrap();
    let kept = log.since(0, 1).unwrap();
    assert_eq!(kept.iter().map(|e| e.sequence).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_gap_delays_only_its_own_flow() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (open(&folder, "a"), open(&folder, "b"));
    let hex1 = emit(&a, cleared("hex8_2p", 1.0));
    let square = emit(&a, cleared("square8_2p", 2.0));
    let hex2 = emit(&a, cleared("hex8_2p", 3.0));
    let host = emit(&a, online("node-1"));
    assert!(receive(&b, &hex2).gap);
    for signed in [&host, &square] {
        assert!(!receive(&b, signed).gap);
    }
    assert_eq!(events(&b), [online("node-1"), cleared("square8_2p", 2.0)]);
    let have = b.vector().unwrap().into_values().next().unwrap();
    assert_eq!((have.watermark, have.beyond), (0, vec![(2, 4)]));
    receive(&b, &hex1);
    assert_eq!(events(&b)[2..], [cleared("hex8_2p", 1.0), cleared("hex8_2p", 3.0)]);
    let have = b.vector().unwrap().into_values().next().unwrap();
    assert_eq!((have.watermark, have.beyond), (4, vec![]));
}

#[test]
fn an_event_waits_for_its_cause_but_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, c) = (open(&folder, "a"), open(&folder, "b"), open(&folder, "c"));
    let cause = emit(&a, cleared("hex8_2p", 1.0));
    receive(&b, &cause);
    let causes = vec![b.since(0, 1).unwrap()[0].id()];
    let emission = Emission { event: cleared("square8_2p", 2.0), causes, injected: true };
    let effect = b.emit_all(vec![emission]).unwrap().remove(0);
    receive(&c, &effect);
    assert_eq!(events(&c), []);
    c.maintain_at(now_ms_i64() + 14 * 60_000, KEPT, 1000).unwrap();
    assert_eq!(events(&c), []);
    c.maintain_at(now_ms_i64() + 16 * 60_000, KEPT, 1000).unwrap();
    assert_eq!(events(&c), [cleared("square8_2p", 2.0)]);
    receive(&c, &cause);
    assert_eq!(events(&c).len(), 2);
    let kept = c.since(0, 1).unwrap().remove(0);
    assert!(kept.injected && kept.causes.len() == 1 && kept.flow == "square8_2p");
}

#[test]
fn a_node_that_was_away_too_long_goes_on_from_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (open(&folder, "a"), open(&folder, "b"));
    let first = emit(&a, online("node-1"));
    (2..=9).for_each(|n| drop(emit(&a, online(&format!("node-{n}")))));
    a.maintain_at(now_ms_i64(), 3, 1000).unwrap();
    assert_eq!(events(&a).len(), 3);
    let answer = a.answer(&b.question().unwrap()).unwrap();
    assert_eq!(answer.floors.iter().map(|floor| floor.lost_to).collect::<Vec<_>>(), [6]);
    assert_eq!(answer.events.len(), 3);
    b.receive(&answer.events, false, |_| true).unwrap();
    assert_eq!(events(&b), [], "they follow what is gone");
    assert_eq!(b.give_up(&answer.floors).unwrap(), 1);
    assert_eq!(events(&b), events(&a));
    assert_eq!(receive(&b, &first).new, 0, "a replay of what is gone");
    let answer = a.answer(&b.question().unwrap()).unwrap();
    assert_eq!((answer.events.len(), answer.floors.len()), (0, 0));
}

#[test]
fn a_peer_cannot_make_a_node_give_up_its_own_events() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, "a");
    emit(&log, online("node-1"));
    let before = log.vector().unwrap();
    let own = Floor { origin: log.origin.clone(), epoch: log.opened.0, lost_to: 1000 };
    let raft = Floor { origin: RAFT.into(), epoch: 0, lost_to: 1000 };
    log.give_up(&[own, raft]).unwrap();
    assert_eq!(log.vector().unwrap(), before);
}

#[test]
fn a_peer_cannot_make_a_node_miss_what_is_to_come() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (open(&folder, "a"), open(&folder, "b"));
    receive(&b, &emit(&a, online("node-1")));
    let floor = |lost_to| Floor { origin: a.origin.clone(), epoch: a.opened.0, lost_to };
    assert_eq!(b.give_up(&[floor(1000)]).unwrap(), 0);
    assert_eq!(b.give_up(&[Floor { origin: "nobody".into(), epoch: 1, lost_to: 1000 }]).unwrap(), 0);
    assert_eq!(receive(&b, &emit(&a, online("node-2"))).new, 1);
    assert_eq!(events(&b), [online("node-1"), online("node-2")]);
    // With the event at hand that comes after them, those before it are given up.
    emit(&a, online("node-3"));
    receive(&b, &emit(&a, online("node-4")));
    assert_eq!(b.give_up(&[floor(1000)]).unwrap(), 1);
    assert_eq!(events(&b), [online("node-1"), online("node-2"), online("node-4")]);
}

/// What two nodes say of one flow: a second event of `b`, which follows a first of `a`.
fn follows(a: &EventLog, b: &EventLog) -> (Signed, Signed) {
    let cause = emit(a, cleared("hex8_2p", 1.0));
    receive(b, &cause);
    (cause, emit(b, cleared("hex8_2p", 2.0)))
}

#[test]
fn a_lying_answer_moves_no_event_before_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, c) = (open(&folder, "a"), open(&folder, "b"), open(&folder, "c"));
    let (cause, effect) = follows(&a, &b);
    assert!(receive(&c, &effect).gap);
    let floor = |lost_to| Floor { origin: a.origin.clone(), epoch: a.opened.0, lost_to };
    for lost_to in [1, 1000, i64::MAX >> 2] {
        assert_eq!(c.proven_floors(&[floor(lost_to)]).unwrap(), []);
        assert_eq!(c.give_up(&[floor(lost_to)]).unwrap(), 0);
        assert_eq!(events(&c), [], "it waits for its cause, which may yet come");
    }
    receive(&c, &cause);
    assert_eq!(events(&c), [cleared("hex8_2p", 1.0), cleared("hex8_2p", 2.0)]);
    // A floor is clipped to what the origin's own signature proves.
    emit(&a, online("node-1"));
    receive(&c, &emit(&a, online("node-2")));
    assert_eq!(c.proven_floors(&[floor(1000)]).unwrap(), [floor(2)]);
}

fn rows(log: &EventLog, sql: &str) -> i64 {
    log.reader.lock().query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn what_two_say_of_one_flow_is_in_order_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, c) = (open(&folder, "a"), open(&folder, "b"), open(&folder, "c"));
    let started = emit(&a, cleared("hex8_2p", 1.0));
    receive(&b, &started);
    // Nobody names a cause here.
    let completed = emit(&b, cleared("hex8_2p", 2.0));
    let other = emit(&b, cleared("square8_2p", 3.0));
    assert!(receive(&c, &completed).gap);
    assert!(!receive(&c, &other).gap, "another flow waits for nothing");
    receive(&c, &started);
    let expected = [cleared("square8_2p", 3.0), cleared("hex8_2p", 1.0), cleared("hex8_2p", 2.0)];
    assert_eq!(events(&c), expected);
    // What came before a node's own last event is not named again.
    emit(&b, cleared("hex8_2p", 4.0));
    let last = b.since(0, 10).unwrap().pop().unwrap();
    assert_eq!((last.causes, last.flow_previous), (vec![], Some(1)));
    assert_eq!(rows(&b, "SELECT count(*) FROM event_parked"), 0);
}

#[test]
fn what_was_told_is_not_told_again() {
    let folder = tempfile::tempdir().unwrap();
    let progress = |epochs_completed| {
        Event::TrainingProgress(TrainingProgress {
            config_key: "hex8_2p".into(),
            node_id: "node-1".into(),
            job_id: "training:hex8_2p:1".into(),
            epochs_completed,
            total_epochs: 2,
            loss: 0.5,
            checkpoint_path: String::new(),
            timestamp: 1.5,
        })
    };
    let log = open(&folder, "a");
    assert!(log.emit_once(progress(1)).unwrap().is_some());
    assert!(log.emit_once(progress(1)).unwrap().is_none());
    assert!(log.emit_once(progress(2)).unwrap().is_some());
    drop(log);
    let log = open(&folder, "a");
    assert!(log.emit_once(progress(2)).unwrap().is_none());
    for _ in 0..2 {
        assert!(log.emit_once(online("node-1")).unwrap().is_some(), "it can happen again");
    }
    assert_eq!(events(&log).len(), 4);
}

#[test]
fn a_replay_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b, c) = (open(&folder, "a"), open(&folder, "b"), open(&folder, "c"));
    let event = emit(&a, online("node-1"));
    let opened = |from: &EventLog| b.open_event(Some(&from.origin), event.clone(), true, |_| true);
    let hear = |from: &EventLog| b.keep_opened(&[opened(from).unwrap()]).unwrap();
    assert_eq!(opened(&c).unwrap_err().kind(), "replayed");
    assert_eq!(events(&b), [], "whether or not it is known");
    assert_eq!((hear(&a).new, hear(&a).known), (1, 1));
    assert_eq!(
        opened(&c).unwrap_err().to_string(),
        format!("an event of {} was published by {}", a.origin, c.origin)
    );
    // Where it is forgotten that it was known, it is too old.
    let old = |ms| Envelope { at_ms: now_ms_i64() - ms, ..Envelope::decode(&event.envelope).unwrap() };
    let check = |ms: i64, live, expected: &[&str]| {
        let mut envelope = old(ms);
        envelope.id.epoch = ms;
        let signed = envelope.sign(&a.signer).unwrap();
        let received = b.receive(&[signed], live, |_| true).unwrap();
        assert_eq!(
            received.refused.iter().map(EventRefusal::kind).collect::<Vec<_>>(),
            expected,
            "{ms} ms, {live}"
        );
    };
    const HOUR: i64 = 3_600_000;
    check(HOUR / 2, true, &[]);
    check(HOUR + 60_000, true, &["clock"]);
    check(HOUR + 60_001, false, &[]);
    check(27 * 24 * HOUR, false, &[]);
    check(29 * 24 * HOUR, false, &["clock"]);
}

#[test]
fn old_events_are_dropped_but_not_before_they_are_handled() {
    let folder = tempfile::tempdir().unwrap();
    let signer = Signer::load(&folder.path().join("a.key")).unwrap();
    let subscriptions = Subscriptions::new([("LEADER_ELECTED", "roles")]);
    let a = EventLog::open(&folder.path().join("a.db"), signer, subscriptions).unwrap();
    let first = emit(&a, online("node-1"));
    emit(
        &a,
        Event::LeaderElected(LeaderElected {
            leader_id: "node-1".into(),
            node_id: "node-1".into(),
            term: 3,
            previous_leader_id: None,
            timestamp: 2.0,
        }),
    );
    let days = |days: i64| now_ms_i64() + days * 24 * 3_600_000;
    a.maintain_at(days(6), KEPT, 1000).unwrap();
    assert_eq!(events(&a).len(), 2);
    a.maintain_at(days(8), KEPT, 1000).unwrap();
    assert_eq!(rows(&a, "SELECT sequence FROM event_log"), 2, "a handler has yet to see it");
    a.commits.connection().execute("DELETE FROM event_inbox", []).unwrap();
    a.maintain_at(days(8), KEPT, 1000).unwrap();
    assert_eq!(events(&a), []);
    let have = a.vector().unwrap().into_values().next().unwrap();
    assert_eq!((have.watermark, have.beyond), (2, vec![]), "it is known that they were here");
    assert_eq!(receive(&a, &first).new, 0);
    assert_eq!(rows(&a, "SELECT count(*) FROM event_heads"), 0, "and nobody is asked to wait for them");
    // By number, whoever has not seen them: handlers that never run do not fill the disk.
    (0..9).for_each(|_| {
        a.commits
            .connection()
            .execute(
                "INSERT INTO event_inbox(handler, flow, position) SELECT 'x', 'y', 1 + \
            COALESCE(MAX(position), 2) FROM event_log",
                [],
            )
            .unwrap();
        drop(emit(&a, online("node-2")));
    });
    a.maintain_at(now_ms_i64(), 3, 1000).unwrap();
    assert_eq!((events(&a).len(), rows(&a, "SELECT count(*) FROM event_inbox")), (6, 6));
}

#[test]
fn a_snapshot_ends_the_wait_for_commands_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (open(&folder, "a"), open(&folder, "b"));
    let mut state = ClusterState::default();
    let response = cluster_state::state_machine::apply(&mut state, 5, &register(1));
    let mut hook = EventHook::new(GAMES_PLANNED, Subscriptions::default());
    let mut connection = connect(&folder.path().join("a.db")).unwrap();
    let tx = connection.transaction().unwrap();
    hook.on_apply(&tx, 5, &register(1), &response, &state).unwrap();
    tx.commit().unwrap();
    assert!(receive(&b, &emit(&a, online("node-9"))).gap);
    let mut connection = connect(&folder.path().join("b.db")).unwrap();
    let tx = connection.transaction().unwrap();
    hook.on_snapshot(&tx, &state).unwrap();
    tx.commit().unwrap();
    assert_eq!(events(&b), [online("node-9")]);
}

#[test]
fn an_answer_is_bounded_and_the_next_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (open(&folder, "a"), open(&folder, "b"));
    let many = (0..1200).map(|n| Emission::from(cleared("hex8_2p", f64::from(n)))).collect();
    a.emit_all(many).unwrap();
    let began = std::time::Instant::now();
    let mut answers = Vec::new();
    loop {
        let answer = a.answer(&b.question().unwrap()).unwrap();
        assert!(answer.encode().unwrap().len() < 400 << 10);
        b.receive(&answer.events, false, |_| true).unwrap();
        answers.push(answer.events.len());
        if !answer.more {
            break;
        }
    }
    println!("{:.0} events/s caught up", 1200.0 / began.elapsed().as_secs_f64());
    assert_eq!(answers.iter().sum::<usize>(), 1200);
    assert!(answers.len() > 2 && answers.iter().all(|n| *n <= 500), "{answers:?}");
    assert_eq!(events(&b)[999], cleared("hex8_2p", 999.0));
}

fn register(n: u64) -> Command {
    Command::RegisterNode(RegisterNode {
        peer_id: format!("p{n}"),
        name: "host".into(),
        addrs: vec![],
        http: String::new(),
        version: String::new(),
        boot: 1,
        admission: cluster_state::Admission::Known,
        at_ms: 1000,
    })
}

#[test]
fn applied_commands_become_events_with_their_log_index() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, "a");
    let mut connection = connect(&folder.path().join("a.db")).unwrap();
    let mut hook = EventHook::new(GAMES_PLANNED, Subscriptions::new([("LEADER_ELECTED", "roles")]));
    let mut state = ClusterState::default();
    let leader = |at_ms| Command::SetLeader(SetLeader { node: NodeId(1), term: 3, at_ms });
    for (index, command) in (5u64..).zip(&[register(1), leader(2000), leader(2500)]) {
        let response = cluster_state::state_machine::apply(&mut state, index, command);
        for _ in 0..2 {
            let tx = connection.transaction().unwrap();
            hook.on_apply(&tx, index, command, &response, &state).unwrap();
            tx.commit().unwrap();
        }
    }
    assert_eq!(log.last_decision_ms().unwrap(), Some(2000));
    let kept = log.since(0, 10).unwrap();
    let elected = Event::LeaderElected(LeaderElected {
        leader_id: "node-1".into(),
        node_id: "node-1".into(),
        term: 3,
        previous_leader_id: None,
        timestamp: 2.0,
    });
    let found: Vec<_> = kept.iter().map(|e| (e.origin.as_str(), e.sequence, e.event.clone())).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((found[0].0, found[0].1, found[0].2.name()), ("raft", 5 * PARTS_MAX, "HOST_ONLINE"));
    assert_eq!(found[1], ("raft", 6 * PARTS_MAX, elected));
    let rows: i64 = connection.query_row("SELECT count(*) FROM event_inbox", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1, "the handler's row came in the same transaction");
    assert_eq!(log.vector().unwrap().len(), 0, "never sent");
}

/// Whatever a command says, consensus goes on: a bound that `check` lacks, on a time or on a text.
#[test]
fn a_command_that_makes_no_event_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, "a");
    let mut connection = connect(&folder.path().join("a.db")).unwrap();
    let mut hook = EventHook::new(GAMES_PLANNED, Subscriptions::default());
    let state = ClusterState::default();
    let mut apply = |index, name: &str, at_ms| {
        let command = Command::RegisterNode(RegisterNode {
            peer_id: "p".into(),
            name: name.into(),
            addrs: vec![],
            http: String::new(),
            version: String::new(),
            boot: 1,
            admission: cluster_state::Admission::Known,
            at_ms,
        });
        let response = cluster_state::Response::Node { id: NodeId(1), came_online: true };
        let tx = connection.transaction().unwrap();
        hook.on_apply(&tx, index, &command, &response, &state).unwrap();
        tx.commit().unwrap();
    };
    apply(5, "host", u64::MAX);
    apply(6, &"x".repeat(20_000), 2000);
    apply(7, "host", 3000);
    let kept: Vec<_> = log.since(0, 9).unwrap().iter().map(|e| (e.sequence, e.at_ms)).collect();
    assert_eq!(kept, [(5 * PARTS_MAX, i64::MAX), (7 * PARTS_MAX, 3000)]);
}

/// A row of the disk that cannot be read is no reason either: neither for Raft nor for what waits behind it.
#[test]
fn a_damaged_parked_event_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (open(&folder, "a"), open(&folder, "b"));
    let mut state = ClusterState::default();
    let response = cluster_state::state_machine::apply(&mut state, 5, &register(1));
    let apply = |name: &str| {
        let mut connection = connect(&folder.path().join(name)).unwrap();
        let tx = connection.transaction().unwrap();
        let mut hook = EventHook::new(GAMES_PLANNED, Subscriptions::default());
        hook.on_apply(&tx, 5, &register(1), &response, &state).unwrap();
        tx.commit().unwrap();
    };
    apply("a.db");
    receive(&b, &emit(&a, online("node-8")));
    receive(&b, &emit(&a, online("node-9")));
    let damage = "UPDATE event_parked SET envelope = x'00' WHERE sequence = 1";
    b.commits.connection().execute(damage, []).unwrap();
    apply("b.db");
    let names: Vec<i64> = b.since(0, 9).unwrap().iter().map(|logged| logged.sequence).collect();
    assert_eq!(names, [5 * PARTS_MAX, 2]);
    assert_eq!(rows(&b, "SELECT count(*) FROM event_parked"), 0);
}

#[test]
fn an_event_that_follows_a_command_waits_until_it_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (open(&folder, "a"), open(&folder, "b"));
    let mut state = ClusterState::default();
    let response = cluster_state::state_machine::apply(&mut state, 5, &register(1));
    let apply = |name: &str| {
        let mut connection = connect(&folder.path().join(name)).unwrap();
        let tx = connection.transaction().unwrap();
        let mut hook = EventHook::new(GAMES_PLANNED, Subscriptions::default());
        hook.on_apply(&tx, 5, &register(1), &response, &state).unwrap();
        tx.commit().unwrap();
    };
    apply("a.db");
    let follows = emit(&a, online("node-9"));
    receive(&b, &follows);
    assert_eq!(events(&b), []);
    apply("b.db");
    let names: Vec<i64> = b.since(0, 9).unwrap().iter().map(|logged| logged.sequence).collect();
    assert_eq!(names, [5 * PARTS_MAX, 1]);
}

#[test]
fn the_first_command_after_a_snapshot_is_compared_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder, "a");
    let mut connection = connect(&folder.path().join("a.db")).unwrap();
    let mut hook = EventHook::new(GAMES_PLANNED, Subscriptions::default());
    let mut state = ClusterState::default();
    cluster_state::state_machine::apply(&mut state, 1, &register(1));
    cluster_state::state_machine::apply(&mut state, 2, &register(2));
    cluster_state::state_machine::apply(
        &mut state,
        3,
        &Command::SetLeader(SetLeader { node: NodeId(1), term: 3, at_ms: 2000 }),
    );
    let tx = connection.transaction().unwrap();
    hook.on_snapshot(&tx, &state).unwrap();
    let command = Command::SetLeader(SetLeader { node: NodeId(2), term: 4, at_ms: 3000 });
    let response = cluster_state::state_machine::apply(&mut state, 4, &command);
    hook.on_apply(&tx, 4, &command, &response, &state).unwrap();
    tx.commit().unwrap();
    let elected = log.newest("LEADER_ELECTED").unwrap().unwrap().event;
    assert!(
        matches!(&elected, Event::LeaderElected(e) if e.previous_leader_id.as_deref() == Some("node-1")),
        "{elected:?}"
    );
}
