//! Symmetries commute with listing moves and with playing them, except where the rules are not symmetric
//! (docs/rules.md, section 14):
//!
//! - Finding 3: on hex8 a claim links border markers by the eight square steps. Of the twelve symmetries only
//!   the four that keep the steps (1,1) and (-1,-1) among themselves commute with a claim's effect. Elsewhere
//!   only the collapsed border may differ.
//! - Findings 6 and 7: what `R1` collapses is the first long run in axis order. So its effect need not
//!   commute, and on square8 with two seats, where runs shorter than a line stop the search, neither does
//!   whether it is legal.
//! - Finding 8: `R2` takes the first cells in axis direction of the longest run, so neither legality nor
//!   effect need commute.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use rules::{Bits, Board, Cell, Config, Move, MoveKind, State, Symmetry, Topology, with_board};

fn legality_is_symmetric(config: Config, mv: Move) -> bool {
    match mv.kind() {
        MoveKind::RecoverStretch => false,
        MoveKind::RecoverLine => config != Config { board: Board::Square8, seats: 2 },
        _ => true,
    }
}

/// Whether the symmetry keeps the set of the eight square steps.
fn keeps_square_steps<T: Topology>(symmetry: &Symmetry) -> bool {
    let middle = T::cell(0, 0).unwrap();
    let diagonal = [(1, 1), (-1, -1)].map(|(x, y)| T::cell(x, y).unwrap());
    !T::HEX || (symmetry.cell(middle) == middle && diagonal.contains(&symmetry.cell(diagonal[0])))
}

fn sorted(config: Config, moves: impl Iterator<Item = Move>) -> Vec<Move> {
    let mut moves: Vec<Move> = moves.filter(|&mv| legality_is_symmetric(config, mv)).collect();
    moves.sort();
    moves
}

/// The seat that a cell is nothing but a marker or territory of.
fn border<T: Topology>(state: &State<T>, cell: Cell) -> bool {
    state.marker(cell).is_some() || state.collapsed(cell).is_some()
}

fn check_effect<T: Topology>(state: &State<T>, image: &State<T>, symmetry: &Symmetry, mv: Move) {
    let (mut played, mut mirrored) = (*state, *image);
    played.apply(mv);
    mirrored.apply(symmetry.mv(state, mv));
    let expected = symmetry.state(&played);
    let exempt = match mv.kind() {
        MoveKind::RecoverLine | MoveKind::RecoverStretch => return,
        MoveKind::Territory => T::BOARD == Board::Hex8 && !keeps_square_steps::<T>(symmetry),
        _ => false,
    };
    if !exempt {
        assert_eq!(mirrored, expected, "{} in {state}", state.move_text(mv));
        return;
    }
    let claimed = symmetry.bits(state.region(mv));
    for cell in 0..T::CELLS as Cell {
        assert_eq!(mirrored.stack(cell), expected.stack(cell));
        let same = mirrored.marker(cell) == expected.marker(cell)
            && mirrored.collapsed(cell) == expected.collapsed(cell);
        let linked = !claimed.get(cell) && image.marker(cell).is_some();
        assert!(same || (linked && border(&mirrored, cell) && border(&expected, cell)));
    }
}

#[test]
fn symmetries_commute_with_legal_moves() {
    let mut seen = [0u32; 27];
    for config in Config::all() {
        with_board!(config.board, T => {
            let symmetries = Symmetry::all::<T>();
            assert_eq!(symmetries.len(), Symmetry::count::<T>());
            let small = T::CELLS < 100;
            let (mut legal, mut turn) = (Vec::new(), 0usize);
            support::walk::<T>(config.seats, if small { 40 } else { 3 }, |state, moves| {
                turn += 1;
                let symmetry = symmetries[turn % symmetries.len()];
                let image = symmetry.state(state);
                image.legal(&mut legal);
                let expected = sorted(config, moves.iter().map(|&mv| symmetry.mv(state, mv)));
                assert_eq!(sorted(config, legal.iter().copied()), expected, "{state}");
                for &mv in moves.iter().step_by(if small { 3 } else { 40 }) {
                    if legality_is_symmetric(config, mv) {
                        seen[mv.kind() as usize] += 1;
                        check_effect(state, &image, &symmetry, mv);
                    }
                }
            });
        });
    }
    let unseen: Vec<MoveKind> = MoveKind::ALL
        .into_iter()
        .filter(|&kind| kind != MoveKind::RecoverStretch && seen[kind as usize] == 0)
        .collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[test]
fn the_exceptions_are_real() {
    // Finding 3, in both orientations: the marker on 2,1 is a square step from 1,0, that on 2,-1 is a hex
    // step.
    let options = rules::Options::default();
    let text = "territory p=1 acted=1|h9e0t0|h9e0t0|S -4,4:1 4,-4:2|M -1,0:1 -1,1:1 0,-1:1 0,1:1 1,-1:1 1,0:1 2,1:2|C |L f=1 m=1+ x=0 n=0";
    let state = State::<rules::Hex8>::parse(2, options, text).unwrap();
    let mv = state.parse_move("T:0,0").unwrap();
    let differing = Symmetry::all::<rules::Hex8>()
        .into_iter()
        .filter(|symmetry| {
            let (mut played, mut mirrored) = (state, symmetry.state(&state));
            mirrored.apply(symmetry.mv(&state, mv));
            played.apply(mv);
            symmetry.state(&played) != mirrored
        })
        .count();
    assert_eq!(differing, 8);
}
