//! Five nodes' logs on real files, and a network that loses, repeats, reorders and parts.
//!
//! Whatever one of them acknowledged must in the end be in every log, once, after everything that it follows.

use super::{
    Event, Regression,
    envelope::{EventId, Signed},
    log::{Emission, EventLog, Subscriptions},
    repair::{Answer, Question},
};
use p2p::Signer;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use std::{collections::HashMap, path::PathBuf};
use tempfile::TempDir;

const NODES: usize = 5;
const FLOWS: [&str; 3] = ["hex8_2p", "square8_2p", "square8_3p"];

struct World {
    folder: TempDir,
    logs: Vec<Option<EventLog>>,
    random: Pcg64Mcg,
    /// Messages under way: to whom, what.
    network: Vec<(usize, Signed)>,
    /// Nodes on the other side of a partition.
    apart: [bool; NODES],
    acknowledged: usize,
    lost: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut world = Self {
            folder,
            logs: Vec::new(),
            random: Pcg64Mcg::seed_from_u64(seed),
            network: Vec::new(),
            apart: [false; NODES],
            acknowledged: 0,
            lost: 0,
        };
        for node in 0..NODES {
            let log = Some(world.open(node));
            world.logs.push(log);
        }
        world
    }

    fn path(&self, node: usize, suffix: &str) -> PathBuf {
        self.folder.path().join(format!("{node}.{suffix}"))
    }

    fn open(&self, node: usize) -> EventLog {
        let signer = Signer::load(&self.path(node, "key")).unwrap();
        EventLog::open(&self.path(node, "db"), signer, Subscriptions::default()).unwrap()
    }

    /// A node says something, often because of what it heard last.
    fn emit(&mut self, node: usize) {
        let number = self.acknowledged;
        let flow = FLOWS[self.random.random_range(0..FLOWS.len())];
        let Some(log) = &self.logs[node] else { return };
        let mut causes = Vec::new();
        if self.random.random_bool(0.5) {
            causes.extend(log.newest("REGRESSION_CLEARED").unwrap().map(|logged| logged.id()));
        }
        let event = Event::RegressionCleared(Regression {
            config_key: flow.into(),
            node_id: format!("node-{node}"),
            elo_drop: number as f64,
            model_id: None,
            current_elo: None,
            baseline_elo: None,
            games_played: 0,
            reason: String::new(),
            timestamp: 0.0,
        });
        let signed = log.emit_all(vec![Emission { event, causes, injected: false }]).unwrap().remove(0);
        self.acknowledged += 1;
        for other in (0..NODES).filter(|other| *other != node) {
            match self.random.random_range(0..10) {
                0..3 => self.lost += 1,
                3..5 => self.network.extend([(other, signed.clone()), (other, signed.clone())]),
                _ if self.apart[other] != self.apart[node] => self.lost += 1,
                _ => self.network.push((other, signed.clone())),
            }
        }
    }

    /// Some messages arrive, in any order.
    fn deliver(&mut self) {
        for _ in 0..self.random.random_range(0..6) {
            if self.network.is_empty() {
                return;
            }
            let chosen = self.random.random_range(0..self.network.len());
            let (node, signed) = self.network.swap_remove(chosen);
            if let Some(log) = &self.logs[node] {
                let received = log.receive(&[signed], true, |_| true).unwrap();
                assert!(received.refused.is_empty(), "{:?}", received.refused);
            }
        }
    }

    /// One node asks another what it lacks, through the real encoding. Says whether anything came.
    fn repair(&self, asker: usize, asked: usize) -> bool {
        let (Some(to), Some(from)) = (&self.logs[asker], &self.logs[asked]) else { return false };
        if asker == asked || self.apart[asker] != self.apart[asked] {
            return false;
        }
        let question = Question { vector: to.vector().unwrap() }.encode().unwrap();
        let answer = from.answer(&Question::decode(&question).unwrap().vector).unwrap().encode().unwrap();
        let answer = Answer::decode(&answer, crate::clock::now_ms() as i64).unwrap();
        assert_eq!(answer.floors, []);
        to.receive(&answer.events, false, |_| true).unwrap().new > 0
    }

    fn step(&mut self) {
        let (node, other) = (self.random.random_range(0..NODES), self.random.random_range(0..NODES));
        match self.random.random_range(0..100) {
            0..40 => self.emit(node),
            40..80 => self.deliver(),
            80..90 => drop(self.repair(node, other)),
            90..94 => self.apart = std::array::from_fn(|n| n < node),
            94..96 => self.apart = [false; NODES],
            96..98 => self.logs[node] = None, // killed
            _ if self.logs[node].is_none() => self.logs[node] = Some(self.open(node)),
            _ => {}
        }
    }

    /// The network heals; no gossip any more. Returns the rounds it took.
    fn settle(&mut self) -> usize {
        self.apart = [false; NODES];
        for node in 0..NODES {
            if self.logs[node].is_none() {
                self.logs[node] = Some(self.open(node));
            }
        }
        (1..)
            .find(|_| {
                let mut quiet = true;
                for asker in 0..NODES {
                    for asked in 0..NODES {
                        quiet &= !self.repair(asker, asked);
                    }
                }
                quiet
            })
            .unwrap()
    }

    fn check(&self) {
        for log in self.logs.iter().flatten() {
            let kept = log.since(0, 1000).unwrap();
            let places: HashMap<EventId, usize> = kept.iter().map(|e| e.id()).zip(0..).collect();
            assert_eq!(kept.len(), self.acknowledged);
            assert_eq!(places.len(), kept.len(), "once each");
            for (place, logged) in kept.iter().enumerate() {
                let previous = logged.flow_previous.map(|sequence| EventId { sequence, ..logged.id() });
                for before in logged.causes.iter().chain(&previous) {
                    assert!(places[before] < place, "{before} comes before {}", logged.id());
                }
            }
        }
    }
}

#[test]
fn every_acknowledged_event_reaches_every_node_once_and_in_causal_order() {
    let (mut acknowledged, mut lost) = (0, 0);
    for seed in 0..6 {
        println!("seed {seed}");
        let mut world = World::new(seed);
        (0..250).for_each(|_| world.step());
        let rounds = world.settle();
        assert!(rounds < 10, "{rounds} rounds");
        world.check();
        acknowledged += world.acknowledged;
        lost += world.lost;
    }
    println!("{acknowledged} events acknowledged, {lost} messages lost");
    assert!(acknowledged > 300 && lost > 200, "the network was too kind");
}
