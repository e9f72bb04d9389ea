//! Self-play with the search on the device against the host's: the same games, choice by choice.
//!
//! The host's search is that of the node; what the node's self-play does around it is done below once more,
//! with the seeds that the device gives to games.

use crate::device::evaluator::DeviceEvaluator;
use crate::device::games::wave::{Rooms, Wave};
use crate::device::games::wave_games::{PlayWaves, WaveDecision, WaveGame, WaveReport, WaveSettings};
use crate::device::ops::HEAD_COLUMNS;
use crate::device::tests::emulated::Emulated;
use crate::device::tests::product::{Fault, Faulty};
use crate::device::tests::search::{Search, SearchSettings, random, sample_at, unit};
use crate::device::tests::{SCHEDULES, network};
use crate::encoding::action::{Actions, KINDS};
use crate::encoding::packed::{HEADER, Positions};
use crate::error::DeviceError;
use crate::network::architecture::{Architecture, HEAD, Layout};
use crate::network::cpu::{absolute, tame};
use crate::network::evaluator::{Evaluation, Evaluator, Query};
use crate::network::heads::{Policy, softmax};
use crate::network::weights::Network;
use rules::playout::Choices;
use rules::{Config, Hex8, Move, MoveKind, Options, SEATS_MAX, Square19, State, Topology, with_board};
use std::collections::BTreeMap;
use std::sync::Arc;

fn settings(slots: usize, (full, quick): (u32, u32)) -> WaveSettings {
    let search = SearchSettings::default();
    WaveSettings {
        slots,
        seed: 7,
        swap: true,
        full,
        quick,
        full_share: 0.25,
        sampled: 8,
        sampled_spread: 3,
        opening_share: 0.3,
        opening_max: 12,
        exploration: 1.0,
        considered: search.considered as u32,
        visit_offset: search.visit_offset,
        value_scale: search.value_scale,
    }
}

/// A game as the host plays it.
struct Host<'a, T: Topology> {
    settings: &'a WaveSettings,
    state: State<T>,
    choices: Choices,
    game: WaveGame,
}

impl<'a, T: Topology> Host<'a, T> {
    fn apply(&mut self, mv: Move) {
        self.game.moves.push(mv.code());
        self.state.apply(mv);
    }

    fn settle(&mut self, legal: &mut Vec<Move>) {
        self.state.legal(legal);
        while let [single] = legal[..] {
            self.apply(single);
            self.state.legal(legal);
        }
    }

    fn open(&mut self, choices_max: usize) {
        let mut legal = Vec::new();
        for _ in 0..choices_max {
            self.settle(&mut legal);
            legal.retain(|mv| mv.kind() != MoveKind::Swap);
            if legal.is_empty() {
                return;
            }
            let mv = legal[random(&legal, &mut self.choices)];
            let mut next = self.state;
            next.apply(mv);
            if next.outcome().is_some() {
                return;
            }
            self.apply(mv);
        }
    }

    fn play(
        config: Config,
        settings: &'a WaveSettings,
        seed: u64,
        evaluator: &mut dyn Evaluator<T>,
    ) -> WaveGame {
        let state = State::new(config.seats, Options { swap: settings.swap, ..Options::default() });
        let game = WaveGame { seed, moves: Vec::new(), decisions: Vec::new(), winner: 0 };
        let mut host = Self { settings, state, choices: Choices::new(seed), game };
        let mut sampled = settings.sampled as usize + host.choices.below(settings.sampled_spread as usize);
        let opening = if unit(&mut host.choices) < settings.opening_share {
            1 + host.choices.below(settings.opening_max as usize)
        } else {
            0
        };
        let mut search = Search::new(SearchSettings {
            noise_scale: settings.exploration,
            considered: settings.considered as usize,
            ..SearchSettings::default()
        });
        host.open(opening);
        let mut legal = Vec::new();
        loop {
            host.settle(&mut legal);
            if let Some(outcome) = host.state.outcome() {
                host.game.winner = outcome.winner;
                return host.game;
            }
            let full = unit(&mut host.choices) < settings.full_share;
            let simulations = if full { settings.full } else { settings.quick };
            search.start(&host.state, simulations, Some(&mut host.choices)).unwrap();
            while let Some(query) = search.query() {
                let evaluation = evaluator.evaluate(&[query]).remove(0);
                search.answer(&evaluation).unwrap();
            }
            let choice = host.decide(&mut search, full, &mut sampled);
            host.apply(search.legal()[choice]);
        }
    }

    fn decide(&mut self, search: &mut Search<T>, full: bool, sampled: &mut usize) -> usize {
        let best = search.best();
        let policy = search.policy();
        let weights = policy.iter().enumerate().map(|(i, &p)| (i as u16, (p * f32::from(u16::MAX)) as u16));
        let policy_of = weights.filter(|&(_, weight)| full && weight > 0).collect();
        let step = self.game.moves.len() as u32;
        self.game.decisions.push(WaveDecision { step, policy: policy_of });
        if *sampled == 0 {
            return best;
        }
        *sampled -= 1;
        sample_at(self.settings.exploration, policy, &mut self.choices)
    }
}

/// What a network that never was computes of a position: numbers that follow from how the position is
/// packed, and that are added without rounding.
fn invented(stacks: &[u64], ground: &[u8], header: &[u16], uniform: bool) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let mut head = vec![0.0; stacks.len() * HEAD];
    let (mut kinds, mut value) = (vec![0.0; KINDS], vec![0.0; SEATS_MAX]);
    if !uniform {
        let words = stacks.iter().copied().chain(ground.iter().map(|&g| u64::from(g)));
        let words = words.chain(header.iter().map(|&h| u64::from(h)));
        let hash = words.fold(0, |hash, word| Choices::new(hash ^ word).next_u64());
        let mut choices = Choices::new(hash);
        let mut number = |scale: f32| (choices.below(513) as f32 - 256.0) / 256.0 * scale;
        for cell in head.chunks_exact_mut(HEAD) {
            cell[2 * crate::network::architecture::KEY..].iter_mut().for_each(|plane| *plane = number(1.0));
        }
        kinds.iter_mut().for_each(|kind| *kind = number(1.0));
        value.iter_mut().for_each(|value| *value = number(2.0));
    }
    (head, kinds, value)
}

/// Evaluates as [`invented`] says, on the host.
struct Inventor {
    network: Arc<Network>,
    uniform: bool,
}

impl<T: Topology> Evaluator<T> for Inventor {
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        let one = |query: &Query<'_, T>| {
            let mut packed = Positions::new(T::BOARD);
            packed.push(query.state, query.legal);
            let (cells, kinds, value) =
                invented(&packed.stacks, &packed.ground, &packed.headers, self.uniform);
            let mut actions = Actions::default();
            actions.push(query.state, query.legal);
            let layout = Layout::new(self.network.architecture());
            let weights = self.network.weights();
            let policy = Policy { layout: &layout, weights, cells: &cells, kinds: &kinds };
            let logits = actions.actions.iter().map(|action| policy.logit(&actions, action)).collect();
            let (seats, mut relative) = (query.state.seats(), [0.0; SEATS_MAX]);
            relative.copy_from_slice(&value);
            softmax(&mut relative[..usize::from(seats)]);
            let value = absolute(relative, query.state.seat(), seats);
            let mut evaluation = Evaluation { logits, value };
            tame(&mut evaluation, seats);
            evaluation
        };
        queries.iter().map(one).collect()
    }
}

/// Evaluates as [`invented`] says what the slots of a wave ask.
fn invent<T: Topology>(device: &Emulated, wave: &Wave<Emulated, T>, slots: usize, uniform: bool) {
    let space = &wave.space;
    let stacks = space.stacks.read(device, slots * T::CELLS).unwrap();
    let ground = space.ground.read(device, slots * T::CELLS).unwrap();
    let headers = space.headers.read(device, slots * HEADER).unwrap();
    let (mut head, mut kinds, mut value) = (Vec::new(), Vec::new(), Vec::new());
    let positions = stacks.chunks_exact(T::CELLS).zip(ground.chunks_exact(T::CELLS));
    for ((stacks, ground), header) in positions.zip(headers.chunks_exact(HEADER)) {
        let (of_cells, of_kinds, of_value) = invented(stacks, ground, header, uniform);
        for cell in of_cells.chunks_exact(HEAD) {
            head.extend_from_slice(cell);
            head.resize(head.len() + HEAD_COLUMNS - HEAD, 0.0);
        }
        kinds.extend(of_kinds);
        value.extend(of_value);
    }
    space.head.write(device, &head).unwrap();
    space.kinds.write(device, &kinds).unwrap();
    space.value.write(device, &value).unwrap();
}

/// What the search asks in its first steps, as words, of a game whose evaluations are
/// invented: long enough for it to come to positions with few moves, below which a tree that
/// is cut down is moved by less than a warp's width.
pub(super) fn questions(device: &Emulated, steps: usize) -> Result<Vec<f32>, DeviceError> {
    let config = Config { board: Hex8::BOARD, seats: 2 };
    let settings = WaveSettings { opening_share: 0.0, ..settings(1, (2, 2)) };
    let wave = Wave::<_, Hex8>::new(device.again(), config, &little_network(config), settings)?;
    let mut asked = Vec::new();
    for _ in 0..steps {
        wave.search()?;
        let stacks = wave.space.stacks.read(device, Hex8::CELLS)?;
        asked.extend(
            stacks.iter().flat_map(|&stack| [stack as u32, (stack >> 32) as u32]).map(f32::from_bits),
        );
        invent(device, &wave, 1, false);
    }
    Ok(asked)
}

fn little_network(config: Config) -> Network {
    network(Architecture { blocks: 1, channels: 32, ..Architecture::small(config.board) }, 3)
}

/// All choices are equal, and so are the policies, but for as much as their weights may be rounded apart.
fn assert_same(game: &WaveGame, expected: &WaveGame, rounding: u16) {
    let what = format!("seed {:#x}", game.seed);
    assert_eq!((game.seed, game.winner), (expected.seed, expected.winner), "{what}");
    let step = game.moves.iter().zip(&expected.moves).position(|(a, b)| a != b);
    let at = |moves: &[u32]| step.map(|step| Move::from_code(moves[step]));
    assert_eq!(at(&game.moves), at(&expected.moves), "{what}, step {step:?}");
    assert_eq!(game.moves.len(), expected.moves.len(), "{what}");
    assert_eq!(game.decisions.len(), expected.decisions.len(), "{what}");
    for (decision, expected) in game.decisions.iter().zip(&expected.decisions) {
        assert_eq!(decision.step, expected.step, "{what}");
        let mut weights: BTreeMap<u16, [u16; 2]> = BTreeMap::new();
        decision.policy.iter().for_each(|&(i, weight)| weights.entry(i).or_default()[0] = weight);
        expected.policy.iter().for_each(|&(i, weight)| weights.entry(i).or_default()[1] = weight);
        let apart = weights.values().map(|[a, b]| a.abs_diff(*b)).max();
        assert!(apart <= Some(rounding), "{what}, step {}: {apart:?} apart", decision.step);
        assert!(decision.policy.is_sorted_by(|a, b| a.0 < b.0));
    }
}

/// Far more calls of `next` than any comparison takes.
const CALLS_MAX: usize = 20_000;

/// Has `next` play on the device until so many games have ended, and plays each of them on the host.
/// Returns how many decisions were compared.
fn compare<T: Topology>(
    (config, settings): (Config, &WaveSettings),
    games: usize,
    rounding: u16,
    mut next: impl FnMut() -> Vec<WaveGame>,
    evaluator: &mut dyn Evaluator<T>,
) -> usize {
    let (mut compared, mut decisions) = (0, 0);
    for _ in 0..CALLS_MAX {
        for game in next() {
            let expected = Host::<T>::play(config, settings, game.seed, evaluator);
            assert_same(&game, &expected, rounding);
            compared += 1;
            decisions += game.decisions.len();
        }
        if compared >= games {
            return decisions;
        }
    }
    panic!("{compared} of {games} games of {config} with seed {} after {CALLS_MAX} calls", settings.seed);
}

fn compare_invented<T: Topology>(
    schedule: u64,
    config: Config,
    settings: WaveSettings,
    games: usize,
    uniform: bool,
) -> usize {
    let device = Emulated::new(schedule);
    let network = Arc::new(little_network(config));
    let wave = Wave::<_, T>::new(Emulated::new(schedule), config, &network, settings).unwrap();
    let next = || {
        wave.search().unwrap();
        invent(&device, &wave, settings.slots, uniform);
        wave.report().unwrap().games
    };
    // A mean over cells is summed in another order.
    let decisions = compare::<T>((config, &settings), games, 1, next, &mut Inventor { network, uniform });
    assert_eq!(wave.report().unwrap().dropped, 0);
    decisions
}

#[test]
fn games_of_invented_evaluations_are_those_of_the_host() {
    for (i, config) in (0u64..).zip(Config::all().into_iter().filter(|config| config.board.cells() < 100)) {
        let settings = WaveSettings { seed: i, swap: config.seats == 2, ..settings(3, (8, 2)) };
        with_board!(config.board, T => {
            compare_invented::<T>(i + 1, config, settings, 4, false);
            compare_invented::<T>(i + 1, config, WaveSettings { slots: 2, ..settings }, 2, true);
        });
    }
}

#[test]
fn large_boards_too() {
    for key in ["square19_2p", "hexagonal_3p"] {
        let config: Config = key.parse().unwrap();
        let settings = WaveSettings { swap: config.seats == 2, ..settings(1, (3, 2)) };
        with_board!(config.board, T => compare_invented::<T>(1, config, settings, 1, false));
    }
}

#[test]
fn other_settings_too() {
    let config: Config = "hex8_2p".parse().unwrap();
    let play =
        |settings| with_board!(config.board, T => compare_invented::<T>(2, config, settings, 2, false));
    play(WaveSettings { exploration: 1.5, ..settings(2, (8, 3)) });
    play(WaveSettings { swap: false, opening_share: 1.0, considered: 4, ..settings(2, (16, 16)) });
    play(WaveSettings { full_share: 1.0, sampled: 0, sampled_spread: 1, ..settings(1, (1, 1)) });
}

/// On large boards most of a game is a random opening.
#[test]
fn a_game_is_the_same_under_every_schedule() {
    let large =
        |slots| WaveSettings { seed: 3, opening_share: 1.0, opening_max: 600, ..settings(slots, (4, 2)) };
    for (key, settings) in [
        ("hex8_2p", settings(2, (4, 2))),
        ("square8_3p", settings(5, (4, 2))),
        ("square19_4p", large(1)),
        ("hexagonal_2p", large(1)),
    ] {
        let config: Config = key.parse().unwrap();
        let settings = WaveSettings { swap: config.seats == 2, ..settings };
        for schedule in 1..=SCHEDULES {
            let decisions = with_board!(config.board, T => {
                compare_invented::<T>(schedule, config, settings, 1, false)
            });
            assert!(decisions > 20, "{config}: {decisions} decisions");
        }
    }
}

/// The network on the device answers both, so their numbers are equal to the last bit.
#[test]
fn games_of_a_network_are_those_of_the_host_with_the_same_kernels() {
    for (i, key) in (1u64..).zip(["hex8_2p", "square8_4p"]) {
        let config: Config = key.parse().unwrap();
        let network = Arc::new(little_network(config));
        let settings = WaveSettings { swap: config.seats == 2, ..settings(3, (4, 1)) };
        with_board!(config.board, T => {
            let mut wave = Wave::<_, T>::new(Emulated::new(i), config, &network, settings).unwrap();
            let mut evaluator = DeviceEvaluator::new(Emulated::new(i), network).unwrap();
            compare::<T>((config, &settings), 1, 0, || wave.play(5).unwrap().games, &mut evaluator);
            assert_eq!(wave.report().unwrap().dropped, 0);
        });
    }
}

/// Plays on a hex board so many steps with evaluations that say nothing; what was collected after each.
fn run(wave: &Wave<Emulated, Hex8>, slots: usize, steps: usize, collects: bool) -> Vec<WaveGame> {
    let device = Emulated::new(1);
    let mut games = Vec::new();
    for _ in 0..steps {
        wave.search().unwrap();
        invent(&device, wave, slots, true);
        if collects {
            games.extend(wave.report().unwrap().games);
        }
    }
    games
}

#[test]
fn a_slot_keeps_two_games_and_a_retired_wave_comes_to_its_end() {
    let config: Config = "hex8_2p".parse().unwrap();
    let settings = settings(3, (2, 1));
    let mut wave = Wave::new(Emulated::new(1), config, &little_network(config), settings).unwrap();
    let counts = |report: &WaveReport| (report.begun, report.dropped, report.playing);
    // A game of so few simulations is far shorter than this.
    run(&wave, 3, 600, false);
    let report = wave.report().unwrap();
    assert_eq!(counts(&report), (6, 0, 0));
    let mut seeds: Vec<u64> = report.games.iter().map(|game| game.seed).collect();
    assert_eq!(wave.report().unwrap().games, []);
    seeds.extend(run(&wave, 3, 5, true).iter().map(|game| game.seed));
    assert_eq!(counts(&wave.report().unwrap()), (9, 0, 3));
    wave.retire().unwrap();
    seeds.extend(run(&wave, 3, 300, true).iter().map(|game| game.seed));
    assert_eq!(counts(&wave.report().unwrap()), (9, 0, 0));
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), 9);
}

/// However many launches the device makes before it fails: a report is
/// given or an error, and then errors alone.
#[test]
fn a_failure_behind_a_report_is_for_the_next_call() {
    let config: Config = "hex8_2p".parse().unwrap();
    let play = |launches: u32| {
        let (device, network) = (Faulty::new(Fault::After(launches)), little_network(config));
        let mut wave = Wave::<_, Hex8>::new(device, config, &network, settings(1, (2, 1))).unwrap();
        [0; 3].map(|_| wave.play(2).map(|report| report.begun))
    };
    let failed = |result: &Result<u64, DeviceError>| match result {
        Err(DeviceError::Kernel { kernel, .. }) => Some(*kernel),
        Ok(_) | Err(_) => None,
    };
    let mut seen: Vec<usize> = Vec::new();
    for launches in 0.. {
        let found = play(launches);
        let good = found.iter().take_while(|result| **result == Ok(1)).count();
        assert!(found[good..].iter().all(|result| failed(result).is_some()), "after {launches}: {found:?}");
        if good == 1 && seen.last() == Some(&0) {
            assert_eq!(failed(&found[1]), Some("wave_hex8"), "the first launch behind the report");
        }
        seen.push(good);
        if good == 2 {
            break;
        }
    }
    assert!(seen.is_sorted() && [0, 1].iter().all(|good| seen.contains(good)), "{seen:?}");
}

#[test]
fn more_games_than_kernels_count_are_refused() {
    let config: Config = "square19_2p".parse().unwrap();
    let settings = settings(100_000, (800, 200));
    let bytes = Wave::<Emulated, Square19>::bytes(&settings);
    let edges = 100_000 * (3 * 800 + 2) * 1536 * 32;
    assert!((edges..edges + edges / 8).contains(&bytes), "{bytes}");
    let wave = Wave::<_, Square19>::new(Emulated::new(1), config, &little_network(config), settings);
    assert_eq!(wave.err(), Some(DeviceError::Memory { bytes: edges }));
}

#[test]
fn games_for_which_there_is_no_room_are_dropped() {
    let config: Config = "hex8_2p".parse().unwrap();
    let settings = settings(2, (2, 1));
    let enough = Rooms::new(config.board.cells(), settings.full);
    let play = |rooms| {
        let network = little_network(config);
        let wave = Wave::with_rooms(Emulated::new(1), config, &network, settings, rooms).unwrap();
        let games = run(&wave, 2, 300, true);
        (games.len(), wave.report().unwrap())
    };
    for rooms in [
        Rooms { edges: 150, ..enough },
        Rooms { moves: 60, ..enough },
        Rooms { policy: 20, ..enough },
        Rooms { nodes: 1, ..enough },
    ] {
        let (games, report) = play(rooms);
        assert_eq!(games, 0, "{rooms:?}");
        assert!(report.dropped > 2 && report.begun <= report.dropped + 2, "{rooms:?}: {report:?}");
    }
    // Less than what a search may keep: nothing is kept, and nothing lost.
    let (games, report) = play(Rooms { edges: 800, nodes: 4, ..enough });
    assert!(games > 2);
    assert_eq!(report.dropped, 0);
}
