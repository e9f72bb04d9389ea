//! The five of them, and what happens to them.

mod acts;

use super::{
    network::{Future, Happening, Weather},
    node::{Faults, Node},
    oracle::{Oracle, all},
};
use crate::{
    clock,
    daemons::fixture,
    events::envelope::{EventId, PARTS_MAX},
};
use cluster_state::Command;
use p2p::Signer;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

pub(super) const NODES: usize = 5;
const DAY: i64 = 24 * 3600 * 1000;
/// How long everything may take to be everywhere.
const PATIENCE: i64 = 120_000;

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) acknowledged: usize,
    pub(super) decided: usize,
    pub(super) lost: usize,
    pub(super) repeated: usize,
    /// Questions for what is missing, and events that came by an answer.
    pub(super) rounds: usize,
    pub(super) repaired: usize,
    pub(super) kills: usize,
    pub(super) handler_kills: u64,
    pub(super) dead: u64,
    pub(super) longest_ms: i64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acknowledged,
            decided,
            lost,
            repeated,
            rounds,
            repaired,
            kills,
            handler_kills,
            dead,
            longest_ms,
        } = self;
        write!(
            f,
            "{acknowledged} events acknowledged and {decided} decided; {lost} messages lost, {repeated} repeated; \
             {rounds} repair rounds brought {repaired}; {kills} nodes killed, {handler_kills} by their handlers; \
             {dead} dead letters replayed; longest delay {longest_ms} ms"
        )
    }
}

pub(super) struct World {
    _root: TempDir,
    runtime: Runtime,
    clock: Arc<AtomicI64>,
    random: Pcg64Mcg,
    weather: Weather,
    future: Future,
    nodes: Vec<Node>,
    /// Nodes on the smaller side of a partition.
    apart: [bool; NODES],
    /// Raft's log, and how much of it is committed.
    journal: Vec<Command>,
    committed: usize,
    oracle: Oracle,
    faults: Arc<Faults>,
    figures: Figures,
    /// Nodes say things, and are killed.
    busy: bool,
    /// A node that says nothing itself and answers questions with lies.
    pub(super) liar: Option<usize>,
    number: u64,
}

/// Gives every node its folder and a key; in the order of their ids, so that
/// what depends on it is the same every time.
fn keys(root: &Path) {
    let fresh = (0..NODES).map(|key| {
        let path = root.join(format!("key {key}"));
        (Signer::load(&path).unwrap().peer_id(), path)
    });
    let mut fresh: Vec<_> = fresh.collect();
    fresh.sort();
    for (node, (_, key)) in fresh.into_iter().enumerate() {
        let folder = root.join(format!("{node}"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::rename(key, folder.join("key")).unwrap();
    }
}

/// Seven generations of a configuration, as the cluster decides them.
fn journal() -> Vec<Command> {
    let mut cluster = fixture::World::with_nodes(NODES as u64);
    cluster.lead(1, 1);
    for generation in 0..7 {
        let (name, trainer) = (format!("model {generation}"), 1 + generation % NODES as u64);
        cluster.train(&name, trainer);
        cluster.evaluate(&name, 1 + (generation + 1) % NODES as u64, true);
        let others: Vec<u64> = (1..=NODES as u64).filter(|node| *node != trainer).collect();
        others[..2].iter().for_each(|node| cluster.held(&name, *node));
        cluster.promote(&name);
        others[2..].iter().for_each(|node| cluster.held(&name, *node));
    }
    cluster.journal
}

impl World {
    pub(super) fn new(seed: u64, weather: Weather) -> Self {
        let root = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicI64::new(clock::now_ms() as i64 / DAY * DAY));
        keys(root.path());
        let faults = Arc::new(Faults {
            seed,
            kills: AtomicBool::new(weather.kills),
            attempts: Mutex::default(),
            killed: AtomicU64::new(0),
        });
        let nodes = (0..NODES).map(|name| Node::new(name, root.path(), &faults, &clock)).collect();
        let mut world = Self {
            _root: root,
            runtime: Builder::new_current_thread().enable_time().build().unwrap(),
            clock,
            random: Pcg64Mcg::seed_from_u64(seed),
            weather,
            future: Future::default(),
            nodes,
            apart: [false; NODES],
            journal: journal(),
            committed: 0,
            oracle: Oracle::default(),
            faults,
            figures: Figures::default(),
            busy: true,
            liar: None,
            number: 0,
        };
        for node in 0..NODES {
            use Happening::{Apply, Emit, Handle, Repair, Upkeep};
            for happening in [Emit(node), Apply(node), Handle(node), Repair(node, true), Upkeep(node)] {
                world.later(1..500, happening);
            }
        }
        world.later(0..1, Happening::Decide);
        world.later(3000..5000, Happening::Kill);
        world
    }

    fn now(&self) -> i64 {
        self.clock.load(Ordering::Relaxed)
    }

    fn later(&mut self, in_ms: std::ops::Range<i64>, happening: Happening) {
        let at = self.now() + self.random.random_range(in_ms);
        self.future.add(at, happening);
    }

    /// Lets this much time pass.
    pub(super) fn run(&mut self, for_ms: i64) {
        let end = self.now() + for_ms;
        while let Some((at, happening)) = self.future.next(end) {
            self.clock.store(at, Ordering::Relaxed);
            self.happen(happening);
        }
        self.clock.store(end, Ordering::Relaxed);
    }

    /// Nothing happens for this long.
    pub(super) fn skip(&mut self, ms: i64) {
        self.future.shift(ms);
        self.clock.fetch_add(ms, Ordering::Relaxed);
    }

    /// Two nodes cannot reach the other three.
    pub(super) fn part(&mut self) {
        let first = self.random.random_range(0..NODES);
        let second = (first + self.random.random_range(1..NODES)) % NODES;
        self.apart = std::array::from_fn(|node| node == first || node == second);
    }

    pub(super) fn heal(&mut self) {
        self.apart = [false; NODES];
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Emit(node) => {
                if self.busy {
                    self.emit(node);
                }
                self.later(200..1800, Happening::Emit(node));
            }
            Happening::Decide => {
                self.committed = (self.committed + 1).min(self.journal.len());
                self.later(700..1300, Happening::Decide);
            }
            Happening::Apply(node) => {
                while !self.apart[node] && self.nodes[node].applied < self.committed && self.lives(node) {
                    let command = self.journal[self.nodes[node].applied].clone();
                    self.nodes[node].apply(&command);
                }
                self.look(node);
                self.later(20..400, Happening::Apply(node));
            }
            Happening::Arrive { to, from, signed } => self.arrive(to, from, signed),
            Happening::Repair(node, periodic) => {
                if periodic {
                    self.later(350..650, Happening::Repair(node, true));
                }
                self.repair(node);
            }
            Happening::Upkeep(node) => {
                self.upkeep(node);
                self.later(10_000..10_001, Happening::Upkeep(node));
            }
            Happening::Handle(node) => {
                self.handle(node);
                self.later(100..600, Happening::Handle(node));
            }
            Happening::Kill => {
                let node = self.random.random_range(0..NODES);
                if self.weather.kills && self.busy && self.lives(node) {
                    self.kill_for_a_while(node);
                }
                self.later(3000..9000, Happening::Kill);
            }
            Happening::Start(node) => self.start(node),
        }
    }

    fn lives(&self, node: usize) -> bool {
        self.nodes[node].alive.is_some()
    }

    /// kill -9: what is on the disk stays.
    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].alive = None;
        self.figures.kills += 1;
    }

    fn kill_for_a_while(&mut self, node: usize) {
        self.kill(node);
        self.later(300..4000, Happening::Start(node));
    }

    pub(super) fn start(&mut self, node: usize) {
        if !self.lives(node) {
            self.nodes[node].start();
            // A peer that has just connected is asked at once.
            for other in (0..NODES).filter(|other| *other != node) {
                if self.apart[node] == self.apart[other] {
                    self.ask(node, other);
                }
            }
        }
    }

    /// Nothing more is said and nobody is killed; returns how long it takes until everything is everywhere.
    pub(super) fn settle(&mut self) -> i64 {
        self.heal();
        self.busy = false;
        self.faults.kills.store(false, Ordering::Relaxed);
        let began = self.now();
        (0..NODES).for_each(|node| self.start(node));
        let equal = loop {
            let done = (0..NODES).all(|node| self.oracle.is_complete(node));
            if done && self.nodes.iter().all(|node| node.applied == self.committed) {
                break self.now() - began;
            }
            assert!(self.now() - began < PATIENCE, "not everything is everywhere");
            self.run(100);
        };
        while (0..NODES).any(|node| !self.handled(node)) {
            self.run(100);
        }
        self.busy = true;
        equal
    }

    /// Whether a node's handlers have seen everything, also what they could not handle at first.
    fn handled(&mut self, node: usize) -> bool {
        self.start(node);
        let Some(alive) = &self.nodes[node].alive else { return false };
        let (runner, killed) = (alive.runner.clone(), alive.killed.clone());
        self.runtime.block_on(async {
            runner.drain().await;
            let replayed = runner.replay_dlq_events(24).await.unwrap();
            self.figures.dead += replayed.recovered;
        });
        if killed.is_cancelled() {
            self.kill_for_a_while(node);
            return false;
        }
        let (handlers, dead) = self.runtime.block_on(runner.deliveries().status()).unwrap();
        dead == 0 && handlers.iter().all(|handler| handler.waiting == 0)
    }

    /// Holds every node but the liar against what was said.
    pub(super) fn check(&self) -> Figures {
        // A liar that is found out takes its numbers back, and handles what it said twice.
        let honest = self.nodes.iter().filter(|node| self.liar != Some(node.name));
        honest.for_each(|node| self.oracle.check(node));
        Figures {
            decided: self.oracle.decided(),
            handler_kills: self.faults.killed.load(Ordering::Relaxed),
            longest_ms: self.oracle.longest_ms,
            ..self.figures
        }
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.oracle.acknowledged()
    }

    /// Nobody can be asked for what was said until now.
    pub(super) fn forget(&mut self) {
        self.oracle.forget();
    }

    /// Events that a node keeps.
    pub(super) fn kept(&self, node: usize) -> usize {
        all(self.nodes[node].log().unwrap()).len()
    }

    /// Events that wait at a node for what they follow.
    pub(super) fn waiting(&self, node: usize) -> i64 {
        self.nodes[node].count("SELECT count(*) FROM event_parked")
    }

    /// How many nodes shun the liar, and nobody else.
    pub(super) fn shunning(&self) -> usize {
        let liar = self.liar.map(|liar| self.nodes[liar].signer().peer_id());
        let shun =
            |node: &Node| node.log().is_some_and(|log| log.shunned().borrow().keys().eq(liar.as_ref()));
        self.nodes.iter().filter(|node| shun(node)).count()
    }

    /// Gives a dead node the state of one that is up to date.
    pub(super) fn install_snapshot(&mut self, node: usize) {
        let newest = self.nodes.iter().max_by_key(|node| node.applied).unwrap();
        let (state, applied) = (newest.state.clone(), newest.applied);
        self.oracle.snapshots.insert(node, EventId::raft(applied as u64, PARTS_MAX - 1).sequence);
        self.nodes[node].install(state, applied);
    }
}
