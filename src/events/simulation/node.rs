//! One node: its files, and while it lives its log, its runner and its half of Raft.

use crate::events::{
    Event, EventHook, Logged, Subscriptions,
    caused::GAMES_PLANNED,
    deliveries::Deliveries,
    envelope::EventId,
    floors::FloorClaims,
    log::EventLog,
    runner::{Effect, HandlerError, Handlers, Handling, Runner},
    schema,
};
use cluster_state::{ClusterState, Command};
use futures::FutureExt;
use p2p::Signer;
use raft::ApplyHook;
use rusqlite::{Connection, TransactionBehavior};
use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hasher},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Two handlers of every event. What the second is to do about some fails until it is replayed.
pub(super) const HANDLERS: [&str; 2] = ["sound", "poisoned"];

/// What handlers do wrong, the same at every run of a seed.
pub(super) struct Faults {
    pub(super) seed: u64,
    /// Handlers are killed.
    pub(super) kills: AtomicBool,
    /// Attempts by node, handler and event.
    pub(super) attempts: Mutex<HashMap<(usize, &'static str, String), u32>>,
    /// How many were.
    pub(super) killed: AtomicU64,
}

/// A node, dead or alive.
pub(super) struct Node {
    pub(super) name: usize,
    folder: PathBuf,
    faults: Arc<Faults>,
    clock: Arc<AtomicI64>,
    /// How far this node's clock is off, milliseconds.
    skew_ms: i64,
    /// What the state machine has on its disk.
    pub(super) state: ClusterState,
    pub(super) applied: usize,
    pub(super) alive: Option<Alive>,
    /// What others said is gone.
    pub(super) claims: FloorClaims,
    /// Who has answered since the start.
    pub(super) answered: BTreeSet<usize>,
}

pub(super) struct Alive {
    pub(super) log: Arc<EventLog>,
    pub(super) runner: Runner,
    /// The process ends, as by kill -9.
    pub(super) killed: CancellationToken,
    machine: Connection,
    hook: EventHook,
}

impl Node {
    pub(super) fn new(name: usize, root: &Path, faults: &Arc<Faults>, clock: &Arc<AtomicI64>) -> Self {
        let folder = root.join(format!("{name}"));
        let skew_ms = [0, 1500, -1500, 300, -700][name % 5];
        let (faults, clock) = (Arc::clone(faults), Arc::clone(clock));
        let mut node = Self {
            name,
            folder,
            faults,
            clock,
            skew_ms,
            state: ClusterState::default(),
            applied: 0,
            alive: None,
            claims: FloorClaims::default(),
            answered: BTreeSet::new(),
        };
        node.start();
        node
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join("node.db")
    }

    pub(super) fn signer(&self) -> Signer {
        Signer::load(&self.folder.join("key")).unwrap()
    }

    /// The process starts, or starts again on the files that a kill left.
    pub(super) fn start(&mut self) {
        (self.claims, self.answered) = Default::default();
        let killed = CancellationToken::new();
        let handlers = handlers(self.name, &self.faults, &killed);
        let subscriptions = handlers.0.subscriptions();
        let (clock, skew) = (Arc::clone(&self.clock), self.skew_ms);
        let clock = Arc::new(move || clock.load(Ordering::Relaxed) + skew);
        let log = EventLog::with_clock(&self.path(), self.signer(), subscriptions.clone(), clock).unwrap();
        let machine = schema::connect(&self.path()).unwrap();
        let table = "CREATE TABLE IF NOT EXISTS effects(handler TEXT, position INTEGER, flow TEXT, key TEXT)";
        machine.execute(table, []).unwrap();
        let mut hook = EventHook::new(GAMES_PLANNED, subscriptions);
        hook.on_open(&self.state);
        let pauses = [Duration::ZERO; 2];
        let runner = Runner::with_pauses(
            Deliveries::open(&self.path()).unwrap(),
            handlers.0,
            handlers.1,
            killed.clone(),
            pauses,
        );
        self.alive = Some(Alive { log: Arc::new(log), runner, killed, machine, hook });
    }

    pub(super) fn log(&self) -> Option<&Arc<EventLog>> {
        self.alive.as_ref().map(|alive| &alive.log)
    }

    /// Applies the next command of the Raft log, if this node lives.
    pub(super) fn apply(&mut self, command: &Command) {
        let Some(Alive { machine, hook, .. }) = &mut self.alive else { return };
        let index = self.applied as u64 + 1;
        let response = cluster_state::state_machine::apply(&mut self.state, index, command);
        let tx = machine.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        hook.on_apply(&tx, index, command, &response, &self.state).unwrap();
        // The hook has the machine's clock.
        let sql = "UPDATE event_log SET received_ms = ?1 WHERE origin = 'raft' AND sequence >= ?2";
        let now = self.clock.load(Ordering::Relaxed);
        tx.execute(sql, [now, EventId::raft(index, 0).sequence]).unwrap();
        tx.commit().unwrap();
        self.applied += 1;
    }

    /// Takes another node's state instead of the commands that led to it.
    pub(super) fn install(&mut self, state: ClusterState, applied: usize) {
        (self.state, self.applied) = (state, applied);
        let mut machine = schema::connect(&self.path()).unwrap();
        let mut hook = EventHook::new(GAMES_PLANNED, Subscriptions::default());
        let tx = machine.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        hook.on_snapshot(&tx, &self.state).unwrap();
        tx.commit().unwrap();
    }

    /// A number out of the files.
    pub(super) fn count(&self, sql: &str) -> i64 {
        let connection = schema::connect(&self.path()).unwrap();
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

fn chance(parts: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::hash::Hash::hash(&parts, &mut hasher);
    hasher.finish() % 1000
}

/// What an effect is counted by: events with one key are one in effect.
pub(super) fn key(logged: &Logged) -> String {
    logged.event.once().unwrap_or_else(|| logged.id().to_string())
}

fn handlers(
    node: usize,
    faults: &Arc<Faults>,
    killed: &CancellationToken,
) -> (Handlers, watch::Receiver<bool>) {
    let quorum = watch::Sender::new(true);
    let has_quorum = quorum.subscribe();
    let mut handlers = Handlers::default();
    for handler in HANDLERS {
        let (faults, killed, quorum) = (Arc::clone(faults), killed.clone(), quorum.clone());
        handlers.on(handler, Event::NAMES, move |logged| {
            attempt(node, handler, Arc::clone(&faults), killed.clone(), quorum.clone(), logged)
        });
    }
    (handlers, has_quorum)
}

fn attempt(
    node: usize,
    handler: &'static str,
    faults: Arc<Faults>,
    killed: CancellationToken,
    quorum: watch::Sender<bool>,
    logged: Arc<Logged>,
) -> Handling {
    // Without the origin, which no seed gives.
    let id = format!("{} {} {}", logged.event.name(), logged.flow, logged.sequence);
    let attempt = {
        let mut attempts = faults.attempts.lock().unwrap();
        let count = attempts.entry((node, handler, logged.id().to_string())).or_default();
        *count += 1;
        *count
    };
    let poisoned = handler == "poisoned" && chance((faults.seed, "poison", &id)) < 20 && attempt <= 3;
    let trouble = chance((faults.seed, node, handler, id, attempt));
    async move {
        tokio::task::yield_now().await;
        let (row, event) = ((handler, logged.position, logged.flow.clone(), key(&logged)), logged.id());
        let insert = "INSERT INTO effects VALUES (?, ?, ?, ?)";
        match trouble {
            _ if poisoned => Err(HandlerError::Failed("poisoned".to_owned())),
            0..40 if attempt <= 2 => Err(HandlerError::Failed(format!("{event} at first"))),
            40..70 if attempt <= 2 => {
                quorum.send_modify(|quorum| *quorum = !*quorum); // so that nothing waits for long
                Err(HandlerError::NoQuorum)
            }
            // The process is killed while the handler works.
            70..75 if faults.kills.load(Ordering::Relaxed) && attempt <= 2 => {
                faults.killed.fetch_add(1, Ordering::Relaxed);
                killed.cancel();
                std::future::pending().await
            }
            // In the middle of the transaction that has its effect.
            75..80 if faults.kills.load(Ordering::Relaxed) && attempt <= 2 => {
                faults.killed.fetch_add(1, Ordering::Relaxed);
                let effect: Effect = Box::new(move |tx| {
                    tx.execute(insert, row)?;
                    killed.cancel();
                    Err(rusqlite::Error::InvalidQuery)
                });
                Ok(Some(effect))
            }
            _ => {
                let effect: Effect = Box::new(move |tx| tx.execute(insert, row).map(drop));
                Ok(Some(effect))
            }
        }
    }
    .boxed()
}
