//! The findings of docs/rules.md on the positions given there, and other rules that the recorded games reach
//! rarely.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use rules::{
    Bits, Hex8, Hexagonal, MoveKind, Options, Phase, Reason, Square8, Square19, State, Topology, Victory,
};

fn state<T: Topology>(seats: u8, text: &str) -> State<T> {
    State::parse(seats, Options::default(), text).unwrap()
}

fn legal<T: Topology>(state: &State<T>) -> Vec<String> {
    let mut moves = Vec::new();
    state.legal(&mut moves);
    let mut texts: Vec<String> = moves.into_iter().map(|mv| state.move_text(mv)).collect();
    texts.sort();
    texts
}

fn play<T: Topology>(state: &State<T>, moves: &[&str]) -> State<T> {
    let mut state = *state;
    for text in moves {
        let mv = state.parse_move(text).unwrap();
        state.try_apply(mv).unwrap();
    }
    state
}

/// The section of a position that starts with a letter.
fn section<T: Topology>(state: &State<T>, letter: char) -> String {
    let text = state.to_string();
    text.split('|').find(|part| part.starts_with(letter) && part[1..].starts_with(' ')).unwrap()[2..]
        .to_owned()
}

#[test]
fn finding_1_lines_on_hex8_with_three_seats_need_four() {
    let three =
        "line p=1 acted=1|h9e0t0|h9e0t0|h9e0t0|S -4,4:1 -4,0:2|M 0,0:1 1,0:1 2,0:1|C |L f=1 m=1+ x=0 n=0";
    let three = three.replace("-4,4:1 -4,0:2", "-4,0:2 -4,4:1");
    assert_eq!(legal(&state::<Hex8>(3, &three)), ["NL"]);
    let four = state::<Hex8>(3, &three.replace("2,0:1", "2,0:1 3,0:1"));
    assert_eq!(legal(&four), ["O:0,0-3,0=0,0-2,0", "O:0,0-3,0=1,0-3,0", "O:0,0-3,0=all"]);
    let paying = play(&four, &["O:0,0-3,0=all"]);
    assert!(paying.payment_due());
    assert_eq!(legal(&paying), ["EL:-4,4"]);
    // Finding 12: a free collapse goes on by itself, a payment does not.
    assert_eq!(play(&four, &["O:0,0-3,0=1,0-3,0"]).phase(), Phase::Territory);
    assert_eq!(legal(&play(&paying, &["EL:-4,4"])), ["NL"]);
}

#[test]
fn findings_2_and_3_border_markers() {
    let text = "territory p=1 acted=1|h9e0t0|h9e0t0|S 7,0:1 7,7:2|M 0,1:1 1,0:1 2,1:2 3,2:1 4,3:2|C |L f=1 m=1+ x=0 n=0";
    let claimed = play(&state::<Square8>(2, text), &["T:0,0"]);
    assert_eq!(section(&claimed, 'C'), "0,0:1 0,1:1 1,0:1 2,1:1 3,2:1 4,3:1");
    let ring = "-1,0:1 -1,1:1 0,-1:1 0,1:1 1,-1:1 1,0:1 2,1:2 3,1:2";
    let text = format!("territory p=1 acted=1|h9e0t0|h9e0t0|S -4,4:1 4,-4:2|M {ring}|C |L f=1 m=1+ x=0 n=0");
    let claimed = play(&state::<Hex8>(2, &text), &["T:0,0"]);
    assert_eq!((claimed.territory(0), section(&claimed, 'M')), (9, String::new()));
    let claimed = play(&state::<Hexagonal>(2, &text), &["T:0,0"]);
    assert_eq!((claimed.territory(0), section(&claimed, 'M').as_str()), (7, "2,1:2 3,1:2"));
}

#[test]
fn finding_4_collapsed_walls_need_a_marker_somewhere() {
    let text = "territory p=1 acted=1|h9e0t0|h9e0t0|S 7,0:1 7,7:2|M |C 0,1:1 1,0:2|L f=1 m=1+ x=0 n=0";
    let text = text.replace("h9e0t0|h9e0t0", "h9e0t1|h9e0t1");
    assert_eq!(legal(&state::<Square8>(2, &text)), ["NT"]);
    let with_marker = text.replace("|M ", "|M 5,5:2");
    assert_eq!(legal(&state::<Square8>(2, &with_marker)), ["ST", "T:0,0"]);
    let with_stack = text.replace("S 7,0:1", "S 0,0:2 7,0:1");
    assert_eq!(legal(&state::<Square8>(2, &with_stack)), ["ST", "T:0,0"]);
}

#[test]
fn finding_5_the_open_board_can_be_a_region() {
    let text = "territory p=1 acted=1|h9e0t0|h9e0t0|S 0,0:1 6,6:2|M 0,1:1 1,0:1|C |L f=1 m=1+ x=0 n=0";
    let state = state::<Square8>(2, text);
    let moves = legal(&state);
    assert_eq!(moves.len(), 2);
    let mv = state.parse_move(&moves[1]).unwrap();
    assert_eq!(state.region(mv).count(), 61);
    let claimed = play(&state, &[&moves[1]]);
    assert_eq!((claimed.territory(0), claimed.outcome().unwrap().reason), (63, Reason::TerritoryControl));
}

#[test]
fn findings_6_to_8_recovery_lines() {
    // Two seats: three along E and four along S through 3,3: listed, then rejected; yet no fallback.
    let rings = "S 7,7:12";
    let markers = "1,3:1 2,2:1 2,3:1 3,4:1 3,5:1 3,6:1";
    let two = format!("move p=1|h0e0t0|h0e0t0|{rings}|M {markers}|C |L f=1 m=1- x=0 n=0");
    let moves = legal(&state::<Square8>(2, &two));
    assert!(!moves.contains(&"R1:2,2>3,3@7,7".to_owned()), "{moves:?}");
    assert!(moves.iter().all(|text| !text.starts_with("RF")), "{moves:?}");
    // Three seats: the run along E collapses.
    let three = two.replace("h0e0t0|h0e0t0", "h0e0t0|h0e0t0|h0e0t0");
    let slid = play(&state::<Square8>(3, &three), &["R1:2,2>3,3@7,7"]);
    assert_eq!(section(&slid, 'C'), "1,3:1 2,3:1 3,3:1");
    assert_eq!((section(&slid, 'S').as_str(), slid.eliminated(0)), ("7,7:2", 1));
    // The free slide names the start of the longest run, the run along E collapses.
    let free = play(&state::<Square8>(3, &three), &["R2:2,2>3,3[3,3;3,4;3,5]"]);
    assert_eq!((section(&free, 'C').as_str(), free.eliminated(0)), ("1,3:1 2,3:1 3,3:1", 0));
}

#[test]
fn finding_13_landing_may_win_on_the_spot_or_at_the_end_of_the_turn() {
    let text = "move p=1|h0e17t0|h1e0t0|S 0,0:1 7,6:2 7,7:1|M 0,3:2|C |L f=1 m=1+ x=0 n=0";
    let now = play(&state::<Square8>(2, text), &["M:0,0>0,3"]);
    assert_eq!(now.outcome().unwrap().reason, Reason::RingElimination);
    assert!(now.to_string().starts_with("over w=1 r=ring_elimination|h0e18t0|"));
    let options = Options { victory: Victory::TurnEnd, swap: false };
    let later = play(&State::<Square8>::parse(2, options, text).unwrap(), &["M:0,0>0,3", "NL"]);
    assert_eq!((later.outcome(), later.phase()), (None, Phase::Territory));
    assert_eq!(play(&later, &["NT"]).outcome().unwrap().winner, 0);
}

/// A board of single cells, no two of them neighbours, after seat 1 has given up the last stack. `loose` are
/// the cells besides 0,0 that are not collapsed.
fn stalemate(counters: &str, loose: &[(usize, usize)], markers: &str) -> State<Square8> {
    let seats = counters.matches('h').count() as u8;
    let cells = (0..64).map(|i| (i / 8, i % 8)).filter(|cell| *cell != (0, 0) && !loose.contains(cell));
    let mut owned = [0; 4];
    let mut collapsed = Vec::new();
    for (i, (x, y)) in cells.enumerate() {
        let seat = i % usize::from(seats);
        owned[seat] += 1;
        collapsed.push(format!("{x},{y}:{}", seat + 1));
    }
    let mut counters = counters.to_owned();
    for (seat, cells) in owned.iter().enumerate() {
        counters = counters.replace(&format!("T{}", seat + 1), &cells.to_string());
    }
    let text =
        format!("forced p=1|{counters}|S 0,0:1|M {markers}|C {}|L f=1 m=1- x=0 n=0", collapsed.join(" "));
    play(&state::<Square8>(seats, &text), &["F:0,0"])
}

#[test]
fn findings_14_and_15_stalemates_and_final_ranks() {
    // Territory is shared; then eliminated rings and hands, then markers, then the last move decides.
    let end = stalemate("h0e3tT1|h2e4tT2", &[(2, 1)], "2,1:1");
    let outcome = end.outcome().unwrap();
    assert_eq!((outcome.winner, outcome.reason, outcome.ranks), (1, Reason::RingElimination, [2, 1, 0, 0]));
    let outcome = stalemate("h0e3tT1|h0e4tT2", &[(2, 1)], "2,1:2").outcome().unwrap();
    assert_eq!((outcome.winner, outcome.reason), (1, Reason::LastPlayerStanding));
    let outcome = stalemate("h0e3tT1|h0e4tT2", &[(2, 1)], "").outcome().unwrap();
    assert_eq!((outcome.winner, outcome.reason), (0, Reason::LastPlayerStanding));
    // Three seats: the most rings are shared, so markers decide. The losers' ranks differ, or are shared.
    let loose = [(2, 1), (4, 2), (6, 3)];
    let outcome = stalemate("h0e2tT1|h1e4tT2|h1e4tT3", &loose, "2,1:1 4,2:1 6,3:3").outcome().unwrap();
    assert_eq!((outcome.winner, outcome.ranks), (0, [1, 3, 2, 0]));
    let outcome = stalemate("h0e2tT1|h1e4tT2|h1e4tT3", &loose, "2,1:1").outcome().unwrap();
    assert_eq!((outcome.winner, outcome.ranks), (0, [1, 2, 2, 0]));
    // Territory 21/21/20 has no single largest value. The most rings of all seats win, of whatever territory.
    let outcome = stalemate("h0e2tT1|h0e3tT2|h0e9tT3", &[(2, 1)], "").outcome().unwrap();
    assert_eq!((outcome.winner, outcome.reason, outcome.ranks), (2, Reason::RingElimination, [2, 2, 1, 0]));
}

#[test]
fn finding_18_counts_need_a_cell_that_is_legal_for_one() {
    // The corner is boxed in by stacks of height two and cap two.
    let text = "place p=1|h9e0t0|h9e0t0|S 0,1:22 1,0:22 1,1:22|M |C |L f=1 m= x=0 n=0";
    let moves = legal(&state::<Square8>(2, text));
    assert!(!moves.iter().any(|text| text.starts_with("P:0,0")), "{moves:?}");
    assert!(moves.contains(&"P:2,2*3".to_owned()) && moves.contains(&"P:0,1*1".to_owned()));
    assert!(!moves.contains(&"P:0,1*2".to_owned()) && !moves.contains(&"SP".to_owned()));
}

#[test]
fn finding_20_forced_elimination() {
    // A stack too tall for the board cannot move.
    let text = "place p=1|h0e0t0|h0e0t0|S 3,3:11111111 5,5:2|M |C |L f=1 m= x=0 n=0";
    let forced = play(&state::<Square8>(2, text), &["NP", "NM", "NL"]);
    assert_eq!((forced.phase(), legal(&forced)), (Phase::Forced, vec!["F:3,3".to_owned()]));
    let over = play(&forced, &["F:3,3"]);
    assert_eq!((over.eliminated(0), over.outcome().unwrap().reason), (8, Reason::LastPlayerStanding));
    // Walled in instead, the seat might claim the rest of the board; declining leads to the same.
    let text = "place p=1|h0e0t0|h0e0t3|S 0,0:11 5,5:2|M |C 0,1:2 1,0:2 1,1:2|L f=1 m= x=0 n=0";
    let open = play(&state::<Square8>(2, text), &["NP", "NM", "NL"]);
    assert_eq!((open.phase(), legal(&open).len()), (Phase::Territory, 2));
    assert_eq!(play(&open, &["ST"]).phase(), Phase::Forced);
}

#[test]
fn findings_22_and_23_landing_on_markers() {
    let text = "move p=1|h9e0t0|h9e0t0|S 0,0:1 2,0:2|M 3,0:1|C |L f=1 m=1+ x=0 n=0";
    let lost = play(&state::<Square8>(2, text), &["C:0,0>2,0>3,0"]);
    assert_eq!(section(&lost, 'S'), "3,0:2");
    let text = "move p=1|h9e0t0|h9e0t0|S 0,0:11 7,7:2|M 0,2:1|C |L f=1 m=1+ x=0 n=0";
    let landed = play(&state::<Square8>(2, text), &["M:0,0>0,2"]);
    assert_eq!((section(&landed, 'S').as_str(), section(&landed, 'C').as_str()), ("0,2:1 7,7:2", ""));
    assert_eq!(landed.eliminated(0), 1);
}

#[test]
fn findings_24_and_25_strikes() {
    let text = "move p=1|h0e0t0|h9e0t0|S 4,4:12 6,2:122|M 3,3:1|C |L f=1 m=1- x=0 n=0";
    let position = state::<Square8>(2, text);
    let both = play(&position, &["RS:3,3>4,4@4,4"]);
    assert_eq!((section(&both, 'S').as_str(), both.eliminated(0)), ("6,2:122", 2));
    let kept = play(&position, &["RS:3,3>4,4@6,2"]);
    assert_eq!(section(&kept, 'S'), "4,4:1 6,2:22");
    assert_eq!(kept.stack(Square8::cell(4, 4).unwrap()).top(), Some(0));
    assert!(kept.recovery_turn() && kept.acted());
}

#[test]
fn finding_26_the_pie_rule_exchanges_people_only() {
    let options = Options { swap: true, ..Options::default() };
    let opened = play(&State::<Hex8>::new(2, options), &["P:0,0*1", "M:0,0>1,0", "NL", "NT"]);
    assert!(opened.swap_available() && opened.to_string().starts_with("place p=2 swap=1|"));
    let swapped = play(&opened, &["SW"]);
    assert!(swapped.swapped() && !swapped.swap_available() && swapped.seat() == 1);
    assert!(!legal(&swapped).contains(&"SW".to_owned()));
    assert_eq!(swapped.to_string(), opened.to_string().replace(" swap=1", ""));
    let declined = play(&opened, &["P:0,3*1"]);
    assert!(!declined.swapped() && !declined.swap_available());
    // Also from the notation: before seat 2's first step it is still to come, later it is not.
    let first = "line p=1 acted=1|h17e0t0|h18e0t0|S 1,0:1|M 0,0:1|C |L f=0 m= x=0 n=0";
    let first = State::<Hex8>::parse(2, options, first).unwrap();
    assert!(play(&first, &["NL", "NT"]).swap_available());
}

#[test]
fn last_player_standing_takes_three_rounds() {
    // Seat 2's stack is too tall to move and its hand empty; seat 1 acts every turn.
    let text = "place p=2|h9e0t0|h0e0t0|S 0,0:1 3,3:12121212|M |C |L f=2 m=2- x=1 n=2";
    let mut position = play(&state::<Square8>(2, text), &["NP", "NM", "NL", "F:3,3"]);
    assert_eq!((position.seat(), position.lps().rounds, position.outcome()), (0, 2, None));
    position = play(&position, &["P:0,4*1", "M:0,4>0,5", "NL", "NT"]);
    // Seat 2 has only buried rings left: its turn completes the third round, seat 1's next turn wins.
    assert_eq!((position.seat(), position.lps().rounds), (1, 3));
    position = play(&position, &["NP"]);
    let mut kinds = Vec::new();
    position.legal(&mut kinds);
    assert_eq!(kinds[0].kind(), MoveKind::NoMovement);
    position = play(&position, &["NM", "NL", "NT"]);
    let outcome = position.outcome().unwrap();
    assert_eq!((outcome.winner, outcome.reason), (0, Reason::LastPlayerStanding));
}

#[test]
fn stacks_above_what_is_held_are_refused_on_every_board() {
    let text = format!("place p=1|h0e0t0|h0e0t0|S 0,0:{} 1,1:2|M |C |L f=0 m= x=0 n=0", "12".repeat(15));
    let error = State::<Square19>::parse(2, Options::default(), &text).unwrap_err();
    assert_eq!(error.to_string(), "a stack of 30 rings on 0,0, at most 29 can be held");
    let held = text.replacen("12", "1", 1);
    assert!(State::<Square19>::parse(2, Options::default(), &held).is_ok());
}
