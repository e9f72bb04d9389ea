//! A folder that somebody restored.

use super::*;

/// The peers' answers until neither has news for the other.
pub(super) fn exchange(a: &EventLog, b: &EventLog) -> usize {
    let mut rounds = 0;
    loop {
        let mut news = 0;
        for (to, from) in [(a, b), (b, a)] {
            let answer = from.answer(&to.vector().unwrap()).unwrap();
            let received = to.receive(&answer.events, false, |_| true).unwrap();
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
    // Until it hears of its own past, it says other things under the same numbers.
    let anew = [online("anew"), cleared("hex8_2p", 3.0)];
    for event in anew.clone() {
        assert!(matches!(&receive(&b, &emit(&a, event)).refused[..], [EventRefusal::Conflict(_)]));
    }
    exchange(&a, &b);
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
