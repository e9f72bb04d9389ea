//! What `rules` reads: positions, moves, codes and recorded games.

use crate::{bounds::bounded, seeds};
use rules::{Config, Move, Options, State, Topology, Victory, playout::Choices, trace::fnv1a, with_board};
use std::str::from_utf8;

const POSITION_BYTES_MAX: usize = 64 << 10;
const MOVE_BYTES_MAX: usize = 8 << 10;
const LINE_BYTES_MAX: usize = 64 << 20;

/// The game and its options from a number.
fn game(number: u8) -> (Config, Options) {
    let all = Config::all();
    let config = all[usize::from(number >> 2) % all.len()];
    let victory = if number & 1 == 0 { Victory::EveryMove } else { Victory::TurnEnd };
    (config, Options { swap: number & 2 != 0 && config.seats == 2, victory })
}

/// A position as text, after a byte that chooses the game.
pub(super) fn position(bytes: &[u8]) {
    let Some((&number, text)) = bytes.split_first() else { return };
    let (Ok(text), (config, options)) = (from_utf8(text), game(number)) else { return };
    with_board!(config.board, T => read_position::<T>(config.seats, options, text));
}

fn read_position<T: Topology>(seats: u8, options: Options, text: &str) {
    let read = || State::<T>::parse(seats, options, text);
    let Ok(mut state) = bounded(POSITION_BYTES_MAX, read) else { return };
    assert_eq!(state.to_string(), text, "a position has one text");
    let (mut choices, mut legal) = (Choices::new(fnv1a(text.as_bytes())), Vec::new());
    for _ in 0..4 {
        bounded(POSITION_BYTES_MAX, || state.legal(&mut legal));
        if legal.is_empty() {
            assert!(state.outcome().is_some(), "no legal move although the game goes on");
            break;
        }
        let mv = legal[choices.below(legal.len())];
        assert_eq!(state.parse_move(&state.move_text(mv)), Ok(mv));
        bounded(POSITION_BYTES_MAX, || state.apply(mv));
        let printed = state.to_string();
        let again = State::<T>::parse(seats, options, &printed);
        assert_eq!(again.as_ref().map(ToString::to_string), Ok(printed));
    }
}

pub(super) fn position_seeds() -> Vec<Vec<u8>> {
    let seed = |number: u8| {
        let (config, options) = game(number);
        let text = with_board!(config.board, T => {
            somewhere::<T>(config.seats, options, u64::from(number)).to_string()
        });
        [&[number], text.as_bytes()].concat()
    };
    (0..48).map(seed).collect()
}

/// A position some way into a random game.
fn somewhere<T: Topology>(seats: u8, options: Options, seed: u64) -> State<T> {
    let mut state = State::<T>::new(seats, options);
    let (mut choices, mut legal) = (Choices::new(seed), Vec::new());
    for _ in 0..seed % 64 {
        state.legal(&mut legal);
        if legal.is_empty() {
            break;
        }
        state.apply(legal[choices.below(legal.len())]);
    }
    state
}

/// A move as text and as a code, after two bytes that choose a position.
pub(super) fn mv(bytes: &[u8]) {
    let [number, seed, rest @ ..] = bytes else { return };
    let (config, options) = game(*number);
    with_board!(config.board, T => read_move(&somewhere::<T>(config.seats, options, u64::from(*seed)), rest));
}

fn read_move<T: Topology>(state: &State<T>, bytes: &[u8]) {
    if let Ok(text) = from_utf8(bytes)
        && let Ok(mv) = bounded(MOVE_BYTES_MAX, || state.parse_move(text))
    {
        assert_eq!(state.move_text(mv), text, "a move has one text");
        let _ = bounded(MOVE_BYTES_MAX, || state.clone().try_apply(mv));
    }
    if let Some(&code) = bytes.first_chunk()
        && let Some(mv) = Move::from_code(u32::from_le_bytes(code))
    {
        assert_eq!(mv.code().to_le_bytes(), code);
        let refused = bounded(MOVE_BYTES_MAX, || state.clone().try_apply(mv)).is_err();
        assert!(refused || state.parse_move(&state.move_text(mv)) == Ok(mv));
    }
}

pub(super) fn move_seeds() -> Vec<Vec<u8>> {
    let seed = |number: u8| {
        let (config, options) = game(number);
        let seed = number.wrapping_mul(7);
        let text = with_board!(config.board, T => {
            let state = somewhere::<T>(config.seats, options, u64::from(seed));
            let mut legal = Vec::new();
            state.legal(&mut legal);
            legal.last().map_or_else(|| "P:0,0*1".to_owned(), |mv| state.move_text(*mv))
        });
        [&[number, seed], text.as_bytes()].concat()
    };
    (0..96).map(seed).collect()
}

pub(super) fn trace(bytes: &[u8]) {
    let _ = bounded(LINE_BYTES_MAX, || rules::trace::check(bytes, |_| {}));
}

pub(super) fn trace_seeds() -> Vec<Vec<u8>> {
    let state = "move p=1|h0e0t0|h0e0t0|S 0,0:1 7,7:2|M |C |L f=0 m= x=0 n=0";
    let hash = format!("{:016x}", fnv1a(state.as_bytes()));
    let begin = r#"{"v":1,"board":"square8","players":2,"swap":false,"victory":"every_move","policy":"x",
        "seed":0,"init":"place p=1|h0e0t0|h0e0t0|S 0,0:1 7,7:2|M |C |L f=0 m= x=0 n=0","steps":["#;
    let verbose = format!(
        r#"{{"p":1,"ph":"place","n":1,"legal":["NP"],"lh":"09201c07b5b50533","m":"NP","state":"{state}","sh":"{hash}"}}"#
    );
    let compact = format!(r#"["NP",1,"09201c07b5b50533","{hash}"]"#);
    let end = r#"],"end":{"status":"truncated","steps":1}}"#;
    seeds::texts([verbose, compact].map(|step| format!("{begin}{step}{end}").replace('\n', "")))
}
