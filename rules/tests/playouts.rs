//! What holds at every step of every game, checked on random games of all configurations.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

mod support;

use rules::{Bits, Cell, Config, Move, MoveKind, Phase, State, Topology, with_board};

/// Games from the empty board and from constructed positions, each.
fn games(config: Config) -> usize {
    if config.board.cells() < 100 { 30 } else { 2 }
}

/// Counters and sets agree with what lies on the cells.
fn check_counters<T: Topology>(state: &State<T>) {
    let mut on_board = [0; 4];
    let mut territory = [0; 4];
    for cell in 0..T::CELLS as Cell {
        let stack = state.stack(cell);
        let things = [!stack.is_empty(), state.marker(cell).is_some(), state.collapsed(cell).is_some()];
        assert!(things.into_iter().filter(|&there| there).count() <= 1, "{state}");
        assert_eq!(state.occupied_bits().get(cell), !stack.is_empty());
        stack.rings().for_each(|seat| on_board[usize::from(seat)] += 1);
        if let Some(seat) = state.collapsed(cell) {
            territory[usize::from(seat)] += 1;
        }
        for seat in 0..4 {
            assert_eq!(state.controlled_bits(seat).get(cell), stack.top() == Some(seat));
        }
    }
    for seat in 0..4u8 {
        assert_eq!(state.on_board(seat), on_board[usize::from(seat)]);
        assert_eq!(state.territory(seat), territory[usize::from(seat)]);
    }
}

/// All rings: in hand, on the board, eliminated. Read from the text, where constructed positions, which have
/// too many on the board, have counters below zero.
fn rings<T: Topology>(state: &State<T>) -> i32 {
    let text = state.to_string();
    let counters = text.split('|').filter_map(|section| section.strip_prefix('h')).map(|section| {
        let (hand, rest) = section.split_once('e').unwrap();
        let (eliminated, _) = rest.split_once('t').unwrap();
        hand.parse::<i32>().unwrap() + eliminated.parse::<i32>().unwrap()
    });
    counters.sum::<i32>() + (0..4).map(|seat| i32::from(state.on_board(seat))).sum::<i32>()
}

/// Markers, collapsed cells and eliminated rings: what makes games finite.
fn measure<T: Topology>(state: &State<T>) -> u32 {
    let board: u32 = (0..4).map(|s| state.marker_bits(s).count() + state.collapsed_bits(s).count()).sum();
    board + (0..4).map(|s| u32::from(state.eliminated(s))).sum::<u32>()
}

fn raises(kind: MoveKind) -> bool {
    matches!(
        kind,
        MoveKind::Move
            | MoveKind::Capture
            | MoveKind::Chain
            | MoveKind::RecoverLine
            | MoveKind::RecoverFallback
            | MoveKind::RecoverStrike
            | MoveKind::PayLine
            | MoveKind::PayTerritory
            | MoveKind::PayRecovery
            | MoveKind::Forced
    )
}

#[test]
fn rings_are_conserved_counters_agree_and_games_end() {
    for config in Config::all() {
        with_board!(config.board, T => {
            let mut total = 0;
            support::walk::<T>(config.seats, games(config), |state, legal| {
                if state.ply() == 0 {
                    total = rings(state);
                }
                let text = state.to_string();
                assert_eq!(rings(state), total, "{text}");
                check_counters(state);
                assert!(!legal.is_empty(), "{text}");
                for &mv in legal.iter().step_by(7) {
                    let mut next = *state;
                    next.apply(mv);
                    let (before, after) = (measure(state), measure(&next));
                    assert!(after >= before, "{text} {}", state.move_text(mv));
                    if raises(mv.kind()) && !text.contains("e-") {
                        assert!(after > before, "{text} {}", state.move_text(mv));
                    }
                }
            });
        });
    }
}

#[test]
fn positions_and_moves_are_read_back() {
    for config in Config::all() {
        with_board!(config.board, T => {
            let stride = if T::CELLS < 100 { 1 } else { 9 };
            support::walk::<T>(config.seats, games(config), |state, legal| {
                if !state.ply().is_multiple_of(stride) {
                    return;
                }
                let text = state.to_string();
                assert_eq!(State::parse(config.seats, state.options(), &text), Ok(*state));
                let mut sorted = legal.to_vec();
                sorted.sort();
                sorted.dedup();
                assert_eq!(sorted.len(), legal.len(), "{text}");
                for &mv in legal {
                    assert_eq!(Move::from_code(mv.code()), Some(mv));
                    let name = state.move_text(mv);
                    assert_eq!(state.parse_move(&name), Ok(mv), "{name} in {text}");
                }
            });
        });
    }
}

#[test]
fn finished_games_have_ranks_and_are_read_back() {
    for config in Config::all() {
        with_board!(config.board, T => {
            for seed in 0..games(config) as u64 {
                let start = State::<T>::new(config.seats, rules::Options::default());
                let mut choices = rules::playout::Choices::new(seed);
                let end = rules::playout::play(start, &mut choices, &mut Vec::new(), |_, _| {});
                let outcome = end.outcome().unwrap();
                assert_eq!(end.phase(), Phase::Over);
                let text = end.to_string();
                assert_eq!(State::parse(config.seats, end.options(), &text), Ok(end), "{text}");
                let mut legal = vec![];
                end.legal(&mut legal);
                assert!(legal.is_empty());
                let (present, absent) = outcome.ranks.split_at(usize::from(config.seats));
                assert!(absent.iter().all(|&rank| rank == 0));
                assert_eq!(present[usize::from(outcome.winner)], 1);
                // Ties share: a rank is one more than the number of better seats.
                for &rank in present {
                    assert_eq!(usize::from(rank), 1 + present.iter().filter(|&&other| other < rank).count());
                }
                assert_eq!(present.iter().filter(|&&rank| rank == 1).count(), 1);
            }
        });
    }
}

#[test]
fn an_illegal_move_is_refused_and_changes_nothing() {
    let mut state = State::<rules::Hex8>::new(2, rules::Options::default());
    let before = state;
    for text in ["M:0,0>0,1", "SP", "NL", "F:0,0", "L:0,0-0,3"] {
        let mv = state.parse_move(text).unwrap();
        let error = state.try_apply(mv).unwrap_err();
        assert_eq!(error.to_string(), format!("illegal move {text} in phase place of seat 1"));
        assert_eq!(state, before);
    }
    let mv = state.parse_move("P:0,0*3").unwrap();
    assert_eq!(state.try_apply(mv), Ok(()));
    assert_eq!(state.hand(0), 15);
}
