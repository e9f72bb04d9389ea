//! Matches between small and simple players.

use super::*;
use crate::search::Uniform;
use kernels::{Evaluation, Evaluator};
use rules::{MoveKind, State, Topology};
use wire::Hash;

fn settings(games: u32) -> ArenaSettings {
    let (kind, node, backend) = (GameKind::Match, NodeId(3), "test".to_owned());
    ArenaSettings { games, parallel: 8, simulations: 8, seed: 4, kind, node, backend }
}

fn model(name: &str, evaluator: impl AnyEvaluator + 'static) -> Contestant {
    Contestant::Model(ModelPlayer {
        hash: ModelId(Hash::of(name.as_bytes())),
        evaluator: Box::new(evaluator),
    })
}

fn play(key: &str, settings: ArenaSettings, mut first: Contestant, mut second: Contestant) -> Vec<GameSet> {
    let mut arena = Arena::new(key.parse().unwrap(), settings);
    let mut sets = Vec::new();
    while !arena.finished() {
        sets.extend(arena.step(&mut first, &mut second));
    }
    assert_eq!(arena.aborted(), 0);
    sets
}

fn strip(mut sets: Vec<GameSet>) -> Vec<GameSet> {
    sets.iter_mut().flat_map(|set| &mut set.records).for_each(|record| record.created_ms = 0);
    sets
}

/// Replays a record and returns the person who won.
fn winner(record: &GameRecord) -> usize {
    let config = record.config.game().unwrap();
    with_board!(config.board, T => {
        let mut state = State::<T>::new(config.seats, crate::learner::game::options(config));
        for &code in &record.moves {
            state.try_apply(Move::from_code(code).unwrap()).unwrap();
        }
        assert_eq!(state.outcome().unwrap().winner, record.winner_seat);
    });
    let seat = usize::from(record.winner_seat);
    if swaps(record) == 1 { 1 - seat } else { seat }
}

fn swaps(record: &GameRecord) -> usize {
    let moves = record.moves.iter().filter_map(|&code| Move::from_code(code));
    moves.filter(|mv| mv.kind() == MoveKind::Swap).count()
}

#[test]
fn sets_share_their_opening_and_rotate_the_first_player() {
    for (key, games, sets) in [("hex8_2p", 20, 10), ("hex8_3p", 8, 3), ("square8_4p", 4, 1)] {
        let played = play(key, settings(games), model("a", Uniform), Contestant::Random);
        assert_eq!(played.len(), sets);
        for set in played {
            let first = Player::Model(ModelId(Hash::of(b"a")));
            let mut wins = 0;
            for (seat, record) in set.records.iter().enumerate() {
                let persons = record.players.iter().enumerate();
                assert!(persons.into_iter().all(|(person, player)| (*player == first) == (person == seat)));
                assert_eq!(record.moves[..2], set.records[0].moves[..2]);
                assert_eq!(record.kind, GameKind::Match);
                wins += u32::from(winner(record) == seat);
            }
            assert_eq!(set.wins, wins);
        }
    }
}

#[test]
fn openings_differ_between_sets_and_follow_from_the_seed() {
    let run = |seed| {
        strip(play(
            "hex8_2p",
            ArenaSettings { seed, ..settings(20) },
            model("a", Uniform),
            Contestant::Heuristic,
        ))
    };
    let first = run(1);
    assert_eq!(first, run(1));
    assert_ne!(first, run(2));
    assert!(first.windows(2).all(|sets| sets[0].records[0].moves[..2] != sets[1].records[0].moves[..2]));
}

#[test]
fn the_number_of_parallel_games_changes_nothing() {
    let run = |parallel| {
        let settings = ArenaSettings { parallel, ..settings(12) };
        strip(play("hex8_2p", settings, model("a", Uniform), Contestant::Random))
    };
    assert_eq!(run(1), run(16));
}

#[test]
fn equal_players_share_every_set() {
    // Without noise the same player on both sides plays the same game twice, once from each seat.
    for set in play("hex8_2p", settings(20), Contestant::Heuristic, Contestant::Heuristic) {
        assert_eq!(set.wins, 1);
        assert_eq!(set.records[0].moves, set.records[1].moves);
    }
}

/// Uses the pie rule whenever it can.
struct Swapper;

impl<T: Topology> Evaluator<T> for Swapper {
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        let mut evaluations = Uniform.evaluate(queries);
        for (evaluation, query) in evaluations.iter_mut().zip(queries) {
            let swap = query.legal.iter().position(|mv| mv.kind() == MoveKind::Swap);
            swap.into_iter().for_each(|i| evaluation.logits[i] = 100.0);
        }
        evaluations
    }
}

#[test]
fn the_pie_rule_moves_people_and_their_wins() {
    let sets = play("hex8_2p", settings(120), model("swapper", Swapper), Contestant::Heuristic);
    let mut swapped = 0;
    for set in sets {
        let wins = set.records.iter().enumerate().filter(|(seat, record)| winner(record) == *seat);
        assert_eq!(set.wins, wins.count() as u32);
        swapped += set.records.iter().filter(|record| swaps(record) == 1).count();
    }
    assert!(swapped > 0);
}

struct Broken;

impl<T: Topology> Evaluator<T> for Broken {
    fn evaluate(&mut self, _: &[Query<'_, T>]) -> Vec<Evaluation> {
        Vec::new()
    }
}

#[test]
fn a_broken_evaluator_ends_the_match() {
    let mut arena = Arena::new("hex8_2p".parse().unwrap(), settings(400));
    let (mut first, mut second) = (model("broken", Broken), Contestant::Random);
    let mut steps = 0;
    while !arena.finished() {
        assert!(arena.step(&mut first, &mut second).is_empty());
        steps += 1;
        assert!(steps < 1_000);
    }
    assert!(arena.aborted() >= ABORTED_MAX);
}
