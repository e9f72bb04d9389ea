//! What nodes do: say something, hear, ask for what is missing, and handle.

use super::World;
use crate::{
    daemons::fixture::KEY,
    events::{
        Event,
        envelope::{Envelope, EventId, EventRefusal, Signed},
        golden,
        log::Received,
        repair::{Floor, RepairAnswer, RepairQuestion},
        simulation::{
            network::{Happening, copies},
            world::NODES,
        },
        vector::{Source, VersionVector},
    },
};
use rand::RngExt;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

/// Beginnings and ends, told by the nodes themselves.
const PAIRS: [(&str, &str); 3] = [
    ("TRAINING_STARTED", "TRAINING_COMPLETED"),
    ("EVALUATION_STARTED", "EVALUATION_COMPLETED"),
    ("MODEL_PROMOTED", "MODEL_DISTRIBUTION_COMPLETE"),
];
/// Beside the one of which Raft decides.
const FLOWS: [&str; 2] = ["square8_2p", "square8_3p"];
/// An example of an event, about a job in a flow.
fn example(name: &str, flow: &str, number: u64) -> Event {
    let example = golden::examples().into_iter().find(|event| event.name() == name).unwrap();
    let mut value = serde_json::to_value(example).unwrap();
    let fields = value[name].as_object_mut().unwrap();
    let model = wire::Hash::of(&number.to_le_bytes()).to_string();
    let job = [
        ("config_key", json!(flow)),
        ("job_id", json!(format!("job {number}"))),
        ("model_id", json!(model)),
        ("generation", json!(number)),
        ("epochs_completed", json!(number)),
        ("games_played", json!(number)),
    ];
    for (field, content) in job {
        fields.entry(field).and_modify(|value: &mut Value| *value = content);
    }
    serde_json::from_value(value).unwrap()
}

/// An answer that keeps every event back and says that all of them are gone.
fn lies(known: &VersionVector, now_ms: i64) -> RepairAnswer {
    let floor =
        |(origin, epoch): &Source| Floor { origin: origin.clone(), epoch: *epoch, lost_to: i64::MAX >> 2 };
    RepairAnswer { now_ms, floors: known.keys().map(floor).collect(), ..RepairAnswer::default() }
}

impl World {
    pub(super) fn look(&mut self, node: usize) {
        let now = self.now();
        if let Some(log) = self.nodes[node].log() {
            self.oracle.look(node, log, now);
        }
    }

    /// Something that a node says: a beginning, the end of what it heard the beginning of, or anything else.
    fn choose(&mut self, node: usize) -> (Event, Option<(usize, u64, bool)>) {
        let flow = |number: u64| FLOWS[number as usize % 2];
        let kind = self.random.random_range(0..PAIRS.len());
        self.number += 1;
        let roll = self.random.random_range(0..100);
        let log = self.nodes[node].log().unwrap();
        // Begun by anybody, as far as this node has heard; and the last of them, whether it has heard or not.
        let heard = log.newest(PAIRS[kind].0).unwrap().map(|logged| logged.id());
        let mut begun = self.oracle.pairs.iter().filter(|((name, _), _)| *name == PAIRS[kind].0);
        let heard = begun.clone().find(|(_, pair)| heard.as_ref().is_some_and(|id| pair.begun.contains(id)));
        let (heard, last) =
            (heard.map(|((_, number), _)| *number), begun.next_back().map(|((_, number), _)| *number));
        let training =
            self.nodes[node].state.config(KEY).is_some_and(|config| config.training.live.is_some());
        match (roll, heard, last) {
            (0..30, ..) => {
                (example(PAIRS[kind].0, flow(self.number), self.number), Some((kind, self.number, false)))
            }
            (30..60, Some(number), _) => {
                (example(PAIRS[kind].1, flow(number), number), Some((kind, number, true)))
            }
            // A second emitter of the same.
            (60..70, _, Some(number)) => {
                (example(PAIRS[kind].0, flow(number), number), Some((kind, number, false)))
            }
            (70..80, ..) => (example("HOST_ONLINE", "", self.number), None),
            (80..90, ..) if training => (example("TRAINING_PROGRESS", KEY, self.number), None),
            _ => (example("REGRESSION_CLEARED", flow(self.number), self.number), None),
        }
    }

    pub(super) fn emit(&mut self, node: usize) {
        self.look(node);
        if !self.lives(node) || self.liar == Some(node) {
            return;
        }
        let (event, pair) = self.choose(node);
        let flow = event.flow().to_owned();
        let signed = self.nodes[node].log().unwrap().emit_all(vec![event.into()]).unwrap().remove(0);
        let id = Envelope::decode(&signed.envelope).unwrap().id;
        self.figures.acknowledged += 1;
        self.oracle.said(node, &id, &flow, self.clock.load(Ordering::Relaxed));
        if let Some((kind, number, ends)) = pair {
            let pair = self.oracle.pairs.entry((PAIRS[kind].0, number)).or_default();
            let told = if ends { &mut pair.ended } else { &mut pair.begun };
            told.insert(id);
        }
        self.look(node);
        if self.weather.kills && self.random.random_bool(0.02) {
            return self.kill_for_a_while(node); // before anybody is told
        }
        if !self.nodes[node].log().is_some_and(|log| log.may_tell()) {
            return; // they ask for it later
        }
        for to in (0..NODES).filter(|to| *to != node) {
            self.send(node, to, &signed);
        }
    }

    /// Two events under one number, each to some of the others.
    pub(in crate::events::simulation) fn equivocate(&mut self, node: usize) {
        let log = self.nodes[node].log().unwrap();
        let event = |number| example("REGRESSION_CLEARED", FLOWS[0], number);
        let one = log.emit_all(vec![event(1).into()]).unwrap().remove(0);
        let other = Envelope { event: event(2), ..Envelope::decode(&one.envelope).unwrap() };
        assert_ne!(one.envelope, other.sign(&self.nodes[node].signer()).unwrap().envelope);
        let other = other.sign(&self.nodes[node].signer()).unwrap();
        for to in (0..NODES).filter(|to| *to != node) {
            // Nothing of this is lost: what nobody hears is no story.
            self.arrive(to, node, if to % 2 == 0 { one.clone() } else { other.clone() });
        }
    }

    fn send(&mut self, node: usize, to: usize, signed: &Signed) {
        let arrivals = copies(&self.weather, &mut self.random, self.clock.load(Ordering::Relaxed));
        match arrivals.len() {
            0 => self.figures.lost += 1,
            count => self.figures.repeated += count - 1,
        }
        for at in arrivals {
            self.future.add(at, Happening::Arrive { to, from: node, signed: signed.clone() });
        }
    }

    pub(super) fn arrive(&mut self, to: usize, from: usize, signed: Signed) {
        let Some(log) = self.nodes[to].log().filter(|_| self.apart[to] == self.apart[from]) else {
            self.figures.lost += 1;
            return;
        };
        let author = Envelope::decode(&signed.envelope).unwrap().id.origin;
        let received = match log.open_event(Some(&author), signed, true, |_| true) {
            Ok(opened) => log.keep_opened(&[opened]).unwrap(),
            Err(refused) => Received { refused: vec![refused], ..Received::default() },
        };
        self.check_received(&received);
        if received.gap {
            self.later(1..2, Happening::Repair(to, false));
        }
        self.look(to);
    }

    /// One node asks another what it lacks until there is no more, as [`crate::node`] does, in real frames.
    pub(super) fn repair(&mut self, node: usize) {
        let other = (node + self.random.random_range(1..NODES)) % NODES;
        if self.apart[node] == self.apart[other] && !self.random.random_bool(self.weather.lost) {
            self.ask(node, other);
        }
        self.look(node);
    }

    pub(super) fn ask(&mut self, node: usize, other: usize) {
        let (Some(to), Some(from)) = (self.nodes[node].log().cloned(), self.nodes[other].log().cloned())
        else {
            return;
        };
        loop {
            self.figures.rounds += 1;
            let question = RepairQuestion::decode(&to.question().unwrap().encode().unwrap()).unwrap();
            let answer = if self.liar == Some(other) {
                lies(&from.vector().unwrap(), self.now())
            } else {
                from.answer(&question).unwrap()
            };
            let answer = RepairAnswer::decode(&answer.encode().unwrap(), self.now()).unwrap();
            let received = to.receive(&answer.events, false, |_| true).unwrap();
            self.check_received(&received);
            self.figures.repaired += received.new;
            to.accuse(&answer.proofs, |_| true).unwrap();
            let floors = to.proven_floors(&answer.floors).unwrap();
            let peer = self.nodes[other].signer().peer_id();
            let floors = self.nodes[node].claims.hear(&peer, floors, NODES);
            to.give_up(&floors).unwrap();
            if !answer.more || received.new == 0 {
                break;
            }
        }
        let node = &mut self.nodes[node];
        node.answered.insert(other);
        if node.answered.len() >= NODES / 2 {
            to.tell().unwrap();
        }
    }

    /// Only the liar's events are ever refused.
    fn check_received(&self, received: &Received) {
        assert!(!received.full, "{received:?}");
        let liar = self.liar.map(|liar| self.nodes[liar].signer().peer_id());
        for refused in &received.refused {
            let of_liar = match refused {
                EventRefusal::Conflict(origin) | EventRefusal::Shunned(origin) => {
                    Some(origin) == liar.as_ref()
                }
                _ => false,
            };
            assert!(of_liar, "{refused}");
        }
    }

    /// What the node itself does now and then; and what waits, waits for its own flow alone.
    pub(super) fn upkeep(&self, node: usize) {
        let Some(log) = self.nodes[node].log() else { return };
        log.maintain().unwrap();
        let connection = crate::events::schema::connect(&self.nodes[node].path()).unwrap();
        let sql = "SELECT p.envelope, w.origin, w.epoch, w.sequence FROM event_parked p JOIN event_waits w ON w.parked = p.id";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| {
            let id = EventId { origin: row.get(1)?, epoch: row.get(2)?, sequence: row.get(3)? };
            Ok((row.get::<_, Vec<u8>>(0)?, id))
        });
        for row in rows.unwrap() {
            let (envelope, id) = row.unwrap();
            let flow = Envelope::decode(&envelope).unwrap().event.flow().to_owned();
            assert!(self.oracle.flows.get(&id).is_none_or(|other| *other == flow), "{flow} waits for {id}");
        }
    }

    pub(super) fn handle(&mut self, node: usize) {
        let Some(alive) = &self.nodes[node].alive else { return };
        self.runtime.block_on(alive.runner.drain());
        if alive.killed.is_cancelled() {
            self.kill_for_a_while(node);
        }
    }
}
