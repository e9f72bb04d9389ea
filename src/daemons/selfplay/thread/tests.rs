use super::*;
use crate::{search::Uniform, store::Player};
use kernels::{Architecture, Network, PlayWaves, WaveDecision, WaveGame, WaveReport, WaveSettings};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use wire::Hash;

const LIMIT: Duration = Duration::from_secs(120);
/// The node in records. A pretended card knows no node, so its games differ by their seed alone.
const NODE: NodeId = NodeId(3);

/// A card whose games the host plays, until a test makes it fail.
struct Pretended {
    games: Selfplay,
    seeds: Arc<Mutex<BTreeSet<u64>>>,
    broken: Arc<AtomicBool>,
}

impl PlayWaves for Pretended {
    fn play(&mut self, _: u32) -> Result<WaveReport, DeviceError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(DeviceError::Absent("gone".into()));
        }
        let games = self.games.step().into_iter().map(|record| WaveGame {
            seed: record.seed,
            moves: record.moves,
            decisions: record
                .decisions
                .into_iter()
                .map(|one| WaveDecision { step: one.ply, policy: one.policy })
                .collect(),
            winner: record.winner_seat,
        });
        let games: Vec<_> = games.collect();
        self.seeds.lock().extend(games.iter().map(|game| game.seed));
        Ok(WaveReport { begun: 0, dropped: 0, playing: 1, games })
    }

    fn retire(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// Two threads of one card: one launches it, and the other runs beside it.
struct Playing {
    orders: watch::Sender<Orders>,
    games: mpsc::Receiver<GameRecord>,
    on_host: OnHost,
    broken: Arc<AtomicBool>,
    /// The exploration of each game that was begun on the card.
    begun: Arc<Mutex<Vec<f32>>>,
    /// The seeds of the games that the card played.
    seeds: Arc<Mutex<BTreeSet<u64>>>,
    stop: CancellationToken,
    threads: Vec<thread::JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
}

fn order(model: &str, exploration: f64) -> ConfigOrder {
    let config: Config = "hex8_2p".parse().unwrap();
    let network = Arc::new(Network::seeded(Architecture::small(config.board), 0));
    ConfigOrder {
        config,
        weight: 1.0,
        simulations: 2,
        exploration,
        model: ModelId(Hash::of(model.as_bytes())),
        network,
    }
}

impl Playing {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let orders = watch::Sender::new(Orders { rate: 1.0, ..Orders::default() });
        let (games, finished) = mpsc::channel(1);
        let (broken, seeds) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<BTreeSet<u64>>>::default());
        let (on_host, stop) = (OnHost::default(), CancellationToken::new());
        let begun = Arc::<Mutex<Vec<f32>>>::default();
        let begin = {
            let (broken, seeds, begun) = (Arc::clone(&broken), Arc::clone(&seeds), Arc::clone(&begun));
            move |config: Config, _: &Network, settings: WaveSettings| {
                begun.lock().push(settings.exploration);
                let mut games = Selfplay::new(config, settings.slots, settings.seed, NodeId(0));
                games.set_model(ModelId(Hash::of(b"card")), Box::new(Uniform), settings.full);
                let (broken, seeds) = (Arc::clone(&broken), Arc::clone(&seeds));
                Ok(Box::new(Pretended { games, seeds, broken }) as Box<dyn PlayWaves>)
            }
        };
        let launches =
            Searcher::Card { begin: Arc::new(begin), games: Box::new(|_| 4), on_host: on_host.clone() };
        let beside = Searcher::Beside(on_host.subscribe());
        let thread = |(seed, searcher)| PlayThread {
            backend: AnyBackend::Cpu,
            device: 0,
            searcher,
            parallel: 4,
            seed,
            node: NODE,
            orders: orders.subscribe(),
            games: games.clone(),
            stop: stop.clone(),
            runtime: runtime.handle().clone(),
        };
        let threads: Vec<_> = [(1, launches), (2, beside)].into_iter().map(thread).collect();
        let threads =
            threads.into_iter().map(|thread: PlayThread| thread::spawn(move || thread.play())).collect();
        Self { orders, games: finished, on_host, broken, begun, seeds, stop, threads, runtime }
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        self.orders.send_modify(change);
    }

    /// Waits for a game of this model: one that the card played, or one that the host played.
    fn game(&mut self, model: &str, of_the_card: bool) -> GameRecord {
        let player = Player::Model(ModelId(Hash::of(model.as_bytes())));
        let began = Instant::now();
        loop {
            let wait = async { tokio::time::timeout(LIMIT, self.games.recv()).await };
            let game = self.runtime.block_on(wait).expect("a game").expect("a thread that plays");
            let from_card = self.seeds.lock().contains(&game.seed);
            if game.players[0] == player && from_card == of_the_card {
                assert_eq!(game.node, NODE);
                return game;
            }
            assert!(began.elapsed() < LIMIT, "no game of {model} from the card: {of_the_card}");
        }
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        self.stop.cancel();
        self.games.close();
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }
}

#[test]
fn a_card_searches_until_it_fails_and_again_with_the_next_model() {
    let mut playing = Playing::start();
    playing.order(|orders| orders.configs = vec![order("a", 1.0)]);
    let nothing = BTreeMap::new();
    for _ in 0..8 {
        playing.game("a", true);
        assert_eq!(*playing.on_host.borrow(), nothing);
    }
    playing.broken.store(true, Ordering::Relaxed);
    for _ in 0..8 {
        playing.game("a", false);
    }
    let failed_at = BTreeMap::from([(order("a", 1.0).config, ModelId(Hash::of(b"a")))]);
    assert_eq!(*playing.on_host.borrow(), failed_at);
    // The configuration stays with the host for as long as it has the same model, whatever else changes.
    playing.broken.store(false, Ordering::Relaxed);
    playing.order(|orders| orders.configs = vec![order("a", 1.5)]);
    for _ in 0..8 {
        playing.game("a", false);
    }
    assert_eq!(*playing.on_host.borrow(), failed_at);
    playing.order(|orders| orders.configs = vec![order("b", 1.0)]);
    for _ in 0..8 {
        playing.game("b", true);
    }
}

#[test]
fn what_only_the_card_searches_is_left_to_its_thread() {
    let mut playing = Playing::start();
    playing.order(|orders| orders.configs = vec![order("a", 1.0)]);
    for _ in 0..8 {
        let wait = async { tokio::time::timeout(LIMIT, playing.games.recv()).await };
        let game = playing.runtime.block_on(wait).unwrap().unwrap();
        assert!(playing.seeds.lock().contains(&game.seed), "nobody else plays");
    }
    // A card that other work occupies plays nothing; when it is free again, it goes on.
    playing.order(|orders| orders.occupied = BTreeSet::from([0]));
    playing.order(|orders| orders.occupied = BTreeSet::new());
    playing.game("a", true);
}

#[test]
fn a_change_of_exploration_begins_new_games_on_the_card() {
    let mut playing = Playing::start();
    playing.order(|orders| orders.configs = vec![order("a", 1.0)]);
    playing.game("a", true);
    assert_eq!(*playing.begun.lock(), [1.0]);
    playing.order(|orders| orders.configs = vec![order("a", 1.2)]);
    let began = Instant::now();
    while playing.begun.lock().len() < 2 {
        playing.game("a", true);
        assert!(began.elapsed() < LIMIT);
    }
    assert_eq!(*playing.begun.lock(), [1.0, 1.2]);
}

#[test]
fn at_a_reduced_rate_games_go_on() {
    let mut playing = Playing::start();
    playing.order(|orders| {
        orders.rate = 0.5;
        orders.configs = vec![order("a", 1.0)];
    });
    for _ in 0..3 {
        playing.game("a", true);
    }
    playing.broken.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        playing.game("a", false);
    }
}
