//! The replay window, on random games.

use super::*;
use crate::store::record::{GameKind, Player};
use cluster_state::NodeId;

/// A random game. Its policies are even over the moves of the kind with the highest code, which is easy to
/// learn.
pub(crate) fn random_game(config: Config, seed: u64) -> GameRecord {
    with_board!(config.board, T => record::<T>(config, seed))
}

fn record<T: Topology>(config: Config, seed: u64) -> GameRecord {
    let swap = config.seats == 2;
    let mut choices = Choices::new(seed);
    let mut state = State::<T>::new(config.seats, Options { swap, ..Options::default() });
    let (mut legal, mut moves, mut decisions) = (Vec::new(), Vec::new(), Vec::new());
    while state.outcome().is_none() {
        state.legal(&mut legal);
        if legal.len() > 1 {
            let best = legal.iter().map(|mv| mv.kind()).max();
            let of_best = legal.iter().enumerate().filter(|(_, mv)| Some(mv.kind()) == best);
            let policy = of_best.map(|(i, _)| (i as u16, 100)).collect();
            decisions.push(Decision { ply: moves.len() as u32, policy });
        }
        let mv = legal[choices.below(legal.len())];
        moves.push(mv.code());
        state.apply(mv);
    }
    GameRecord {
        rules_version: RULES_VERSION,
        config: config.into(),
        swap,
        turn_end: false,
        seed,
        kind: GameKind::Selfplay,
        players: vec![Player::Random; usize::from(config.seats)],
        moves,
        decisions,
        winner_seat: state.outcome().map_or(0, |outcome| outcome.winner),
        node: NodeId(1),
        created_ms: 0,
        played: None,
    }
}

fn hex8() -> Config {
    "hex8_2p".parse().unwrap()
}

#[test]
fn the_newest_games_are_kept_once_each() {
    let mut window = ReplayWindow::new(hex8(), 2000);
    let games: Vec<GameRecord> = (0..100).map(|seed| random_game(hex8(), seed)).collect();
    for game in &games {
        assert_eq!(window.add(game), Ok(true));
        assert_eq!(window.add(game), Ok(false));
        assert!(window.training() + window.validation() <= 2000);
    }
    let newest = games.iter().rev().scan(0, |sum, game| {
        *sum += game.decisions.len();
        (*sum <= 2000).then_some(game)
    });
    let newest: Vec<&GameRecord> = newest.collect();
    assert_eq!(window.games(), newest.len());
    assert!(window.training_added() > 4000);
    let positions: usize = newest.iter().map(|game| game.decisions.len()).sum();
    assert_eq!(window.training() + window.validation(), positions);
    assert_eq!(window.add(&games[0]), Ok(true), "a game that was dropped may come back");
}

#[test]
fn about_one_game_in_twenty_is_set_aside() {
    let set_aside = (0..20_000u32).filter(|i| is_validation(&Hash::of(&i.to_le_bytes()))).count();
    assert!((850..1150).contains(&set_aside), "{set_aside}");
}

#[test]
fn foreign_and_false_games_are_refused() {
    let game = random_game(hex8(), 1);
    let mut window = ReplayWindow::new(hex8(), 1000);
    let mut check = |change: &dyn Fn(&mut GameRecord), expected: WindowError| {
        let mut other = game.clone();
        change(&mut other);
        assert_eq!(window.add(&other), Err(expected));
        assert_eq!((window.games(), window.training(), window.validation()), (0, 0, 0));
    };
    check(&|game| game.rules_version += 1, WindowError::RulesVersion { found: RULES_VERSION + 1 });
    let found = "hex8_3p".to_owned();
    check(&|game| game.config = "hex8_3p".into(), WindowError::Config { found, expected: hex8() });
    check(&|game| game.moves[2] = u32::MAX, WindowError::IllegalMove { ply: 2 });
    let ply = game.moves.len();
    check(&|game| game.moves.push(game.moves[0]), WindowError::IllegalMove { ply });
    let shorter = |game: &mut GameRecord| {
        game.moves.truncate(game.moves.len() - 1);
        let end = game.moves.len();
        game.decisions.retain(|decision| (decision.ply as usize) < end);
    };
    check(&shorter, WindowError::Winner);
    check(&|game| game.winner_seat ^= 1, WindowError::Winner);
    check(&|game| game.decisions[1].policy = vec![(u16::MAX, 1)], WindowError::Decision { index: 1 });
    check(&|game| game.decisions[1].policy = vec![(1, 1), (0, 1)], WindowError::Decision { index: 1 });
    let last = game.decisions.len() - 1;
    check(&|game| game.decisions[last].ply = u32::MAX, WindowError::Decision { index: last });
}

#[test]
fn positions_are_those_of_the_game_and_turn_with_their_policies() {
    for key in ["hex8_2p", "square8_3p", "hex8_4p", "square19_2p"] {
        let config: Config = key.parse().unwrap();
        with_board!(config.board, T => check_positions::<T>(config));
    }
}

fn check_positions<T: Topology>(config: Config) {
    let record = random_game(config, 5);
    let game = WindowGame::<T>::replay(config.seats, &record).unwrap();
    let mut state = State::<T>::new(config.seats, Options { swap: record.swap, ..Options::default() });
    let (mut split, mut turned, mut kept) = (BoardWindow::<T>::default(), 0, 0);
    for (ply, &code) in record.moves.iter().enumerate() {
        assert_eq!(game.position(ply), state);
        let decision = record.decisions.iter().find(|decision| decision.ply as usize == ply);
        if let (Some(decision), 0) = (decision, ply % 3) {
            state.legal(&mut split.legal);
            let legal = split.legal.clone();
            split.policy = decision.policy.iter().map(|&(at, weight)| (at, f32::from(weight))).collect();
            let symmetry = Symmetry::nth::<T>(1 + ply % (Symmetry::count::<T>() - 1));
            let image = split.turn(state, symmetry);
            if image == symmetry.state(&state) {
                turned += 1;
                for (&(before, _), &(after, _)) in decision.policy.iter().zip(&split.policy) {
                    let expected = symmetry.mv(&state, legal[usize::from(before)]);
                    assert_eq!(split.legal[usize::from(after)], expected);
                }
                let mut now = Vec::new();
                image.legal(&mut now);
                assert_eq!(split.legal, now);
            } else {
                kept += 1;
                assert_eq!((image, &split.legal), (state, &legal));
            }
        }
        state.apply(Move::from_code(code).unwrap());
    }
    assert!(turned > 10 && kept * 10 <= turned, "{turned} turned, {kept} not");
}

#[test]
fn every_position_can_be_pushed() {
    let config: Config = "square8_2p".parse().unwrap();
    let mut window = ReplayWindow::new(config, 1500);
    for seed in 0..60 {
        window.add(&random_game(config, seed)).unwrap();
    }
    let (mut batch, mut choices) = (Batch::new(config.board), Choices::new(1));
    let (training, validation) = (window.training(), window.validation());
    assert!(training > 1000 && training + validation <= 1500);
    (0..training).for_each(|index| window.push_training(&mut batch, index, &mut choices));
    (0..validation).for_each(|index| window.push_validation(&mut batch, index));
    assert_eq!((batch.len(), batch.policies()), (training + validation, training + validation));
}

#[test]
fn the_winner_is_the_same_person_before_and_after_the_pie_rule() {
    use rules::Hex8;
    // Random players use the pie rule rarely, because it is one move among many.
    let records = (0..2000).map(|seed| random_game(hex8(), seed));
    let swaps = |record: &GameRecord| {
        record.moves.iter().position(|&code| Move::from_code(code).unwrap().kind() == MoveKind::Swap)
    };
    let mut swapped = 0;
    for (seed, record) in records.enumerate() {
        let Some(swap) = swaps(&record) else {
            if seed < 20 {
                let game = WindowGame::<Hex8>::replay(2, &record).unwrap();
                assert!((0..record.moves.len()).all(|ply| game.winner_at(ply) == record.winner_seat));
            }
            continue;
        };
        swapped += 1;
        let game = WindowGame::<Hex8>::replay(2, &record).unwrap();
        // Person `i` began behind seat `i`; after the swap, behind the other.
        let won = 1 - record.winner_seat;
        for ply in 0..record.moves.len() {
            let seat = if game.position(ply).swapped() { 1 - won } else { won };
            assert_eq!((game.winner_at(ply), ply > swap), (seat, seat != won));
        }
    }
    assert!(swapped > 0);
}
