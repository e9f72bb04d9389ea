//! The rules on the device against the crate `rules`: legal moves, positions and outcomes are equal at every step.
//!
//! `scripts/check-device-rules` runs the same tests over more games and over recorded ones.

use super::emulated::Emulated;
use super::under_schedules;
use crate::device::referee::{Checked, Referee};
use flate2::read::MultiGzDecoder;
use rules::{Config, Hex8, Options, State, Topology, Victory, with_board};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

/// Random games of a small configuration, and of a large one, unless the environment says how many of all twelve.
const GAMES: (u32, u32) = (20, 1);
/// Recorded games of each file, unless the environment names a folder.
const RECORDED: usize = 3;

/// How many random games of a configuration. Those on the large boards take far longer, and get a tenth of the share.
fn games(config: Config) -> u32 {
    let small = config.board.cells() < 100;
    let (of_small, of_large) = match std::env::var("DEVICE_RULES_GAMES") {
        Ok(asked) => {
            let all: u32 = asked.parse().unwrap();
            let large = all.div_ceil(120);
            (all.saturating_sub(6 * large).div_ceil(6), large)
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
            Referee::<_, T>::new(&device, 1).random_games(config, games, games)
        });
        let checked = checked.unwrap_or_else(|error| panic!("{config}: {error}"));
        assert_eq!(checked.games, u64::from(games));
        assert!(checked.steps > 50 * checked.games);
        println!("{config}: {} games, {} steps", checked.games, checked.steps);
    }
}

/// The recorded games to replay, and how many of each file: all of those in a folder that the environment names, or the
/// first ones on small boards of those that are kept with the rules.
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

fn replay<T: Topology>(device: &Emulated, game: &Value) -> Checked {
    let mut referee = Referee::<_, T>::new(device, 1);
    let victory = if game["victory"] == "turn_end" { Victory::TurnEnd } else { Victory::EveryMove };
    let options = Options { swap: game["swap"].as_bool().unwrap(), victory };
    let seats = game["players"].as_u64().unwrap() as u8;
    let mut state = State::<T>::parse(seats, options, game["init"].as_str().unwrap()).unwrap();
    for step in game["steps"].as_array().unwrap() {
        let text = step.get("m").unwrap_or(&step[0]).as_str().unwrap();
        let mv = state.parse_move(text).unwrap();
        referee.step(&state, mv).unwrap_or_else(|error| panic!("{error}"));
        state.apply(mv);
    }
    referee.finish().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn recorded_games_are_played_by_the_same_rules() {
    let device = Emulated::new(1);
    let (files, limit) = recorded();
    assert!(!files.is_empty());
    for path in &files {
        let lines = BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines();
        let (mut games, mut steps) = (0, 0);
        for line in lines.take(limit) {
            let game: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let board = game["board"].as_str().unwrap().parse().unwrap();
            steps += with_board!(board, T => replay::<T>(&device, &game)).steps;
            games += 1;
        }
        assert!(games > 0 && steps > 0);
        println!("{}: {games} games, {steps} steps", path.display());
    }
}

#[test]
fn a_playout_is_the_same_under_every_schedule() {
    under_schedules(|device| {
        let mut referee = Referee::<_, Hex8>::new(device, 5);
        let starts = [2, 3, 4].map(|seats| State::new(seats, Options::default()));
        referee.games(&starts, 9, 0).unwrap_or_else(|error| panic!("seed {}: {error}", device.seed()));
        assert_eq!(referee.finish().unwrap(), Checked { games: 3, steps: 0 });
    });
}
