//! A card against the CPU.

use super::{
    live::{LiveReport, ReportError},
    scope::CheckScope,
};
use crate::prediction::batches;
use crate::rates::sizes;
use flate2::bufread::MultiGzDecoder;
use kernels::proof::{Card, Comparison, Waves};
use rules::{Board, Config};
use std::{
    fmt::Display,
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

/// Positions of a batch: one, and odd ones that leave blocks partly empty.
const COUNTS_SMALL: [usize; 4] = [1, 5, 33, 257];
const COUNTS_LARGE: [usize; 3] = [1, 3, 17];
/// Positions that come again and again in a large batch, on small boards and on others.
const DISTINCT: (usize, usize) = (33, 17);
/// Samples of a large batch of training, which the CPU has to go through as well, and its steps.
const SAMPLES: (usize, u64) = (4096, 2);
const SEED: u64 = 1;
/// Games of a recorded file where little is wanted.
const RECORDED_QUICK: usize = 3;

/// The boards, each with another number of seats or the pie rule.
const BOARDS: [(Board, u8); 4] =
    [(Board::Hex8, 2), (Board::Square8, 3), (Board::Square19, 2), (Board::Hexagonal, 4)];

/// Adds what was compared, one after the other; whatever fails is among
/// it. `traces`: a folder of recorded games.
pub fn check_correctness(card: Card, scope: &CheckScope, traces: Option<&Path>, live: &mut LiveReport) {
    live.tell("golden vectors");
    add(live, "golden vectors", card.golden());
    for (board, seats) in BOARDS.into_iter().filter(|(board, _)| scope.boards.contains(board)) {
        networks(card, Config { board, seats }, scope.quick, live);
    }
    for config in Config::all().into_iter().filter(|config| scope.boards.contains(&config.board)) {
        let games = games_of(config, scope.quick);
        live.tell(&format!("rules: {games} random games of {config}"));
        add(live, "rules", card.rules(config, games, SEED).map(|one| vec![one]));
    }
    recorded(card, scope, traces, live);
    for (board, seats) in BOARDS.into_iter().filter(|(board, _)| scope.boards.contains(board)) {
        searched(card, Config { board, seats }, scope.quick, live);
    }
}

/// Random games of a configuration: ten thousand of all twelve, most of them where they are short.
fn games_of(config: Config, quick: bool) -> u32 {
    match (quick, config.board.cells() < 100) {
        (true, true) => 8,
        (true, false) => 1,
        (false, true) => 1500,
        (false, false) => 167,
    }
}

/// Recorded games of the wanted boards.
fn recorded(card: Card, scope: &CheckScope, traces: Option<&Path>, live: &mut LiveReport) {
    let Some(folder) = traces else {
        live.tell("rules: no recorded games; --traces names a folder");
        return;
    };
    let files = match files_in(folder) {
        Err(error) => return add(live, "recorded games", Err(format!("{}: {error}", folder.display()))),
        Ok(files) => files,
    };
    let wanted: Vec<_> = files.iter().filter(|file| is_wanted(file, scope)).collect();
    if files.is_empty() {
        add(live, "recorded games", Err(format!("{}: no recorded games", folder.display())));
    }
    live.tell(&format!("rules: {} files of recorded games", wanted.len()));
    for file in wanted {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let games = if scope.quick { RECORDED_QUICK } else { usize::MAX };
        let compared = lines_of(file)
            .map_err(|error| error.to_string())
            .and_then(|lines| card.recorded(&name, lines, games).map_err(|error| error.to_string()));
        add(live, &name, compared.map(|one| vec![one]));
    }
}

/// The files of recorded games in a folder, by name.
fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        let name = path.to_string_lossy();
        if name.ends_with(".jsonl") || name.ends_with(".jsonl.gz") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Whether a file is of a wanted board, as far as its name tells; where little is wanted, no long games.
fn is_wanted(file: &Path, scope: &CheckScope) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let board = Board::ALL.into_iter().find(|board| name.contains(board.as_str()));
    match board {
        Some(board) => scope.boards.contains(&board) && !(scope.quick && board.cells() > 100),
        None => !scope.quick && scope.boards.len() == Board::ALL.len(),
    }
}

/// The lines of a file, plain or compressed.
fn lines_of(file: &Path) -> io::Result<Box<dyn BufRead>> {
    let opened = BufReader::new(File::open(file)?);
    let compressed = file.extension().is_some_and(|extension| extension == "gz");
    Ok(if compressed { Box::new(BufReader::new(MultiGzDecoder::new(opened))) } else { Box::new(opened) })
}

/// Self-play with the search on the card; more games than slots, so that slots begin again.
fn searched(card: Card, config: Config, quick: bool, live: &mut LiveReport) {
    let (waves, size) = match (quick, config.board.cells() < 100) {
        (true, true) => (Waves { slots: 8, games: 9, simulations: 4 }, (1, 32)),
        (true, false) => (Waves { slots: 1, games: 1, simulations: 2 }, (1, 32)),
        (false, true | false) => (Waves { slots: 64, games: 65, simulations: 16 }, (4, 32)),
    };
    live.tell(&format!("search on the card: {} games of {config} at once", waves.slots));
    add(live, "search on the card", card.waves(config, size, waves));
}

fn networks(card: Card, config: Config, quick: bool, live: &mut LiveReport) {
    let board = config.board;
    let small = board.cells() < 100;
    let counts = match (quick, small) {
        (true, true) => &COUNTS_SMALL[..2],
        (true, false) => &COUNTS_LARGE[..2],
        (false, true) => &COUNTS_SMALL[..],
        (false, false) => &COUNTS_LARGE[..],
    };
    let most = counts.last().copied().unwrap_or(1);
    for architecture in sizes(board) {
        let size = (architecture.blocks, architecture.channels);
        live.tell(&format!("evaluations, {architecture} on {board}"));
        add(live, "evaluations", card.evaluations(config, size, counts));
        add(live, "evaluations again", card.evaluations_again(config, size, most).map(|one| vec![one]));
        if !quick {
            let batch = batches(board).last().copied().unwrap_or(most);
            let distinct = if small { DISTINCT.0 } else { DISTINCT.1 };
            live.tell(&format!("{batch} evaluations in one pass, {architecture} on {board}"));
            add(live, "evaluations in one pass", card.one_pass(config, size, (batch, distinct)));
        }
        let run = match (quick, small) {
            (true, true) => (17, 2),
            (true, false) => (5, 2),
            (false, true) => (33, 10),
            (false, false) => (17, 3),
        };
        // Few positions say little about a wide network's direction.
        if !quick || size.1 == 32 {
            live.tell(&format!("training, {architecture} on {board}"));
            add(live, "training", card.training(config, size, run));
            add(live, "training again", card.training_again(config, size, run).map(|one| vec![one]));
        }
        if !quick && board == Board::Hex8 && size.1 == 32 {
            live.tell(&format!("training with {} samples, {architecture} on {board}", SAMPLES.0));
            add(live, "training", card.training(config, size, SAMPLES));
        }
    }
}

/// Adds comparisons, or that there are none.
fn add<E: Display>(live: &mut LiveReport, what: &str, result: Result<Vec<Comparison>, E>) {
    let result = result.unwrap_or_else(|error| {
        let wrong = Some(error.to_string());
        vec![Comparison { what: what.to_owned(), compared: 0, tolerance: None, worst: None, wrong }]
    });
    for wrong in result.iter().filter_map(|one| Some((&one.what, one.wrong.as_ref()?))) {
        live.tell(&format!("WRONG: {}: {}", wrong.0, wrong.1));
    }
    live.change(|report| report.correctness.extend(result));
}

/// Writes what the card makes of the inputs of every golden vector; a
/// card that makes nothing is a fault of it.
///
/// # Errors
/// [`ReportError`] if the folder or a file cannot be written.
pub fn write_golden(card: Card, folder: &Path, live: &mut LiveReport) -> Result<(), ReportError> {
    let vectors = match card.vectors() {
        Ok(vectors) => vectors,
        Err(error) => {
            add(live, "the card's own golden vectors", Err(error));
            return Ok(());
        }
    };
    let made = std::fs::create_dir_all(folder);
    made.map_err(|source| ReportError::Folder { path: folder.to_owned(), source })?;
    for vector in vectors {
        let path = folder.join(vector.file_name());
        let written = std::fs::write(&path, vector.to_text());
        written.map_err(|source| ReportError::Write { path, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::scope::CheckPart;

    #[test]
    fn ten_thousand_random_games_are_played() {
        let all: u32 = Config::all().into_iter().map(|config| games_of(config, false)).sum();
        assert!((10_000..10_100).contains(&all), "{all}");
    }

    #[test]
    fn recorded_games_are_found_by_their_boards() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules/tests/traces");
        let files = files_in(&folder).unwrap();
        assert!(files.len() > 50 && files.is_sorted());
        let count = |boards: &[Board], quick: bool| {
            let scope = CheckScope::of(&[CheckPart::Correctness], boards, quick);
            files.iter().filter(|file| is_wanted(file, &scope)).count()
        };
        assert_eq!(count(&[], false), files.len());
        let of_boards: usize = Board::ALL.into_iter().map(|board| count(&[board], false)).sum();
        // One file has games of several boards.
        assert_eq!(of_boards, files.len() - 1);
        assert_eq!(count(&[], true), count(&[Board::Hex8, Board::Square8], false));
        let mut line = String::new();
        lines_of(&files[0]).unwrap().read_line(&mut line).unwrap();
        assert!(line.starts_with('{') && line.contains("\"steps\""));
        assert!(files_in(&folder.join("none")).is_err());
    }
}
