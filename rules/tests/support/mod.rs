//! What the tests share: the recorded games kept beside them, and games to walk through.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use rules::playout::{Choices, play};
use rules::{Move, Options, State, Topology};

/// The kept trace files, sorted by name.
pub(crate) fn trace_files() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A trace file, decompressed.
pub(crate) fn open(path: &PathBuf) -> BufReader<MultiGzDecoder<File>> {
    BufReader::new(MultiGzDecoder::new(File::open(path).unwrap()))
}

/// The constructed positions from which recorded games of a configuration start.
pub(crate) fn constructed<T: Topology>(seats: u8, limit: usize) -> Vec<State<T>> {
    let name = format!("compact-pos-{}-{seats}p.jsonl.gz", T::BOARD);
    let path = trace_files().into_iter().find(|path| path.ends_with(&name)).unwrap();
    let mut text = String::new();
    open(&path).read_to_string(&mut text).unwrap();
    text.lines()
        .take(limit)
        .map(|line| {
            let (_, rest) = line.split_once("\"init\":\"").unwrap();
            let (init, _) = rest.split_once('"').unwrap();
            State::parse(seats, Options::default(), init).unwrap()
        })
        .collect()
}

/// Walks through random games: `games` from the empty board with the pie rule and either victory timing, and
/// one from each of `games` constructed positions.
pub(crate) fn walk<T: Topology>(seats: u8, games: usize, mut visit: impl FnMut(&State<T>, &[Move])) {
    let mut legal = Vec::new();
    for seed in 0..games as u64 {
        let victory = if seed % 4 == 3 { rules::Victory::TurnEnd } else { rules::Victory::EveryMove };
        let options = Options { swap: seats == 2 && seed % 2 == 0, victory };
        play(State::<T>::new(seats, options), &mut Choices::new(seed), &mut legal, &mut visit);
    }
    for (seed, state) in constructed::<T>(seats, games).into_iter().enumerate() {
        play(state, &mut Choices::new(1_000 + seed as u64), &mut legal, &mut visit);
    }
}
