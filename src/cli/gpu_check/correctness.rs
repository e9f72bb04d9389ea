//! A card against the CPU.

use super::progress;
use kernels::proof::{Card, Comparison, Waves};
use kernels::roofline::sizes;
use rules::{Board, Config};
use std::fmt::Display;

/// Positions of a batch: one, and odd ones that leave blocks partly empty.
const COUNTS_SMALL: [usize; 4] = [1, 5, 33, 257];
const COUNTS_LARGE: [usize; 3] = [1, 3, 17];
const SEED: u64 = 1;

/// The boards, each with another number of seats or the pie rule.
const BOARDS: [(Board, u8); 4] =
    [(Board::Hex8, 2), (Board::Square8, 3), (Board::Square19, 2), (Board::Hexagonal, 4)];

/// Adds what was compared; whatever fails is among it.
pub(super) fn run(card: Card, quick: bool, found: &mut Vec<Comparison>) {
    progress("golden vectors");
    add(found, "golden vectors", card.golden());
    networks(card, quick, found);
    for config in Config::all() {
        let small = config.board.cells() < 100;
        let games = match (quick, small) {
            (true, true) => 8,
            (true, false) => 1,
            (false, true) => 300,
            (false, false) => 100,
        };
        progress(&format!("rules: {games} random games of {config}"));
        add(found, "rules", card.rules(config, games, SEED).map(|one| vec![one]));
    }
    searched(card, quick, found);
}

/// Self-play with the search on the card; more games than slots, so that slots begin again.
fn searched(card: Card, quick: bool, found: &mut Vec<Comparison>) {
    for (board, seats) in BOARDS {
        let config = Config { board, seats };
        let (waves, size) = match (quick, board.cells() < 100) {
            (true, true) => (Waves { slots: 8, games: 9, simulations: 4 }, (1, 32)),
            (true, false) => (Waves { slots: 1, games: 1, simulations: 2 }, (1, 32)),
            (false, true | false) => (Waves { slots: 64, games: 65, simulations: 16 }, (4, 32)),
        };
        progress(&format!("search on the card: {} games of {config} at once", waves.slots));
        add(found, "search on the card", card.waves(config, size, waves));
    }
}

fn networks(card: Card, quick: bool, found: &mut Vec<Comparison>) {
    for (board, seats) in BOARDS {
        let config = Config { board, seats };
        let small = board.cells() < 100;
        for architecture in sizes(board) {
            let size = (architecture.blocks, architecture.channels);
            let counts = match (quick, small) {
                (true, true) => &COUNTS_SMALL[..2],
                (true, false) => &COUNTS_LARGE[..2],
                (false, true) => &COUNTS_SMALL[..],
                (false, false) => &COUNTS_LARGE[..],
            };
            progress(&format!("evaluations, {architecture} on {board}"));
            add(found, "evaluations", card.evaluations(config, size, counts));
            let (count, steps) = match (quick, small) {
                (true, true) => (17, 2),
                (true, false) => (5, 2),
                (false, true) => (33, 10),
                (false, false) => (17, 3),
            };
            // Few positions say little about a wide network's direction.
            if !quick || size.1 == 32 {
                progress(&format!("training, {architecture} on {board}"));
                add(found, "training", card.training(config, size, (count, steps)));
            }
        }
    }
}

fn add<E: Display>(found: &mut Vec<Comparison>, what: &str, result: Result<Vec<Comparison>, E>) {
    let result = result.unwrap_or_else(|error| {
        let wrong = Some(error.to_string());
        vec![Comparison { what: what.to_owned(), compared: 0, tolerance: None, worst: None, wrong }]
    });
    for wrong in result.iter().filter_map(|one| Some((&one.what, one.wrong.as_ref()?))) {
        progress(&format!("WRONG: {}: {}", wrong.0, wrong.1));
    }
    found.extend(result);
}
