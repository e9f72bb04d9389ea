//! A thread that plays as the orders say.
//!
//! Invariant: on a card that searches, one thread makes the card search whole games. If the card cannot
//! search a configuration, or can no longer, all of its threads search that configuration on the host until
//! it has another model. So every configuration is always searched somewhere.

use super::orders::{ConfigOrder, Orders};
use crate::{
    leader::scheduler::FairQueue,
    learner::{
        backend,
        selfplay::Selfplay,
        waves::{BeginWaves, WaveSelfplay},
    },
    store::GameRecord,
};
use cluster_state::{ModelId, NodeId};
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

/// How long a thread stays with a configuration before it looks at the weights again.
const TURN: Duration = Duration::from_secs(10);
/// Longest rest of a thread that plays at a reduced rate.
const REST_MAX: Duration = Duration::from_secs(2);

/// What the host searches in place of a card: each configuration with the model that the card failed at.
pub(super) type OnHost = watch::Sender<BTreeMap<Config, ModelId>>;

/// What searches the games of a thread.
pub(super) enum Searcher {
    /// The host searches them.
    Host,
    /// The card searches them, and this thread launches it.
    Card {
        /// Begins games on the card.
        begin: Arc<BeginWaves>,
        /// Games that the card plays side by side.
        games: Box<dyn Fn(Config) -> usize + Send>,
        /// What the host searches in place of the card.
        on_host: OnHost,
    },
    /// Another thread launches the card; this thread searches what the host has to.
    Beside(watch::Receiver<BTreeMap<Config, ModelId>>),
}

impl Searcher {
    /// Whether the thread plays this configuration at all.
    fn plays(&self, order: &ConfigOrder) -> bool {
        match self {
            Self::Host | Self::Card { .. } => true,
            Self::Beside(on_host) => on_host.borrow().get(&order.config) == Some(&order.model),
        }
    }
}

/// One compute thread that plays.
pub(super) struct PlayThread {
    pub(super) backend: AnyBackend,
    /// Number of the device.
    pub(super) device: usize,
    pub(super) searcher: Searcher,
    /// Games side by side when the host searches.
    pub(super) parallel: usize,
    pub(super) seed: u64,
    pub(super) node: NodeId,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) games: mpsc::Sender<GameRecord>,
    pub(super) stop: CancellationToken,
    pub(super) runtime: Handle,
}

/// Games in play of one configuration.
struct InPlay {
    /// The [`ConfigOrder::key`] for new games.
    key: Option<(ModelId, u32, u64)>,
    games: GamesInPlay,
}

enum GamesInPlay {
    Host(Selfplay),
    Card(WaveSelfplay),
}

impl PlayThread {
    /// Plays until the node ends, or until nothing receives the games any more.
    pub(super) fn play(mut self) {
        let mut all: BTreeMap<Config, InPlay> = BTreeMap::new();
        let mut turns: FairQueue<Config> = FairQueue::default();
        while !self.stop.is_cancelled() {
            let orders = self.orders.borrow_and_update().clone();
            if let Searcher::Beside(on_host) = &mut self.searcher {
                on_host.mark_unchanged();
            }
            let rests = orders.paused.is_some() || orders.occupied.contains(&self.device);
            let order = if rests { None } else { self.next(&orders.configs, &mut turns) };
            let Some(order) = order else {
                if self.wait().is_err() {
                    return;
                }
                continue;
            };
            let began = Instant::now();
            let in_play = self.in_play(&mut all, order);
            match self.turn(in_play, order, orders.rate) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.card_failed(order, &error);
                    all.remove(&order.config);
                }
            }
            turns.took(order.config, began.elapsed().as_secs_f64(), order.weight);
        }
    }

    /// Waits until there may be something else to do. An error means that the node ends.
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
    fn next<'a>(&self, orders: &'a [ConfigOrder], turns: &mut FairQueue<Config>) -> Option<&'a ConfigOrder> {
        let open = orders.iter().filter(|order| order.weight > 0.0 && self.searcher.plays(order));
        let open: Vec<_> = open.map(|order| order.config).collect();
        let next = turns.next(&open)?;
        orders.iter().find(|order| order.config == next)
    }

    /// The games in play of a configuration. Games that the host searched end when the card has another model
    /// to try.
    fn in_play<'a>(&self, all: &'a mut BTreeMap<Config, InPlay>, order: &ConfigOrder) -> &'a mut InPlay {
        let config = order.config;
        let seed = self.seed ^ u64::from(config.seats);
        let card = match &self.searcher {
            Searcher::Host | Searcher::Beside(_) => None,
            Searcher::Card { begin, games, on_host } => {
                let on_host = on_host.borrow().get(&config) == Some(&order.model);
                (!on_host).then(|| (Arc::clone(begin), games(config)))
            }
        };
        let is_on_card = |in_play: &InPlay| matches!(in_play.games, GamesInPlay::Card(_));
        if all.get(&config).is_some_and(|in_play| is_on_card(in_play) != card.is_some()) {
            all.remove(&config);
        }
        all.entry(config).or_insert_with(|| InPlay {
            key: None,
            games: match card {
                Some((begin, slots)) => {
                    let waves = WaveSelfplay::new(config, slots, seed, self.node, begin);
                    GamesInPlay::Card(waves.on_backend(&backend::name(&self.backend, true)))
                }
                None => GamesInPlay::Host(Selfplay::new(config, self.parallel, seed, self.node)),
            },
        })
    }

    /// Plays for a while. Returns false when the node ends.
    fn turn(&mut self, in_play: &mut InPlay, order: &ConfigOrder, rate: f64) -> Result<bool, DeviceError> {
        let began = Instant::now();
        if in_play.key != Some(order.key()) {
            in_play.games.set(order, &self.backend)?;
            in_play.key = Some(order.key());
        }
        while began.elapsed() < TURN && !self.stop.is_cancelled() {
            let step = Instant::now();
            for record in in_play.games.step()? {
                if self.games.blocking_send(record).is_err() {
                    return Ok(false);
                }
            }
            if rate < 1.0 {
                let rest = step.elapsed().mul_f64(rate.recip() - 1.0).min(REST_MAX);
                // A timer must be created within the runtime, and this thread is not one of the runtime's.
                let resting = async { self.stop.run_until_cancelled(tokio::time::sleep(rest)).await };
                self.runtime.block_on(resting);
            }
            if self.orders.has_changed().unwrap_or(true) {
                break;
            }
        }
        Ok(true)
    }

    /// Records that the card lost its games of a configuration. From now on the host searches them.
    fn card_failed(&self, order: &ConfigOrder, error: &DeviceError) {
        let (config, card) = (order.config, self.backend.describe());
        tracing::error!(%error, %config, card, "the host searches in place of the card");
        self.backend.failed(error);
        match &self.searcher {
            Searcher::Host | Searcher::Beside(_) => {}
            Searcher::Card { on_host, .. } => {
                on_host.send_modify(|on_host| {
                    on_host.insert(order.config, order.model);
                });
            }
        }
    }
}

impl GamesInPlay {
    /// Sets how the games that begin from now on are played, as the order says.
    fn set(&mut self, order: &ConfigOrder, backend: &AnyBackend) -> Result<(), DeviceError> {
        let exploration = order.exploration as f32;
        match self {
            Self::Card(waves) => waves.set_model(order.model, &order.network, order.simulations, exploration),
            Self::Host(games) => {
                let evaluator = backend.any_evaluator(Arc::clone(&order.network));
                games.set_model(order.model, evaluator, order.simulations);
                games.set_exploration(exploration);
                games.set_backend(&backend::name(backend, false));
                Ok(())
            }
        }
    }

    /// Plays one step, and returns the games that ended in it.
    fn step(&mut self) -> Result<Vec<GameRecord>, DeviceError> {
        match self {
            Self::Host(games) => Ok(games.step()),
            Self::Card(waves) => waves.step(),
        }
    }
}

#[cfg(test)]
mod tests;
