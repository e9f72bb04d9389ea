//! Expansion of positions that no game comes to: the tallest stacks, the largest
//! counters, everything that a header says.

use crate::device::forward::DeviceSpace;
use crate::device::tests::{f32s, under_schedules};
use crate::encoding::packed::Positions;
use crate::encoding::planes::{CHANNELS, GLOBALS, encode};
use crate::network::architecture::Architecture;
use rules::playout::Choices;
use rules::{Cell, Config, NONE_CELL, Options, State, Topology, Victory, with_board};

/// Rings that a stack has at most.
const TALLEST: usize = 29;
/// Eliminated rings, and what is missing from a hand, at most.
const COUNTER_MAX: i32 = 469 * TALLEST as i32 + 96;

/// Rings from the bottom, each as its seat from 1: of one seat, of all in turn, a cap on others, or any.
fn rings(seats: u8, choices: &mut Choices) -> String {
    let height = [1, 2, 3, 4, 5, 9, 28, TALLEST, TALLEST, TALLEST][choices.below(10)];
    let (kind, cap) = (choices.below(4), 1 + choices.below(height));
    let (first, seats) = (choices.below(usize::from(seats)), usize::from(seats));
    let seat = |i: usize, any: usize| match kind {
        0 => first,
        1 => (first + i) % seats,
        2 if i + cap >= height => first,
        _ => any,
    };
    let digit = |i| char::from(b'1' + seat(i, choices.below(seats)) as u8);
    (0..height).map(digit).collect()
}

/// Whose turn it is and what of it, for a seat counted from 1: `at` is a stack of its own that can capture.
fn turns(seat: u8, at: &str) -> [String; 9] {
    [
        format!("place p={seat}"),
        format!("move p={seat} must={at} acted=1"),
        format!("move p={seat} acted=1 rec=1"),
        format!("capture p={seat} atk={at} acted=1"),
        format!("chain p={seat} atk={at} acted=1"),
        format!("line p={seat} pend=1 acted=1 rec=1"),
        format!("line p={seat} acted=1"),
        format!("territory p={seat} acted=1 rec=1"),
        format!("forced p={seat}"),
    ]
}

/// A position full of stacks, markers and collapsed cells, as text; the seat to
/// move has a ring that can capture another.
fn constructed<T: Topology>(seats: u8, number: usize) -> (Options, String) {
    let mut choices = Choices::new(number as u64);
    let seat = 1 + (number % usize::from(seats)) as u8;
    let [attacker, target, landing] = [3, 4, 5].map(|x| {
        let x = if T::BOARD.is_hex() { x - 3 } else { x };
        T::cell(x, if T::BOARD.is_hex() { 0 } else { 3 }).unwrap()
    });
    let (mut stacks, mut markers, mut collapsed) = (Vec::new(), Vec::new(), Vec::new());
    let mut territory = [0; 4];
    let at = |cell: Cell| {
        let (x, y) = T::coordinates(cell);
        format!("{x},{y}")
    };
    for cell in 0..T::CELLS as Cell {
        let owner = choices.below(usize::from(seats));
        match choices.below(8) {
            _ if cell == attacker => stacks.push(format!("{}:{seat}", at(cell))),
            _ if cell == target => stacks.push(format!("{}:{}", at(cell), 1 + seat % seats)),
            _ if cell == landing => {}
            0..4 => stacks.push(format!("{}:{}", at(cell), rings(seats, &mut choices))),
            4 => markers.push(format!("{}:{}", at(cell), owner + 1)),
            5 => {
                collapsed.push(format!("{}:{}", at(cell), owner + 1));
                territory[owner] += 1;
            }
            _ => {}
        }
    }
    let all = turns(seat, &at(attacker));
    let mut text = all[number % all.len()].clone();
    let swap = seats == 2 && seat == 2 && text.starts_with("place");
    if swap {
        text.push_str(" swap=1");
    }
    for (owner, territory) in territory.iter().enumerate().take(usize::from(seats)) {
        // The seat to move has rings to place.
        let hand = match choices.below(3) {
            _ if owner + 1 == usize::from(seat) => i32::from(T::BOARD.supply()),
            0 => 0,
            1 => i32::from(T::BOARD.supply()),
            _ => -COUNTER_MAX,
        };
        let eliminated = [COUNTER_MAX, -COUNTER_MAX, 0, 1][choices.below(4)];
        text.push_str(&format!("|h{hand}e{eliminated}t{territory}"));
    }
    let (stacks, markers, collapsed) = (stacks.join(" "), markers.join(" "), collapsed.join(" "));
    let lps = ["f=1 m=1- x=1 n=65535", "f=2 m=1+2- x=2 n=3", "f=1 m=2+ x=0 n=0"][number % 3];
    text.push_str(&format!("|S {stacks}|M {markers}|C {collapsed}|L {lps}"));
    let victory = if number.is_multiple_of(2) { Victory::TurnEnd } else { Victory::EveryMove };
    (Options { swap, victory }, text)
}

#[test]
fn constructed_positions_are_expanded_bit_for_bit() {
    for config in Config::all() {
        // Every turn of every seat.
        let count = 9 * usize::from(config.seats);
        let architecture = Architecture::small(config.board);
        let (mut positions, mut legal) = (Positions::new(config.board), Vec::new());
        let (mut planes, mut globals) =
            (vec![0.0; count * config.board.cells() * CHANNELS], vec![0.0; count * GLOBALS]);
        let into =
            planes.chunks_exact_mut(config.board.cells() * CHANNELS).zip(globals.chunks_exact_mut(GLOBALS));
        for (number, (planes, globals)) in into.enumerate() {
            with_board!(config.board, T => {
                let (options, text) = constructed::<T>(config.seats, number);
                let state = State::<T>::parse(config.seats, options, &text)
                    .unwrap_or_else(|error| panic!("{config}, {number}: {error}"));
                state.legal(&mut legal);
                positions.push(&state, &legal);
                encode(&state, planes, globals);
            });
        }
        let most = |values: &[f32]| values.iter().copied().fold(0.0, f32::max);
        assert_eq!(most(&planes), TALLEST as f32 / 8.0, "{config}");
        assert!(most(&globals) > 70.0, "{config}: {}", most(&globals));
        assert!(positions.headers.iter().filter(|&&number| number == NONE_CELL).count() < 2 * count);
        under_schedules(|device| {
            let mut space = DeviceSpace::new(device, architecture, config.board, count, false).unwrap();
            space.load(device, &positions).unwrap();
            let got = f32s(&space.planes.read(device, planes.len()).unwrap());
            let differs = got.iter().zip(&planes).position(|(got, want)| got.to_bits() != want.to_bits());
            let place = differs.map(|i| (i / CHANNELS, i % CHANNELS, got[i], planes[i]));
            assert_eq!(place, None, "{config}, seed {}: cell, channel, found, expected", device.seed());
            assert_eq!(space.globals.read(device, globals.len()).unwrap(), globals, "{config}");
        });
    }
}
