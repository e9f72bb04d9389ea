//! A folder that somebody restored.

use super::*;

/// The peers' answers until neither has news for the other.
pub(super) fn exchange(a: &EventLog, b: &EventLog) -> usize {
    let mut rounds = 0;
    loop {
        let mut news = 0;
        for (to, from) in [(a, b), (b, a)] {
            let answer = from.answer(&to.question().unwrap()).unwrap();
            let received = to.receive(&answer.events, false, |_| true).unwrap();
            to.tell().unwrap();
            news += received.new + to.give_up(&answer.floors).unwrap();
        }
        if news == 0 {
            return rounds;
        }
        rounds += 1;
        assert!(rounds < 20, "they never agree");
    }
}

#[test]
fn a_restored_folder_neither_loses_nor_reuses_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let (file, backup) = (folder.path().join("a.db"), folder.path().join("backup.db"));
    let b = open(&folder, "b");
    let a = open(&folder, "a");
    let mut said = vec![emit(&a, online("before"))];
    drop(a);
    std::fs::copy(&file, &backup).unwrap();
    let a = open(&folder, "a");
    let lost = [cleared("hex8_2p", 1.0), online("lost"), cleared("hex8_2p", 2.0)];
    said.extend(lost.clone().map(|event| emit(&a, event)));
    drop(a);
    said.iter().for_each(|signed| drop(receive(&b, signed)));
    assert_eq!(events(&b).len(), 4);

    std::fs::copy(&backup, &file).unwrap();
    let a = open(&folder, "a");
    // It says other things under the same numbers, but to nobody, until it has heard of its own past; also if
    // it starts again before.
    let anew = [online("anew"), cleared("hex8_2p", 3.0)];
    let untold = |a: &EventLog| {
        assert!(!a.may_tell());
        let answer = a.answer(&RepairQuestion::default()).unwrap();
        assert_eq!((answer.events.len(), answer.floors.len()), (1, 0), "what was in the copy may be told");
    };
    emit(&a, anew[0].clone());
    untold(&a);
    drop(a);
    let a = open(&folder, "a");
    emit(&a, anew[1].clone());
    untold(&a);
    exchange(&a, &b);
    assert!(a.may_tell(), "no number of a new epoch was used before");
    assert!(!b.is_shunned(&a.origin) && b.refused().is_empty());
    let sorted = |log: &EventLog| {
        let mut all: Vec<String> = events(log).iter().map(|event| format!("{event:?}")).collect();
        all.sort();
        all
    };
    assert_eq!(sorted(&a), sorted(&b));
    assert!(lost.iter().chain(&anew).all(|event| events(&b).contains(event)), "{:?}", events(&b));
    // It goes on under the new epoch, also when it starts again, and after what it said before.
    emit(&a, online("next"));
    let last = a.since(0, 100).unwrap().pop().unwrap();
    assert_eq!((last.sequence, last.flow_previous), (3, Some(1)));
    assert_ne!(last.epoch, a.opened.0);
    assert!(last.causes.contains(&Envelope::decode(&said[2].envelope).unwrap().id), "{last:?}");
    drop(a);
    let a = open(&folder, "a");
    emit(&a, online("and on"));
    exchange(&a, &b);
    assert_eq!(sorted(&a), sorted(&b));
    assert_eq!((events(&b).len(), rows(&b, "SELECT count(*) FROM event_parked")), (8, 0));
}

#[test]
fn a_node_that_starts_again_tells_of_new_events_once_it_has_heard_of_the_old() {
    let folder = tempfile::tempdir().unwrap();
    let a = open(&folder, "a");
    assert!(a.may_tell(), "no number of a new folder was used before");
    emit(&a, online("before"));
    drop(a);
    let a = open(&folder, "a");
    emit(&a, online("after"));
    let answer = || a.answer(&RepairQuestion::default()).unwrap().events.len();
    assert_eq!((a.may_tell(), answer()), (false, 1));
    a.tell().unwrap();
    assert_eq!((a.may_tell(), answer()), (true, 2));
    drop(a);
    let a = open(&folder, "a");
    emit(&a, online("and on"));
    assert_eq!(a.answer(&RepairQuestion::default()).unwrap().events.len(), 2);
}

/// What a peer answers, without anything that follows from it.
fn hear(to: &EventLog, from: &EventLog) {
    let answer = from.answer(&to.question().unwrap()).unwrap();
    to.receive(&answer.events, false, |_| true).unwrap();
}

#[test]
fn what_only_a_peer_has_that_is_away_is_not_told_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (file, backup) = (folder.path().join("a.db"), folder.path().join("backup.db"));
    let (b, c) = (open(&folder, "b"), open(&folder, "c"));
    let a = open(&folder, "a");
    let before = emit(&a, online("before"));
    drop(a);
    std::fs::copy(&file, &backup).unwrap();
    let a = open(&folder, "a");
    let lost = emit(&a, online("lost"));
    drop(a);
    for log in [&b, &c] {
        receive(log, &before);
    }
    receive(&c, &lost);

    std::fs::copy(&backup, &file).unwrap();
    let a = open(&folder, "a");
    emit(&a, online("untold"));
    let mut answered = Answered::default();
    hear(&a, &b);
    answered.note("b", std::time::Instant::now());
    assert!(!answered.is_all(["b", "c"].into_iter()) && answered.is_all(["b"].into_iter()));
    a.tell_anew().unwrap();
    emit(&a, online("anew"));
    hear(&b, &a);
    assert_eq!(events(&b), ["before", "untold", "anew"].map(online), "b hears at once");
    exchange(&b, &c);
    exchange(&a, &c);
    exchange(&a, &b);
    for log in [&a, &b, &c] {
        assert!(log.shunned().borrow().is_empty() && log.refused().is_empty());
        let mut found: Vec<String> = events(log).iter().map(|event| format!("{event:?}")).collect();
        found.sort();
        let mut all = ["before", "lost", "untold", "anew"].map(|name| format!("{:?}", online(name)));
        all.sort();
        assert_eq!(found, all);
    }
}

#[test]
fn a_node_begins_only_so_many_epochs() {
    let folder = tempfile::tempdir().unwrap();
    let b = open(&folder, "b");
    for start in 0..40 {
        let a = open(&folder, "a");
        emit(&a, online(&format!("start {start}")));
        a.tell_anew().unwrap();
        assert!(a.may_tell());
        hear(&b, &a);
        assert_eq!(events(&b).len(), start + 1, "peers have room for its epochs");
    }
    let epochs = rows(&b, "SELECT count(DISTINCT epoch) FROM event_log");
    assert!((10..=16).contains(&epochs), "{epochs}");
    // Nine days later none of them is in use any more.
    let a = open(&folder, "a");
    let later = "UPDATE event_vector SET updated_ms = updated_ms - 777600000";
    a.write(|writer| Ok(writer.connection.execute(later, [])?)).unwrap();
    emit(&a, online("later"));
    a.tell_anew().unwrap();
    hear(&b, &a);
    assert_eq!(rows(&b, "SELECT count(DISTINCT epoch) FROM event_log"), epochs + 1);
}
