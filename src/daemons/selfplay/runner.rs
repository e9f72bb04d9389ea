//! The threads that play what the orders say.
//!
//! Invariant: on a card one thread has the card search whole games. What a card cannot search, or no longer, all of its
//! threads search from then on, until the configuration has another model; so a game is always searched somewhere.

use super::{Orders, TURN, Table};
use crate::{
    leader::scheduler::FairQueue,
    learner::{
        selfplay::Selfplay,
        waves::{BeginWaves, WaveSelfplay},
    },
    store::GameRecord,
};
use cluster_state::NodeId;
use kernels::{AnyBackend, Backend as _, DeviceError};
use rules::Config;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;
use wire::Hash;

/// Longest rest of a thread that plays at a reduced rate.
const REST_MAX: Duration = Duration::from_secs(2);

/// What the host searches for a card: each configuration with the model that the card failed at.
pub(super) type OnHost = watch::Sender<BTreeMap<Config, Hash>>;

/// Who searches the games of a thread.
pub(super) enum Searcher {
    /// The host.
    Host,
    /// The card, which this thread launches.
    Card {
        /// Begins games on it.
        begin: Arc<BeginWaves>,
        /// Games side by side.
        games: Box<dyn Fn(Config) -> usize + Send>,
        /// What the host searches in its place.
        on_host: OnHost,
    },
    /// A card that another thread launches; this one searches what the host has to.
    Beside(watch::Receiver<BTreeMap<Config, Hash>>),
}

impl Searcher {
    /// Whether the thread plays this table at all.
    fn plays(&self, table: &Table) -> bool {
        match self {
            Self::Host | Self::Card { .. } => true,
            Self::Beside(on_host) => on_host.borrow().get(&table.config) == Some(&table.model),
        }
    }
}

/// One compute thread.
pub(super) struct Runner {
    pub(super) backend: AnyBackend,
    /// Its number.
    pub(super) device: usize,
    pub(super) searcher: Searcher,
    /// Games side by side that the host searches.
    pub(super) parallel: usize,
    pub(super) seed: u64,
    pub(super) node: NodeId,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) games: mpsc::Sender<GameRecord>,
    pub(super) stop: CancellationToken,
    pub(super) runtime: Handle,
}

/// What a table's games depend on; when it changes, new games are begun differently.
type Key = (Hash, u32, u64);

fn key(table: &Table) -> Key {
    (table.model, table.simulations, table.exploration.to_bits())
}

/// Games in play of one configuration.
struct Board {
    set: Option<Key>,
    games: Games,
}

enum Games {
    Host(Selfplay),
    Card(WaveSelfplay),
}

impl Runner {
    pub(super) fn play(mut self) {
        let mut boards: BTreeMap<Config, Board> = BTreeMap::new();
        let mut turns: FairQueue<Config> = FairQueue::default();
        while !self.stop.is_cancelled() {
            let orders = self.orders.borrow_and_update().clone();
            if let Searcher::Beside(on_host) = &mut self.searcher {
                on_host.mark_unchanged();
            }
            let rests = orders.paused.is_some() || orders.occupied.contains(&self.device);
            let table = if rests { None } else { self.next_table(&orders.tables, &mut turns) };
            let Some(table) = table else {
                if self.wait().is_err() {
                    return;
                }
                continue;
            };
            let began = Instant::now();
            let board = self.board(&mut boards, table);
            match self.turn(board, table, orders.rate) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.fails(table, &error);
                    boards.remove(&table.config);
                }
            }
            turns.took(table.config, began.elapsed().as_secs_f64(), table.weight);
        }
    }

    /// Until there may be something else to do; an error at the end of the node.
    fn wait(&mut self) -> Result<(), ()> {
        let Self { stop, orders, searcher, runtime, .. } = self;
        let changed = async {
            match searcher {
                Searcher::Host | Searcher::Card { .. } => orders.changed().await,
                Searcher::Beside(on_host) => tokio::select! {
                    changed = orders.changed() => changed,
                    changed = on_host.changed() => changed,
                },
            }
        };
        match runtime.block_on(stop.run_until_cancelled(changed)) {
            Some(Ok(())) => Ok(()),
            None | Some(Err(_)) => Err(()),
        }
    }

    /// The configuration whose turn it is.
    fn next_table<'a>(&self, tables: &'a [Table], turns: &mut FairQueue<Config>) -> Option<&'a Table> {
        let open = tables.iter().filter(|table| table.weight > 0.0 && self.searcher.plays(table));
        let open: Vec<_> = open.map(|table| table.config).collect();
        let next = turns.next(&open)?;
        tables.iter().find(|table| table.config == next)
    }

    /// The games of a table. Those that the host searched end when the card has another model to try.
    fn board<'a>(&self, boards: &'a mut BTreeMap<Config, Board>, table: &Table) -> &'a mut Board {
        let config = table.config;
        let seed = self.seed ^ u64::from(config.seats);
        let card = match &self.searcher {
            Searcher::Host | Searcher::Beside(_) => None,
            Searcher::Card { begin, games, on_host } => {
                let on_host = on_host.borrow().get(&config) == Some(&table.model);
                (!on_host).then(|| (Arc::clone(begin), games(config)))
            }
        };
        if boards.get(&config).is_some_and(|board| matches!(board.games, Games::Card(_)) != card.is_some()) {
            boards.remove(&config);
        }
        boards.entry(config).or_insert_with(|| Board {
            set: None,
            games: match card {
                Some((begin, slots)) => Games::Card(WaveSelfplay::new(config, slots, seed, self.node, begin)),
                None => Games::Host(Selfplay::new(config, self.parallel, seed, self.node)),
            },
        })
    }

    /// Plays for a while; false at the end of the node.
    fn turn(&mut self, board: &mut Board, table: &Table, rate: f64) -> Result<bool, DeviceError> {
        let began = Instant::now();
        if board.set != Some(key(table)) {
            board.games.set(table, &self.backend)?;
            board.set = Some(key(table));
        }
        while began.elapsed() < TURN && !self.stop.is_cancelled() {
            let step = Instant::now();
            for record in board.games.step()? {
                if self.games.blocking_send(record).is_err() {
                    return Ok(false);
                }
            }
            if rate < 1.0 {
                let rest = step.elapsed().mul_f64(rate.recip() - 1.0).min(REST_MAX);
                // A timer begins in the runtime, and this thread is none of its own.
                let resting = async { self.stop.run_until_cancelled(tokio::time::sleep(rest)).await };
                self.runtime.block_on(resting);
            }
            if self.orders.has_changed().unwrap_or(true) {
                break;
            }
        }
        Ok(true)
    }

    /// The card's games of a table are lost; the host searches it.
    fn fails(&self, table: &Table, error: &DeviceError) {
        tracing::error!(%error, config = %table.config, card = self.backend.describe(), "the host searches in place of the card");
        self.backend.failed(error);
        match &self.searcher {
            Searcher::Host | Searcher::Beside(_) => {}
            Searcher::Card { on_host, .. } => {
                on_host.send_modify(|on_host| {
                    on_host.insert(table.config, table.model);
                });
            }
        }
    }
}

impl Games {
    /// New games are played as the table says.
    fn set(&mut self, table: &Table, backend: &AnyBackend) -> Result<(), DeviceError> {
        let exploration = table.exploration as f32;
        match self {
            Self::Card(waves) => {
                return waves.set_model(table.model, &table.network, table.simulations, exploration);
            }
            Self::Host(games) => {
                let evaluator = backend.any_evaluator(Arc::clone(&table.network));
                games.set_model(table.model, evaluator, table.simulations);
                games.set_exploration(exploration);
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Vec<GameRecord>, DeviceError> {
        match self {
            Self::Host(games) => Ok(games.step()),
            Self::Card(waves) => waves.step(),
        }
    }
}

#[cfg(test)]
mod tests;
