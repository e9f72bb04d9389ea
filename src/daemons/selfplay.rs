//! SelfplayRunner: plays the champion against itself and closes segments of games.
//!
//! Invariant: a finished game is in a closed segment within `segment_seconds`. The segment is synced on this
//! node and stays listed until the cluster has acknowledged it.
//!
//! `orders` says what this node plays now, `thread` holds the threads that play it, and `gather` closes
//! segments of the games that they finish.

mod gather;
mod orders;
mod thread;

use self::{
    orders::Orders,
    thread::{OnHost, PlayThread, Searcher},
};
use super::{cache::LoadedNetworks, health::HealthHandle};
use crate::{
    compute,
    devices::Devices,
    learner::settings::SelfplayConfig,
    learner::waves,
    peer::{Context, Daemon, WorkError},
    segments::Segments,
    store::GameRecord,
};
use futures::future::try_join_all;
use kernels::AnyBackend;
use std::sync::Arc;
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};
use tokio_util::sync::CancellationToken;

/// Most finished games that may wait until they are gathered into segments.
const GAMES_WAITING_MAX: usize = 64;

pub struct SelfplayDaemon {
    pub node: Context,
    pub settings: SelfplaySettings,
    pub devices: Arc<Devices>,
    pub networks: LoadedNetworks,
    pub segments: Segments,
    pub health: HealthHandle,
}

/// The settings that the daemon gets.
#[derive(Clone, Debug)]
pub struct SelfplaySettings {
    pub play: SelfplayConfig,
    /// Threads that play; 0 means as many as suit the devices.
    pub threads: usize,
    /// The seed of everything random in self-play, once it is mixed with the node and the time.
    pub seed: u64,
}

impl Daemon for SelfplayDaemon {
    const NAME: &'static str = "selfplay";

    async fn run(&mut self) -> Result<(), WorkError> {
        let (orders, follow) = watch::channel(Orders::default());
        let (games, finished) = mpsc::channel(GAMES_WAITING_MAX);
        let on_host = self.searching_cards();
        let threads = self.start_threads(&on_host, &follow, &games)?;
        drop((games, follow));
        // Each of these is useless without the others: a single thread may be the one that a card needs. If
        // one fails, the threads end, and the games that they have finished are kept.
        let over = CancellationToken::new();
        let ordering = async {
            let ordered = over.run_until_cancelled(self.give_orders(&orders, &on_host)).await;
            orders.send_modify(|orders| orders.paused = Some("the daemon ends".to_owned()));
            drop(orders);
            ordered.unwrap_or(Ok(()))
        };
        let gathering = async { self.gather(finished).await.inspect_err(|_| over.cancel()) };
        let playing = async {
            let played = try_join_all(threads).await.inspect_err(|_| over.cancel());
            played.map(drop).map_err(|_| WorkError::Panicked("self-play"))
        };
        let (ordered, gathered, played) = tokio::join!(ordering, gathering, playing);
        ordered.and(gathered).and(played)
    }
}

impl SelfplayDaemon {
    /// For each card that searches whole games, what the host searches in its place. A card without a thread
    /// searches nothing.
    fn searching_cards(&self) -> Vec<OnHost> {
        let (devices, settings) = (&self.devices, &self.settings);
        let threads = devices.selfplay_threads(settings.threads);
        let searches = devices.card_search(settings.play.card_search);
        let cards = if searches { devices.count().min(threads) } else { 0 };
        (0..cards).map(|_| watch::Sender::default()).collect()
    }

    /// Starts the threads. They end with the node, or when `games` is closed.
    fn start_threads(
        &self,
        on_host: &[OnHost],
        orders: &watch::Receiver<Orders>,
        games: &mpsc::Sender<GameRecord>,
    ) -> Result<Vec<oneshot::Receiver<()>>, WorkError> {
        let Self { node, devices, settings, .. } = self;
        let start = |index: usize| {
            let (backend, device) = (devices.get(index), index % devices.count());
            let (on_card, launches) = (on_host.get(device), index < on_host.len());
            let thread = PlayThread {
                searcher: searcher(on_card, launches, backend.clone(), settings.play.card_games),
                backend,
                device,
                parallel: devices.parallel_games(settings.play.parallel_games),
                seed: settings.seed ^ node.boot.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (index as u64) << 32,
                node: node.id,
                orders: orders.clone(),
                games: games.clone(),
                stop: node.shutdown.clone(),
                runtime: Handle::current(),
            };
            compute::spawn(&format!("selfplay-{index}"), move || thread.play()).map_err(WorkError::NoThread)
        };
        (0..devices.selfplay_threads(settings.threads)).map(start).collect()
    }
}

/// What searches the games of a thread. Of the threads that use a card, the first one launches it.
fn searcher(on_host: Option<&OnHost>, launches: bool, card: AnyBackend, card_games: usize) -> Searcher {
    match on_host {
        None => Searcher::Host,
        Some(on_host) if !launches => Searcher::Beside(on_host.subscribe()),
        Some(on_host) => {
            let begin = move |config, network: &_, settings| card.waves(config, network, settings);
            Searcher::Card {
                begin: Arc::new(begin),
                games: Box::new(move |config| games_on_card(card_games, config)),
                on_host: on_host.clone(),
            }
        }
    }
}

/// Games side by side on a card: the number that is set, or one that suits the board.
fn games_on_card(set: usize, config: rules::Config) -> usize {
    if set == 0 { waves::slots(config) } else { set }
}
