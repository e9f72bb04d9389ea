//! Matches that were played as they say, and matches that were not.

use super::*;
use crate::{
    learner::arena::{Arena, ArenaSettings, Contestant, ModelPlayer},
    search::Uniform,
    store::GameKind,
};
use cluster_state::NodeId;
use kernels::{Evaluation, Evaluator};
use rules::Topology;
use wire::Hash;

const BACKEND: &str = "a backend";

/// Plays as the heuristic does.
struct Advised;

impl<T: Topology> Evaluator<T> for Advised {
    fn evaluate(&mut self, queries: &[Query<'_, T>]) -> Vec<Evaluation> {
        let mut evaluations = Uniform.evaluate(queries);
        for (evaluation, query) in evaluations.iter_mut().zip(queries) {
            evaluation.logits[heuristic::choose(query.state, query.legal)] = 9.0;
        }
        evaluations
    }
}

fn id(name: &str) -> ModelId {
    ModelId(Hash::of(name.as_bytes()))
}

fn model(name: &str, evaluator: impl AnyEvaluator + 'static) -> Contestant {
    Contestant::Model(ModelPlayer { hash: id(name), evaluator: Box::new(evaluator) })
}

fn play(key: &str, mut first: Contestant, mut second: Contestant) -> Vec<GameRecord> {
    let (kind, node, backend) = (GameKind::Match, NodeId(3), BACKEND.to_owned());
    let settings = ArenaSettings { games: 12, parallel: 5, simulations: 8, seed: 4, kind, node, backend };
    let mut arena = Arena::new(key.parse().unwrap(), settings);
    let mut records = Vec::new();
    while !arena.finished() {
        records.extend(arena.step(&mut first, &mut second).into_iter().flat_map(|set| set.records));
    }
    records
}

/// What a node finds that has `strong` and `weak`, and computes as this name says.
fn found(records: &[GameRecord], backend: &str) -> Option<Untrue> {
    let (mut strong, mut weak) = (Advised, Uniform);
    let mut rivals = [
        Rival { model: id("strong"), evaluator: &mut strong },
        Rival { model: id("weak"), evaluator: &mut weak },
    ];
    let games: Vec<_> = records.iter().collect();
    let config = records[0].config.game().unwrap();
    forged(&games, config, &mut rivals, backend, &mut Choices::new(7)).unwrap()
}

#[test]
fn games_that_were_played_so_are_true() {
    for key in ["hex8_2p", "hex8_3p", "square8_4p"] {
        let opponents = [Contestant::Random, Contestant::Heuristic, model("weak", Uniform)];
        let games: Vec<_> =
            opponents.into_iter().flat_map(|other| play(key, model("strong", Advised), other)).collect();
        assert!(games.iter().map(|game| game.decisions.len()).sum::<usize>() > 2 * DECISIONS);
        assert_eq!([found(&games, BACKEND), found(&games, "another")], [None, None], "{key}");
    }
}

#[test]
fn games_in_which_another_network_plays_are_forged() {
    // The champion's moves are weak, or the candidate's are better than its own.
    for (first, second) in [
        (model("strong", Advised), model("weak", Advised)),
        (model("strong", Uniform), model("weak", Uniform)),
    ] {
        let games = play("hex8_2p", first, second);
        assert!(found(&games, BACKEND).is_some());
        assert!(found(&games, "another").is_some(), "also where rounding may explain some moves");
    }
}

#[test]
fn moves_that_no_model_chose_follow_from_the_seed() {
    let random = play("hex8_2p", model("strong", Advised), Contestant::Random);
    let heuristic = play("hex8_2p", model("strong", Advised), Contestant::Heuristic);
    let changed = |games: &[GameRecord], change: &dyn Fn(&mut GameRecord)| {
        let mut games = games.to_vec();
        games.iter_mut().for_each(change);
        found(&games, BACKEND).map(|untrue| untrue.what)
    };
    let named = |from: Player, to: Player| {
        move |game: &mut GameRecord| {
            game.players.iter_mut().filter(|it| **it == from).for_each(|it| *it = to);
        }
    };
    let another = Some("that player plays another move");
    assert_eq!(changed(&random, &named(Player::Random, Player::Heuristic)), another);
    assert_eq!(changed(&heuristic, &named(Player::Heuristic, Player::Random)), another);
    let stranger = named(Player::Model(id("strong")), Player::Model(id("a third")));
    assert_eq!(changed(&random, &stranger), Some("another model plays"));
    let hidden = changed(&random, &|game| game.decisions.clear());
    assert_eq!(hidden, Some("the decision is missing"));
    let unsaid = changed(&random, &|game| game.played = None);
    assert_eq!(unsaid, Some("it does not say how it was played"));
    assert!(changed(&random, &|game| game.seed ^= 1).is_some(), "it has another opening");
}
