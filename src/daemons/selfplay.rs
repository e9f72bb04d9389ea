//! SelfplayRunner: plays the champion against itself and closes segments of games.
//!
//! Invariant: a finished game is in a closed segment within `segment_seconds`, synced here, and stays listed until the
//! cluster has acknowledged it. A node that trains or evaluates plays no games there: its cores, or the card that does it,
//! have more urgent work; on other cards it plays on. One that sees the cluster unhealthy plays fewer: that is its own view,
//! for without a quorum nobody can tell it to.

mod runner;

use self::runner::{OnHost, Runner, Searcher};
use super::{
    cache::LoadedNetworks,
    health::{HealthHandle, Host, View},
};
use crate::{
    compute,
    devices::{Devices, number_of},
    learner::settings::SelfplayConfig,
    learner::waves,
    peer::{Context, Daemon, WorkError},
    segments::Segments,
    store::{GameRecord, Player},
};
use cluster_state::{ClusterState, LeaseKind, NodeId};
use futures::future::try_join_all;
use kernels::Network;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;
use wire::Hash;

/// Finished games that may wait for the collector.
const GAMES_WAITING_MAX: usize = 64;
/// Games without an acknowledgement at which a node stops playing: nobody takes its segments.
const UNACKNOWLEDGED_MAX: u64 = 8192;
/// How long a thread stays with a configuration before it looks at the weights again.
const TURN: Duration = Duration::from_secs(10);

/// What the threads shall play.
#[derive(Clone, Default)]
struct Orders {
    tables: Vec<Table>,
    paused: Option<String>,
    /// Devices, by their numbers, on which none are played.
    occupied: BTreeSet<usize>,
    /// Share of the time to play in; see [`rate`].
    rate: f64,
}

/// Least share of the time in which an unhealthy cluster is played for.
const RATE_MIN: f64 = 0.3;

/// The share of its time in which a node with this view of the cluster plays: all, or while the cluster is unhealthy the
/// healthy share of the hosts it knows of.
fn rate(view: &View) -> f64 {
    if view.unhealthy.is_none() {
        return 1.0;
    }
    let count = |state: Host| view.hosts.values().filter(|host| **host == state).count() as f64;
    let (online, offline) = (count(Host::Online), count(Host::Offline));
    if online + offline == 0.0 { 1.0 } else { (online / (online + offline)).max(RATE_MIN) }
}

#[derive(Clone)]
struct Table {
    config: rules::Config,
    weight: f64,
    simulations: u32,
    exploration: f64,
    model: Hash,
    network: Arc<Network>,
}

/// Of this node's devices, by their numbers, those that its other work has; and what work that is.
fn occupied(state: &ClusterState, me: NodeId, devices: usize) -> BTreeMap<usize, String> {
    let mut found = BTreeMap::new();
    for config in state.configs.values() {
        for kind in [LeaseKind::Training, LeaseKind::Evaluation] {
            if config.lease(kind).live.as_ref().is_some_and(|lease| lease.node == me) {
                let work = || format!("this node has the {kind} of {}", config.config_key);
                found.entry(number_of(kind, devices)).or_insert_with(work);
            }
        }
    }
    found
}

/// Why this node plays no games, if so. It plays on the first `devices` of its devices.
fn pause(occupied: &BTreeMap<usize, String>, devices: usize, unacknowledged: u64) -> Option<String> {
    let mut used = occupied.range(..devices);
    if used.clone().count() >= devices {
        return used.next().map(|(_, work)| work.clone());
    }
    if unacknowledged >= UNACKNOWLEDGED_MAX {
        return Some(format!("{unacknowledged} games wait to be acknowledged"));
    }
    None
}

/// The daemon; see the module.
pub struct SelfplayDaemon {
    pub node: Context,
    pub settings: SelfplaySettings,
    pub devices: Arc<Devices>,
    pub networks: LoadedNetworks,
    pub segments: Segments,
    pub health: HealthHandle,
}

/// What the daemon is told.
#[derive(Clone, Debug)]
pub struct SelfplaySettings {
    pub play: SelfplayConfig,
    /// Threads that play; 0 for as many as suit the devices.
    pub threads: usize,
    /// Mixed with the node and the time, the seed of everything random in self-play.
    pub seed: u64,
}

impl Daemon for SelfplayDaemon {
    const NAME: &'static str = "selfplay";

    async fn run(&mut self) -> Result<(), WorkError> {
        play(self).await
    }
}

/// Plays until the shutdown.
///
/// # Errors
/// [`WorkError`] when the system refuses a thread or the disk fails.
async fn play(its: &SelfplayDaemon) -> Result<(), WorkError> {
    let SelfplayDaemon { node, devices, settings, .. } = its;
    let (orders, follow) = watch::channel(Orders::default());
    let (games, finished) = mpsc::channel(GAMES_WAITING_MAX);
    let count = devices.selfplay_threads(settings.threads);
    // A card without a thread searches nothing.
    let cards = if devices.card_search(settings.play.card_search) { devices.count().min(count) } else { 0 };
    let on_host: Vec<OnHost> = (0..cards).map(|_| watch::Sender::default()).collect();
    let mut threads = Vec::new();
    for index in 0..count {
        let (backend, device) = (devices.get(index), index % devices.count());
        let searcher = match (on_host.get(device), index < cards) {
            (None, _) => Searcher::Host,
            (Some(on_host), false) => Searcher::Beside(on_host.subscribe()),
            (Some(on_host), true) => {
                let (card, set) = (backend.clone(), settings.play.card_games);
                let begin = move |config, network: &_, settings| card.waves(config, network, settings);
                Searcher::Card {
                    begin: Arc::new(begin),
                    games: Box::new(move |config| card_games(set, config)),
                    on_host: on_host.clone(),
                }
            }
        };
        let runner = Runner {
            backend,
            device,
            searcher,
            parallel: devices.parallel_games(settings.play.parallel_games),
            seed: settings.seed ^ node.boot.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (index as u64) << 32,
            node: node.id,
            orders: follow.clone(),
            games: games.clone(),
            stop: node.shutdown.clone(),
            runtime: Handle::current(),
        };
        threads.push(
            compute::spawn(&format!("selfplay-{index}"), move || runner.play())
                .map_err(|source| WorkError::File { path: "thread".into(), source })?,
        );
    }
    drop((games, follow));
    // None of these is of use without the others: a thread alone may be the one that a card needs. Whichever fails has the
    // threads end, and what they have finished is kept.
    let over = CancellationToken::new();
    let giving = async {
        let given = over.run_until_cancelled(give_orders(its, &orders, &on_host)).await;
        orders.send_modify(|orders| orders.paused = Some("the daemon ends".to_owned()));
        drop(orders);
        given.unwrap_or(Ok(()))
    };
    let gathering = async { collect(its, finished).await.inspect_err(|_| over.cancel()) };
    let playing = async {
        let played = try_join_all(threads).await.inspect_err(|_| over.cancel());
        played.map(drop).map_err(|_| WorkError::Panicked("self-play"))
    };
    let (given, collected, played) = tokio::join!(giving, gathering, playing);
    given.and(collected).and(played)
}

/// Games side by side on a card: what is set, or what suits the board.
fn card_games(set: usize, config: rules::Config) -> usize {
    if set == 0 { waves::slots(config) } else { set }
}

/// The configurations of these tables that every card of the node searches.
fn on_cards(tables: &[Table], on_host: &[OnHost]) -> Vec<String> {
    let everywhere = |table: &&Table| {
        on_host.iter().all(|on_host| on_host.borrow().get(&table.config) != Some(&table.model))
    };
    if on_host.is_empty() {
        Vec::new()
    } else {
        tables.iter().filter(everywhere).map(|table| table.config.key()).collect()
    }
}

async fn give_orders(
    its: &SelfplayDaemon,
    orders: &watch::Sender<Orders>,
    on_host: &[OnHost],
) -> Result<(), WorkError> {
    let SelfplayDaemon { node, devices, settings, segments, .. } = its;
    let mut state = node.raft.applied();
    let mut view = its.health.watch();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        let current = Arc::clone(&state.borrow_and_update());
        let off = (!settings.play.enabled).then(|| "switched off in the settings".to_owned());
        let occupied = occupied(&current, node.id, devices.count());
        let used = devices.count().min(devices.selfplay_threads(settings.threads));
        let paused = off.or_else(|| pause(&occupied, used, segments.unacknowledged()));
        let occupied: BTreeSet<usize> = occupied.into_keys().collect();
        let rate = rate(&view.borrow_and_update());
        let mut tables = Vec::new();
        for config in current.configs.values().filter(|config| !config.target.paused) {
            let Ok(game) = config.config_key.parse() else { continue };
            let model = config.champion;
            let Some(network) = load(&its.networks, &config.config_key, model).await? else { continue };
            let (weight, simulations) = (config.target.weight, config.target.simulations);
            let exploration = config.steering.feedback.exploration;
            tables.push(Table { config: game, weight, simulations, exploration, model, network });
        }
        let paused = paused.or_else(|| tables.is_empty().then(|| "no model yet".to_owned()));
        node.activity.update(|work| {
            work.selfplay.paused.clone_from(&paused);
            work.selfplay.rate = rate;
            work.selfplay.configs = tables.iter().map(|table| table.config.key()).collect();
            work.selfplay.on_cards = on_cards(&tables, on_host);
        });
        let key = |orders: &Orders| {
            let table =
                |t: &Table| (t.config, t.model, t.simulations, t.exploration.to_bits(), t.weight.to_bits());
            let tables: Vec<_> = orders.tables.iter().map(table).collect();
            (tables, orders.paused.clone(), orders.occupied.clone(), orders.rate.to_bits())
        };
        let next = Orders { tables, paused, occupied, rate };
        orders.send_if_modified(|now| {
            let changed = key(now) != key(&next);
            if changed {
                *now = next;
            }
            changed
        });
        tokio::select! {
            () = node.shutdown.cancelled() => return Ok(()),
            changed = state.changed() => if changed.is_err() { return Ok(()) },
            changed = view.changed() => if changed.is_err() { return Ok(()) },
            _ = tick.tick() => {}
        }
    }
}

/// The network if it is here; none while it is on its way. One that does not load costs its configuration, not all.
async fn load(networks: &LoadedNetworks, key: &str, model: Hash) -> Result<Option<Arc<Network>>, WorkError> {
    match networks.get(key, model).await {
        Err(WorkError::Checkpoint(error)) => {
            tracing::error!(model = model.short(), %error, "the champion does not load here");
            Ok(None)
        }
        outcome => outcome,
    }
}

/// Games that are in no closed segment yet, by configuration and model; and since when.
type Open = BTreeMap<(String, Hash), (Instant, Vec<GameRecord>)>;

/// Gathers finished games into segments and closes them.
async fn collect(its: &SelfplayDaemon, mut finished: mpsc::Receiver<GameRecord>) -> Result<(), WorkError> {
    let SelfplayDaemon { node, segments, .. } = its;
    let play = &its.settings.play;
    let mut open = Open::new();
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        let ended = tokio::select! {
            game = finished.recv() => match game {
                Some(game) => {
                    node.activity.games(1, Instant::now());
                    let model = match game.players.first() {
                        Some(Player::Model(hash)) => *hash,
                        Some(Player::Random | Player::Heuristic) | None => continue,
                    };
                    let segment = open.entry((game.config.clone(), model));
                    segment.or_insert_with(|| (Instant::now(), Vec::new())).1.push(game);
                    false
                }
                None => true,
            },
            _ = tick.tick() => false,
        };
        let (age_max, games_max) = (play.segment_age_max(), play.segment_games);
        let due = |began: Instant, games: &[GameRecord]| {
            ended || games.len() >= games_max || began.elapsed() >= age_max
        };
        let close = |key: String, model, games| {
            let segments = segments.clone();
            async move { segments.close_selfplay(&key, model, games).await }
        };
        close_due(&mut open, due, close).await?;
        if ended {
            return Ok(());
        }
    }
}

/// Closes the segments that are due. Once one does not close this is over: all others are closed as well, as far as they
/// can be, and the first error is returned.
async fn close_due<F: Future<Output = Result<(), WorkError>>>(
    open: &mut Open,
    due: impl Fn(Instant, &[GameRecord]) -> bool,
    close: impl Fn(String, Hash, Vec<GameRecord>) -> F,
) -> Result<(), WorkError> {
    let full: Vec<_> =
        open.iter().filter(|(_, (began, games))| due(*began, games)).map(|(key, _)| key.clone()).collect();
    let mut outcome = Ok(());
    for key in full {
        let Some((_, games)) = open.remove(&key) else { continue };
        outcome = outcome.and(close(key.0, key.1, games).await);
    }
    if outcome.is_err() {
        for ((key, model), (_, games)) in std::mem::take(open) {
            outcome = outcome.and(close(key, model, games).await);
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemons::fixture::World;
    use std::sync::Mutex;

    #[test]
    fn a_node_with_a_lease_plays_no_games() {
        let mut world = World::with_nodes(2);
        let why = |world: &World, me, devices, unacknowledged| {
            let occupied = occupied(&world.state, me, devices);
            let numbers: Vec<usize> = occupied.keys().copied().collect();
            (pause(&occupied, devices, unacknowledged).unwrap_or_default(), numbers)
        };
        let plays = |numbers: &[usize]| (String::new(), numbers.to_vec());
        world.play(500);
        world.cross();
        assert_eq!(why(&world, NodeId(1), 1, 0), plays(&[]));
        world.grant(LeaseKind::Training, 1, None);
        let training = "this node has the training of hex8_2p".to_owned();
        assert_eq!(why(&world, NodeId(1), 1, 0), (training, vec![0]));
        assert_eq!(why(&world, NodeId(2), 1, 0), plays(&[]));
        assert!(why(&world, NodeId(2), 1, UNACKNOWLEDGED_MAX).0.contains("acknowledged"));
        // With more cards than work, the others play on.
        assert_eq!(why(&world, NodeId(1), 2, 0), plays(&[0]));
        assert!(why(&world, NodeId(1), 2, UNACKNOWLEDGED_MAX).0.contains("acknowledged"));
        // Unless there are too few threads to play there.
        assert!(
            pause(&occupied(&world.state, NodeId(1), 2), 1, 0).is_some_and(|why| why.contains("training"))
        );
    }

    #[tokio::test]
    async fn a_segment_that_does_not_close_costs_no_other() {
        let (old, new) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        let names = ["a", "b", "c", "d"];
        let all = |began: [Instant; 4]| -> Open {
            let key = |name: &str| ("hex8_2p".to_owned(), Hash::of(name.as_bytes()));
            names.into_iter().zip(began).map(|(name, began)| (key(name), (began, Vec::new()))).collect()
        };
        for (began, fails, closed, left) in [
            ([old, new, new, new], "", 1, 3),
            ([old, old, new, new], "", 2, 2),
            ([old, new, new, new], "a", 4, 0),
            ([new, old, old, new], "b", 4, 0),
            ([new, new, new, new], "a", 0, 4),
        ] {
            let (mut open, tried) = (all(began), Mutex::new(0));
            let close = |_, model, _| {
                *tried.lock().unwrap() += 1;
                let fails = model == Hash::of(fails.as_bytes());
                std::future::ready(if fails { Err(WorkError::Missing(model)) } else { Ok(()) })
            };
            let outcome = close_due(&mut open, |began, _| began == old, close).await;
            assert_eq!((*tried.lock().unwrap(), open.len()), (closed, left), "{fails:?} {began:?}");
            assert_eq!(outcome.is_err(), left == 0, "{fails:?}");
        }
    }

    #[test]
    fn an_unhealthy_cluster_is_played_for_at_the_rate_of_its_healthy_hosts() {
        let check = |unhealthy: bool, hosts: &[Host], expected: f64| {
            let view = View {
                unhealthy: unhealthy.then(|| "2 of 5 hosts".to_owned()),
                hosts: (1..).map(NodeId).zip(hosts.iter().copied()).collect(),
                ..View::default()
            };
            assert!((rate(&view) - expected).abs() < 1e-9, "{hosts:?}: {}", rate(&view));
        };
        let (up, down, unknown) = (Host::Online, Host::Offline, Host::Unknown);
        check(false, &[up, down, down, down], 1.0);
        check(true, &[up, up, down, down, down], 0.4);
        check(true, &[up, down, down, down, down], 0.3);
        check(true, &[up, up, down, unknown], 2.0 / 3.0);
        check(true, &[unknown], 1.0);
        check(true, &[], 1.0);
    }
}
