//! The rules on the device against the crate `rules`: legal moves,
//! positions and outcomes are equal at every step.
//!
//! `scripts/check-device-rules` runs the same tests over more games and over recorded ones.

use crate::device::games::playouts::{PlayoutReport, playouts};
use crate::device::tests::emulated::Emulated;
use crate::device::tests::product::{Fault, Faulty};
use crate::device::tests::under_schedules;
use crate::dry_run::Recorder;
use crate::error::DeviceError;
use crate::proof::recorded;
use crate::proof::referee::{Checked, Referee};
use flate2::read::MultiGzDecoder;
use rules::playout::{self, Choices};
use rules::{Config, Hex8, Hexagonal, Options, Square8, Square19, State, Topology, with_board};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Random games of a small configuration, and of a large one, unless the
/// environment says how many of all twelve.
const GAMES: (u32, u32) = (20, 1);
/// Recorded games of each file, unless the environment names a folder.
const RECORDED: usize = 3;

/// How many random games of a configuration, at least one. Those on the large boards take
/// far longer, and get a tenth of the share.
fn games(config: Config) -> u32 {
    let small = config.board.cells() < 100;
    let (of_small, of_large) = match std::env::var("DEVICE_RULES_GAMES") {
        Ok(asked) => {
            let all: u32 = asked.parse().unwrap();
            let large = all.div_ceil(120).max(1);
            (all.saturating_sub(6 * large).div_ceil(6).max(1), large)
        }
        Err(_) => GAMES,
    };
    if small { of_small } else { of_large }
}

#[test]
fn random_games_are_played_by_the_same_rules() {
    let device = Emulated::new(1);
    for config in Config::all() {
        let games = games(config);
        let checked = with_board!(config.board, T => {
            Referee::<_, T>::new(&device, 1).random_games(config, games)
        });
        let checked = checked.unwrap_or_else(|error| panic!("{config}: {error}"));
        assert_eq!(checked.games, u64::from(games));
        assert!(checked.steps > 50 * checked.games);
        println!("{config}: {} games, {} steps", checked.games, checked.steps);
    }
}

/// The recorded games to replay, and how many of each file: all of those in a folder that the environment
/// names, or the first ones on small boards of those that are kept with the rules.
fn recorded() -> (Vec<PathBuf>, usize) {
    let asked = std::env::var_os("DEVICE_RULES_TRACES").map(PathBuf::from);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules/tests/traces");
    let all = asked.is_some();
    let mut folders = vec![asked.unwrap_or(kept)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_string_lossy().into_owned();
            let quick = !["verbose-", "square19", "hexagonal"].iter().any(|slow| name.contains(slow));
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".jsonl.gz") && (all || quick) {
                files.push(path);
            }
        }
    }
    files.sort();
    (files, if all { usize::MAX } else { RECORDED })
}

#[test]
fn recorded_games_are_played_by_the_same_rules() {
    let device = Emulated::new(1);
    let (files, limit) = recorded();
    assert!(!files.is_empty());
    for path in &files {
        let lines = BufReader::new(MultiGzDecoder::new(File::open(path).unwrap()));
        let replayed = recorded::replay(&device, lines, limit);
        let Checked { games, steps } = replayed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(games > 0 && steps > 0);
        println!("{}: {games} games, {steps} steps", path.display());
    }
}

#[test]
fn a_report_of_playouts_tells_of_every_game() {
    let device = Emulated::new(1);
    for (config, games) in [("hex8_2p", 30), ("square8_4p", 20), ("hex8_3p", 0)] {
        let config: Config = config.parse().unwrap();
        let play = |seed| {
            let report =
                with_board!(config.board, T => playouts::<_, T>(&device, config, games, seed)).unwrap();
            PlayoutReport { elapsed: Duration::ZERO, ..report }
        };
        let report = play(1);
        assert_eq!(report.games, u64::from(games));
        assert_eq!(report.wins.iter().sum::<u64>(), report.games);
        assert_eq!(report, play(1));
        assert_eq!(report == play(2), games == 0);
        let each = usize::from(config.seats);
        assert!(report.wins[..each].iter().all(|&wins| (wins > 0) == (games > 0)), "{report:?}");
        assert!((50 * report.games..=500 * report.games).contains(&report.steps), "{report:?}");
    }
}

#[test]
fn outcomes_that_are_none_are_errors() {
    let config: Config = "hex8_2p".parse().unwrap();
    let zeros = playouts::<_, Hex8>(&Faulty::new(Fault::Zeros), config, 3, 1);
    let ones = playouts::<_, Hex8>(&Recorder::default(), config, 3, 1);
    for found in [zeros, ones] {
        assert!(matches!(found, Err(DeviceError::Kernel { .. })), "{found:?}");
    }
}

/// A position of a random game so many steps before its end, or its start.
fn late<T: Topology>(seats: u8, steps_left: usize) -> State<T> {
    let start = State::<T>::new(seats, Options { swap: seats == 2, ..Options::default() });
    let (mut choices, mut states) = (Choices::new(u64::from(seats)), Vec::new());
    playout::play(start, &mut choices, &mut Vec::new(), |state, _| states.push(*state));
    states[states.len().saturating_sub(steps_left)]
}

/// Playouts to the end of games, of which the first is also played step by
/// step: more of them than a block has warps.
fn check_schedules<T: Topology>(starts: &[State<T>]) {
    under_schedules(|device| {
        let mut referee = Referee::<_, T>::new(device, 5);
        let checked = referee.games(starts, 9, 1).and_then(|()| referee.finish());
        let Checked { games, steps } =
            checked.unwrap_or_else(|error| panic!("{}, seed {}: {error}", T::BOARD, device.seed()));
        assert_eq!((games, steps > 0), (starts.len() as u64, true));
    });
}

#[test]
fn games_are_the_same_under_every_schedule() {
    check_schedules([2, 3, 4].map(|seats| State::<Hex8>::new(seats, Options::default())).as_slice());
    check_schedules(&[late::<Square8>(2, 30), State::new(4, Options::default())]);
    // Whole games on large boards are played under one schedule.
    check_schedules(&[2, 3, 4, 2, 3].map(|seats| late::<Square19>(seats, 40)));
    check_schedules(&[4, 3, 2, 4, 3].map(|seats| late::<Hexagonal>(seats, 40)));
}

/// Compares all legal moves of a position, and of the positions they lead to.
fn explore<T: Topology>(referee: &mut Referee<'_, Emulated, T>, state: &State<T>, depth: u32) {
    let mut legal = Vec::new();
    state.legal(&mut legal);
    for &mv in &legal {
        referee.step(state, mv).unwrap_or_else(|error| panic!("{error}"));
        let mut next = *state;
        next.apply(mv);
        if depth > 1 {
            explore(referee, &next, depth - 1);
        }
    }
}

fn explore_from<T: Topology>(seats: u8, depth: u32, turn: &str, rest: &str) {
    let device = Emulated::new(1);
    let counters = "|h0e0t0".repeat(usize::from(seats));
    let text = format!("{turn}{counters}|{rest}|L f=1 m=1- x=0 n=0");
    let state = State::<T>::parse(seats, Options::default(), &text).unwrap();
    let mut referee = Referee::<_, T>::new(&device, 3);
    explore(&mut referee, &state, depth);
    referee.games(&[state; 4], 0, 0).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert!(referee.finish().unwrap_or_else(|error| panic!("{text}: {error}")).steps > 0);
}

#[test]
fn rare_positions_are_played_by_the_same_rules() {
    // Recovery: the run found first and the longest one differ; a slide that is listed and then rejected.
    let runs = "S 7,7:12|M 1,3:1 2,2:1 2,3:1 3,4:1 3,5:1 3,6:1|C ";
    explore_from::<Square8>(2, 2, "move p=1", runs);
    explore_from::<Square8>(3, 2, "move p=1", runs);
    explore_from::<Hex8>(3, 1, "move p=1", "S 4,-4:12|M 0,0:1 1,0:1 2,1:1|C ");
    // Strikes that expose or free the striker's own ring; a region in such a turn is paid with a buried one.
    explore_from::<Square8>(2, 2, "move p=1", "S 4,4:12 6,2:122|M 3,3:1|C ");
    explore_from::<Square8>(2, 3, "territory p=1 acted=1 rec=1", "S 0,0:2 4,4:1 6,2:12|M 0,1:1 1,0:1|C ");
    // Two seats lose their last ring one after the other, in either order, and rank by that.
    let corners = "S 0,0:2 4,4:1 4,6:1 7,7:3|M 0,1:1 1,0:1 6,7:1 7,6:1|C ";
    explore_from::<Square8>(3, 4, "territory p=1 acted=1", corners);
    // Borders of every colour, linked or not; the wall of collapsed cells alone; the open board as a region.
    let ring = "M -1,0:1 -1,1:1 0,-1:1 0,1:1 1,-1:1 1,0:1 2,1:2 3,1:2|C ";
    explore_from::<Hex8>(2, 2, "territory p=1 acted=1", &format!("S -4,4:1 4,-4:2|{ring}"));
    explore_from::<Hexagonal>(2, 2, "territory p=1 acted=1", &format!("S -4,4:1 4,-4:2|{ring}"));
    explore_from::<Square19>(4, 2, "territory p=1 acted=1", "S 0,0:1 6,6:2|M 0,1:1 1,0:1|C ");
    // Lines: all lengths and both ways to collapse them, paid and free.
    let line = "S -4,0:2 -4,4:1|M 0,0:1 0,1:1 0,2:1 0,3:1 1,0:1 2,0:1 3,0:1|C ";
    explore_from::<Hex8>(2, 3, "line p=1 acted=1", line);
    explore_from::<Hex8>(3, 3, "line p=1 acted=1", line);
    explore_from::<Square8>(4, 3, "line p=1 acted=1", "S 7,7:1|M 0,0:1 1,1:1 2,2:1 3,1:1 3,3:1 4,0:1|C ");
    // The tallest stacks that are held.
    let tall = "1".repeat(29);
    explore_from::<Hexagonal>(2, 1, "move p=1", &format!("S -12,0:12 -11,0:2 0,0:{tall} 0,5:{tall}|M |C "));
}
