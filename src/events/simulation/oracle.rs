//! What was said and what must come of it, written down apart from the logs.

use super::node::{HANDLERS, Node, key};
use crate::events::{
    Logged,
    envelope::{EventId, RAFT},
    log::EventLog,
    schema,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Origin and epoch, and how far they are.
pub(super) type Seen = BTreeMap<(String, i64), i64>;

/// An event that its emitter has acknowledged.
struct Said {
    at_ms: i64,
    /// What its emitter knew of the flow.
    seen: Seen,
}

/// Of what is said to begin and to end: when each is where.
#[derive(Default)]
pub(super) struct Pair {
    pub(super) begun: BTreeSet<EventId>,
    pub(super) ended: BTreeSet<EventId>,
}

/// Everything that was said.
#[derive(Default)]
pub(super) struct Oracle {
    said: BTreeMap<EventId, Said>,
    /// What Raft decided.
    decided: BTreeSet<EventId>,
    /// Of which a node has to have what comes after this number: what is before came as a snapshot.
    pub(super) snapshots: HashMap<usize, i64>,
    pub(super) flows: HashMap<EventId, String>,
    pub(super) pairs: BTreeMap<(&'static str, u64), Pair>,
    /// How far each node's log was read, and what it held.
    read_to: HashMap<usize, i64>,
    known: HashMap<(usize, String), Seen>,
    here: HashMap<usize, BTreeSet<EventId>>,
    /// Some logs begin in the middle.
    forgot: bool,
    pub(super) longest_ms: i64,
}

impl Oracle {
    pub(super) fn said(&mut self, node: usize, id: &EventId, flow: &str, at_ms: i64) {
        let seen = self.known.get(&(node, flow.to_owned())).cloned().unwrap_or_default();
        self.said.insert(id.clone(), Said { at_ms, seen });
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.said.len()
    }

    pub(super) fn decided(&self) -> usize {
        self.decided.len()
    }

    /// Notes what has come into a node's log.
    pub(super) fn look(&mut self, node: usize, log: &EventLog, now_ms: i64) {
        loop {
            let read_to = self.read_to.entry(node).or_default();
            let page = log.since(*read_to, 500).unwrap();
            let Some(last) = page.last() else { return };
            *read_to = last.position;
            for logged in page {
                let id = logged.id();
                if id.origin == RAFT {
                    self.decided.insert(id.clone());
                } else if let Some(said) = self.said.get(&id) {
                    self.longest_ms = self.longest_ms.max(now_ms - said.at_ms);
                }
                let known = self.known.entry((node, logged.flow.clone())).or_default();
                known.insert((logged.origin.clone(), logged.epoch), logged.sequence);
                self.here.entry(node).or_default().insert(id.clone());
                self.flows.insert(id, logged.flow);
            }
        }
    }

    /// Whether a node has all that was said and decided.
    pub(super) fn is_complete(&self, node: usize) -> bool {
        let Some(here) = self.here.get(&node) else { return false };
        self.said.keys().chain(self.decided_for(node)).all(|id| here.contains(id))
    }

    fn decided_for(&self, node: usize) -> impl Iterator<Item = &EventId> {
        let from = self.snapshots.get(&node).copied().unwrap_or(0);
        self.decided.iter().filter(move |id| id.sequence > from)
    }

    /// Nobody can be asked for what was said until now.
    pub(super) fn forget(&mut self) {
        self.forgot = true;
        self.said.clear();
        self.decided.clear();
        self.pairs.clear();
    }

    /// Holds one node's log and effects against what was said.
    pub(super) fn check(&self, node: &Node) {
        let log = all(node.log().unwrap());
        let places: HashMap<EventId, usize> = log.iter().map(Logged::id).zip(0..).collect();
        assert_eq!(places.len(), log.len(), "once each");
        for id in self.said.keys().chain(self.decided_for(node.name)) {
            assert!(places.contains_key(id), "node {} lacks {id}", node.name);
        }
        for (place, logged) in log.iter().enumerate() {
            let previous = logged.flow_previous.map(|sequence| EventId { sequence, ..logged.id() });
            let named = logged.causes.iter().cloned().chain(previous);
            let seen = self.said.get(&logged.id()).into_iter().flat_map(|said| &said.seen);
            let seen = seen.map(|((origin, epoch), sequence)| EventId {
                origin: origin.clone(),
                epoch: *epoch,
                sequence: *sequence,
            });
            for before in named.chain(seen) {
                if self.said.contains_key(&before) || places.contains_key(&before) {
                    assert!(places[&before] < place, "{before} comes before {}", logged.id());
                }
            }
        }
        for ((what, number), pair) in &self.pairs {
            let first = pair.begun.iter().filter_map(|id| places.get(id)).min();
            for end in pair.ended.iter().filter_map(|id| places.get(id)) {
                assert!(first.is_some_and(|first| first < end), "node {}: {what} {number}", node.name);
            }
        }
        let raft: Vec<i64> = log.iter().filter(|l| l.origin == RAFT).map(|l| l.sequence).collect();
        assert!(raft.is_sorted(), "{raft:?}");
        if !self.forgot {
            promises(log.iter().filter(|logged| logged.origin == RAFT));
        }
        self.check_effects(node, &log);
    }

    fn check_effects(&self, node: &Node, log: &[Logged]) {
        let connection = schema::connect(&node.path()).unwrap();
        for handler in HANDLERS {
            let sql = "SELECT key, position, flow FROM effects WHERE handler = ? ORDER BY rowid";
            let mut statement = connection.prepare(sql).unwrap();
            let rows = statement.query_map([handler], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
            let rows: Vec<(String, i64, String)> = rows.unwrap().collect::<Result<_, _>>().unwrap();
            let keys: BTreeSet<&String> = rows.iter().map(|(key, ..)| key).collect();
            assert_eq!(keys.len(), rows.len(), "one effect each");
            for logged in log {
                assert!(keys.contains(&key(logged)), "node {}: {handler} lacks {}", node.name, logged.id());
            }
            if handler == "sound" {
                let mut last: HashMap<&str, i64> = HashMap::new();
                for (_, position, flow) in &rows {
                    let before = last.insert(flow, *position);
                    assert!(before.is_none_or(|before| before < *position), "in the order of the log");
                }
            }
        }
    }
}

/// The map's three promises, where the cluster itself decided.
fn promises<'a>(raft: impl Iterator<Item = &'a Logged>) {
    let mut open: HashMap<(&str, &str), i64> = HashMap::new();
    for logged in raft {
        let flow = logged.flow.as_str();
        let (what, by) = match logged.event.name() {
            "TRAINING_STARTED" => ("training", 1),
            "TRAINING_COMPLETED" => ("training", -1),
            "EVALUATION_STARTED" => ("evaluation", 1),
            "EVALUATION_COMPLETED" => ("evaluation", -1),
            "MODEL_PROMOTED" => ("promotion", 1),
            "MODEL_DISTRIBUTION_COMPLETE" => ("promotion", -1),
            _ => continue,
        };
        let count = open.entry((flow, what)).or_default();
        *count += by;
        assert!(*count >= 0, "{} before its beginning", logged.event.name());
    }
    assert!(open.len() >= 3, "{open:?}");
}

/// A whole log.
pub(super) fn all(log: &EventLog) -> Vec<Logged> {
    let mut found: Vec<Logged> = Vec::new();
    loop {
        let page = log.since(found.last().map_or(0, |logged| logged.position), 1000).unwrap();
        if page.is_empty() {
            return found;
        }
        found.extend(page);
    }
}
