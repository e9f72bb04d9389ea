//! A text from anywhere is an error or a playable position, never a panic.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use proptest::prelude::*;
use rules::playout::{Choices, play};
use rules::{
    Board, Config, Hex8, Hexagonal, Move, Options, Square8, Square19, State, Topology, Victory, with_board,
};

/// Plays on a little from whatever was accepted.
fn survives<T: Topology>(seats: u8, options: Options, text: &str, seed: u64) {
    let Ok(state) = State::<T>::parse(seats, options, text) else {
        return;
    };
    assert_eq!(state.to_string(), text);
    let end = play(state, &mut Choices::new(seed), &mut Vec::new(), |state, legal| {
        assert!(!legal.is_empty(), "{state}");
        for &mv in legal.iter().step_by(11) {
            assert_eq!(state.parse_move(&state.move_text(mv)), Ok(mv));
        }
    });
    let printed = end.to_string();
    assert_eq!(State::parse(seats, options, &printed), Ok(end), "{printed}");
}

fn everywhere(config: Config, turn_end: bool, text: &str, seed: u64) {
    let victory = if turn_end { Victory::TurnEnd } else { Victory::EveryMove };
    let options = Options { swap: seed.is_multiple_of(2), victory };
    with_board!(config.board, T => survives::<T>(config.seats, options, text, seed));
}

/// Well-formed sections with arbitrary contents.
fn position() -> impl Strategy<Value = String> {
    let phase = prop::sample::select(vec![
        "place",
        "move",
        "capture",
        "chain",
        "line",
        "territory",
        "forced",
        "over",
    ]);
    let flag = prop::sample::select(vec![
        "must=0,0", "must=1,2", "atk=0,0", "atk=1,1", "pend=1", "acted=1", "rec=1", "swap=1", "acted=0",
        "x=1",
    ]);
    let flags = prop::collection::vec(flag, 0..3);
    let counters = prop::collection::vec((-3i32..30, -3i32..40, 0u32..4), 2..=4);
    let cell = || (-4i32..5, -4i32..5);
    let stacks = prop::collection::btree_map(cell(), "[1-4]{1,5}", 0..8);
    let marks = || prop::collection::btree_map(cell(), 1u8..5, 0..12);
    let lps = (0u8..5, "([1-4][+-]){0,2}", 0u8..5, 0u16..5);
    (phase, 1u8..5, flags, counters, stacks, marks(), marks(), lps).prop_map(
        |(phase, seat, flags, counters, stacks, markers, collapsed, (f, m, x, n))| {
            let mut text = format!("{phase} p={seat}");
            if phase == "over" {
                text = format!("over w={seat} r=territory_control");
            }
            flags.iter().for_each(|flag| text += &format!(" {flag}"));
            for (seat, (h, e, _)) in counters.iter().enumerate() {
                let owned = collapsed.values().filter(|&&owner| usize::from(owner) == seat + 1).count();
                text += &format!("|h{h}e{e}t{owned}");
            }
            let list = |items: Vec<String>| items.join(" ");
            text +=
                &format!("|S {}", list(stacks.iter().map(|((x, y), r)| format!("{x},{y}:{r}")).collect()));
            for owned in [&markers, &collapsed] {
                let free = owned.iter().filter(|(cell, _)| !stacks.contains_key(cell));
                let title = if std::ptr::eq(owned, &markers) { 'M' } else { 'C' };
                text +=
                    &format!("|{title} {}", list(free.map(|((x, y), o)| format!("{x},{y}:{o}")).collect()));
            }
            if phase != "over" {
                text += &format!("|L f={f} m={m} x={x} n={n}");
            }
            text
        },
    )
}

fn config() -> impl Strategy<Value = Config> {
    prop::sample::select(Config::all())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_as_a_position(text in ".{0,200}", config in config(), seed: u64) {
        everywhere(config, false, &text, seed);
    }

    #[test]
    fn almost_positions(text in position(), config in config(), turn_end: bool, seed: u64) {
        let seats = text.split('|').filter(|section| section.starts_with('h')).count() as u8;
        everywhere(Config { seats, ..config }, turn_end, &text, seed);
    }

    #[test]
    fn damaged_positions(pick in 0usize..40, at in 0usize..2_000, byte: u8, seed: u64) {
        let states = support::constructed::<Hex8>(3, 40);
        let mut bytes = states[pick].to_string().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        survives::<Hex8>(3, Options::default(), &String::from_utf8_lossy(&bytes), seed);
    }

    #[test]
    fn any_text_as_a_move(text in ".{0,60}", seed: u64) {
        read::<Square8>(&text, seed);
        read::<Hexagonal>(&text, seed);
    }

    #[test]
    fn almost_moves(text in "(P|M|C|K|R1|R2|RF|RS|L|O|EL|T|ET|ER|F):(-?[0-9]{1,2}[,;>@\\-=*\\[\\]]?){1,9}(all|\\])?", seed: u64) {
        read::<Hex8>(&text, seed);
        read::<Square19>(&text, seed);
    }

    #[test]
    fn any_code(kind in 0u32..32, fields in prop::array::uniform3(prop_oneof![0u32..512, Just(511), 0u32..5]), seed: u64) {
        let code = kind << 27 | fields[0] << 18 | fields[1] << 9 | fields[2];
        if let Some(mv) = Move::from_code(code) {
            prop_assert_eq!(mv.code(), code);
            for board in Board::ALL {
                with_board!(board, T => {
                    let mut state = somewhere::<T>(seed);
                    let text = state.move_text(mv);
                    let refused = state.try_apply(mv).is_err();
                    prop_assert!(!text.is_empty() && (refused || text != "?"));
                });
            }
        }
    }

    #[test]
    fn any_bytes_as_a_trace(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let refused = rules::trace::check(&bytes[..], |_| {}).is_err();
        prop_assert!(refused);
    }
}

/// A position some way into a game.
fn somewhere<T: Topology>(seed: u64) -> State<T> {
    let mut state = State::<T>::new(2, Options::default());
    let (mut choices, mut legal) = (Choices::new(seed), Vec::new());
    for _ in 0..seed % 40 {
        state.legal(&mut legal);
        if legal.is_empty() {
            break;
        }
        state.apply(legal[choices.below(legal.len())]);
    }
    state
}

/// A move read somewhere in a game is printed as it was, and refused or played.
fn read<T: Topology>(text: &str, seed: u64) {
    let mut state = somewhere::<T>(seed);
    if let Ok(mv) = state.parse_move(text) {
        assert_eq!(state.move_text(mv), text);
        let _: Result<(), rules::IllegalMove> = state.try_apply(mv);
    }
}

#[test]
fn what_cannot_be_is_explained() {
    let tall = "1".repeat(30);
    let base = "move p=1|h0e0t0|h0e0t0|S 0,0:1 1,1:2|M |C |L f=0 m= x=0 n=0";
    let table = [
        (base.replace("0,0:1", &format!("0,0:{tall}")), "a stack of 30 rings on 0,0, at most 29 can be held"),
        (base.replacen("h0", "h19", 1), "seat 1 has 19 rings in hand, its supply is 18 on square8"),
        (
            base.replacen("h0", "h99999", 1),
            "expected h<rings in hand>e<eliminated rings>t<territory>, found \"h99999e0t0\"",
        ),
        (base.replacen("e0", "e20000", 1), "inconsistent position: more eliminated rings than any game has"),
        (base.replacen("t0", "t1", 1), "inconsistent position: territory that is not the collapsed cells"),
        (base.replace("1,1:2", "1,1:3"), "expected seats as rings, found \"3\""),
        (
            base.replace("1,1:2", "8,1:2"),
            "expected a cell of the board, a colon and its contents, found \"8,1:2\"",
        ),
        (base.replace("|M ", "|M 0,0:2"), "inconsistent position: two things on one cell"),
        (base.replace("p=1", "p=3"), "expected p=<seat>, found \"p=3\""),
        (
            base.replace("move", "over").replace("|L f=0 m= x=0 n=0", ""),
            "expected over w=<seat> r=<reason>, found \"over p=1\"",
        ),
        (base.replace("move", "walk"), "expected a phase, found \"walk\""),
        (
            base.replace("p=1", "p=1 atk=0,0"),
            "inconsistent position: atk belongs to the phases capture and chain",
        ),
        (
            base.replace("p=1", "p=1 must=1,1 acted=1"),
            "inconsistent position: must or atk names no stack of the seat to move",
        ),
        (
            base.replace("move p=1", "chain p=1 atk=0,0 acted=1").replace("1,1:2", "7,7:2"),
            "inconsistent position: no legal move although the game goes on",
        ),
        (base.replace("m= ", "m=1+ "), "inconsistent position: seats seen in no round"),
        (base.replace("n=0", "n=00"), "not in canonical form: \"0\" would be printed as \"\""),
        (
            base.replace("0,0:1 1,1:2", "1,1:2 0,0:1"),
            "not in canonical form: \"1,1:2 0,0:1|M |C |L f=0 m= x=0\" would be printed as \"0,0:1 1,1:2|M |C |L f=0 m= x=0\"",
        ),
        (base.to_owned() + "|", "expected the end, found \"\""),
        ("x".repeat(70_000), "a position of 70000 bytes"),
    ];
    for (text, expected) in table {
        let error = State::<Square8>::parse(2, Options::default(), &text).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    assert!(State::<Square8>::parse(5, Options::default(), base).is_err());
    assert!(State::<Square8>::parse(2, Options::default(), base).is_ok());
    assert!("square20".parse::<Board>().unwrap_err().to_string().contains("square20"));
}
